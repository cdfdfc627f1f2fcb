-- For user $1 on order $3 (null: on none), if $4 may see the order ($2: may see all).
with target as (
  select true as allowed where $3::bigint is null
  union all
  select coalesce($2::bool or o.customer_id = $4::bigint or o.booster_id = $4 or o.manager_id = $4, false)
    from game_order o where o.id = $3
), made as (
  insert into order_transaction (user_id, order_id, type, amount)
  select $1::bigint, $3, $5, $6::text::numeric from target where allowed
  returning id
)
select t.allowed as "allowed?", m.id as "id?"
  from (values (1)) one left join target t on true left join made m on true
