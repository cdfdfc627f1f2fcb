-- The orders that $1 may see ($2: all of them), filtered by $4 to $7, $12 of them after the place ($10, $11) in the order of $8, $9.
-- Or the one with number $3, and whether $1 may see it. The planner knows the parameters: what they switch off costs nothing, and the
-- order of id comes from the primary key.
select pg_current_snapshot()::text as "snapshot!", p.allowed as "allowed?", p.key as "key?", p.id as "id?", p.item as "item?"
  from (values (1)) one
  left join (
    select o.allowed, o.key, o.id, row_to_json(x)::text as item
      from (
        select o.*, k.key, coalesce($2::bool or o.customer_id = $1::bigint or o.booster_id = $1 or o.manager_id = $1, false) as allowed
          from game_order o
          cross join lateral (
            select case $8::text when 'updated_at' then (extract(epoch from o.updated_at) * 1000000)::bigint
                                 when 'price' then (o.price * 100)::bigint
                                 else o.id end as key) k
         where ($3::bigint is null or o.id = $3)
           and ($3::bigint is not null or $2::bool or o.customer_id = $1::bigint or o.booster_id = $1 or o.manager_id = $1)
           and ($4::text is null or o.status = $4)
           and ($5::bigint is null or o.customer_id = $5)
           and ($6::bigint is null or o.booster_id = $6)
           and ($7::bigint is null or o.manager_id = $7)
           and case when $10::bigint is null then true
                    when $9::bool then (k.key, o.id) < ($10, $11::bigint)
                    else (k.key, o.id) > ($10, $11) end
         order by case when $9 then k.key end desc, case when $9 then o.id end desc,
                  case when not $9 then k.key end, case when not $9 then o.id end
         limit $12) o
      left join rowcast_reference.order_reached r on r.order_id = o.id
      left join rowcast_reference.person b on b.id = o.booster_id
      cross join lateral (
        select o.id, o.status, coalesce(o.progress, case when o.is_done or o.status = 'Done' then 100 else 0 end) as progress,
               o.price::text as price, o.actual_price::text as actual_price, o.booster_price::text as booster_price,
               o.customer_id, o.booster_id, b.username as booster_username, o.manager_id,
               r.reached_rank, r.reached_division, r.reached_marks, o.message, o.is_done,
               rowcast_reference.iso(o.created_at) as created_at, rowcast_reference.iso(o.updated_at) as updated_at) x
  ) p on true
