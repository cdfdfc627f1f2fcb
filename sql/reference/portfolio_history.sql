-- What portfolio $3 was worth since $4 (epoch µs; null: a day ago), at most $5 points and the one that held then; and whether $1 may see it
-- ($2: may see all).
select pg_current_snapshot()::text as "snapshot!", p.allowed as "allowed?", 0::bigint as "key?", 0::bigint as "id?", p.item as "item?"
  from (values (1)) one
  left join (
    select a.allowed, case when a.allowed then (
             select coalesce('[' || string_agg(row_to_json(x)::text, ',' order by h.at) || ']', '[]')
               from rowcast_reference.portfolio_history(
                 p.id, coalesce(to_timestamp($4::bigint / 1e6), now() - interval '1 day'), $5::int) h
              cross join lateral (select rowcast_reference.iso(h.at) as at, h.value) x) end as item
      from portfolio p
      cross join lateral (select coalesce($2::bool or p.user_id = $1::bigint or p.user_id is null, false) as allowed) a
     where p.id = $3::bigint
  ) p on true
