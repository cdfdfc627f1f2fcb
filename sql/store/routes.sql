-- Every route that some row of the log may still have been captured under, and where its table is.
select r.id, r.source, r.template, r.event, r.operations, r.columns, r."when" is not null as "has_when!",
       r.keys_sql, r.read_sql, r.since, r.until
  from rowcast.route r
 order by r.id
