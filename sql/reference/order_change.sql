-- What is null stays, but a message ($7) where $6 says that one was given, and a booster ($9) where $8 does. Its booster and its manager
-- may, and staff ($2); who the booster is, only manager and staff.
with target as (
  select o.id, coalesce($2::bool or o.manager_id = $1::bigint or (o.booster_id = $1 and not $8::bool), false) as allowed
    from game_order o where o.id = $3::bigint
), changed as (
  update game_order o
     set status = coalesce($4, o.status), is_done = case when $4 is null then o.is_done else $4 = 'Done' end,
         progress = coalesce($5, o.progress), message = case when $6::bool then $7 else o.message end,
         booster_id = case when $8::bool then $9 else o.booster_id end
    from target t where o.id = t.id and t.allowed
  returning o.id
)
select t.allowed as "allowed?", c.id as "id?"
  from (values (1)) one left join target t on true left join changed c on true
