-- The transactions that $1 may see: his own, and those of orders that he manages ($2: all of them), filtered by $4 to $7, $12 of them
-- after the place ($10, $11) in the order of $8, $9. Or the one with number $3, and whether $1 may see it.
select pg_current_snapshot()::text as "snapshot!", p.allowed as "allowed?", p.key as "key?", p.id as "id?", p.item as "item?"
  from (values (1)) one
  left join (
    select t.allowed, t.key, t.id, row_to_json(x)::text as item
      from (
        select t.*, k.key,
               coalesce($2::bool or t.user_id = $1::bigint
                        or t.order_id in (select o.id from game_order o where o.manager_id = $1), false) as allowed
          from order_transaction t
          cross join lateral (select case $8::text when 'amount' then (t.amount * 100)::bigint else t.id end as key) k
         where ($3::bigint is null or t.id = $3)
           and ($3::bigint is not null or $2::bool or t.user_id = $1::bigint
                or t.order_id in (select o.id from game_order o where o.manager_id = $1))
           and ($4::bigint is null or t.order_id = $4)
           and ($5::bigint is null or t.user_id = $5)
           and ($6::text is null or t.type = $6)
           and ($7::text is null or t.status = $7)
           and case when $10::bigint is null then true
                    when $9::bool then (k.key, t.id) < ($10, $11::bigint)
                    else (k.key, t.id) > ($10, $11) end
         order by case when $9 then k.key end desc, case when $9 then t.id end desc,
                  case when not $9 then k.key end, case when not $9 then t.id end
         limit $12) t
      cross join lateral (
        select t.id, t.order_id, t.user_id, t.type, t.amount::text as amount, t.status,
               rowcast_reference.iso(t.created_at) as created_at) x
  ) p on true
