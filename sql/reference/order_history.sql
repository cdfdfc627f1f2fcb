-- What was changed of order $3, newest first or last ($4), $7 of them after number $6, if $1 may see the order ($2: may see all). The
-- history outlives the order: then only staff may.
select pg_current_snapshot()::text as "snapshot!", a.allowed as "allowed?", h.id as "key?", h.id as "id?", h.item as "item?"
  from (values (1)) one
  left join lateral (
    select coalesce($2::bool or o.customer_id = $1::bigint or o.booster_id = $1 or o.manager_id = $1, false) as allowed
      from game_order o where o.id = $3
    union all
    select true where $2 and not exists (select from game_order o where o.id = $3)
                  and exists (select from order_history h where h.order_id = $3)) a on true
  left join lateral (
    select h.id, row_to_json(x)::text as item
      from order_history h
      left join rowcast_reference.person p on p.id = rowcast_reference.key(h.user_id)
      cross join lateral (
        select h.id, h.order_id, rowcast_reference.iso(h.at) as at, h.part, h.operation, h.changes, h.user_id, p.username) x
     where h.order_id = $3::bigint and a.allowed
       and case when $5::bigint is null then true when $4::bool then h.id < $6::bigint else h.id > $6 end
     order by case when $4 then h.id end desc, case when not $4 then h.id end
     limit $7) h on true
