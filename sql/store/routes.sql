-- Every route that some row of the log may still have been captured under, and where its table is.
select r.id, r.source, r.template, r.event, r.operations, r.columns, r."when" is not null as "has_when!",
       r.keys_sql, r.read_sql,
       (select array_agg(coalesce(rowcast.column_type(s.rel, p), 'text') order by n)
          from rowcast.source s, unnest(rowcast.parse_template(r.template)) with ordinality as t (p, n)
         where s.id = r.source and r.until is null and r.read_sql is not null) as key_types,
       r.since, r.until
  from rowcast.route r
 order by r.id
