-- The achievements of $1 ($2: everybody's), filtered by $3, $8 of them after the place ($6, $7) in the order of $4, $5.
select pg_current_snapshot()::text as "snapshot!", p.allowed as "allowed?", p.key as "key?", p.id as "id?", p.item as "item?"
  from (values (1)) one
  left join (
    select true as allowed, a.key, a.id, row_to_json(x)::text as item
      from (
        select a.*, k.key
          from achievement a
          cross join lateral (select case $4::text when 'points' then a.points::bigint else a.id end as key) k
         where ($2::bool or a.user_id = $1::bigint)
           and ($3::bigint is null or a.user_id = $3)
           and case when $6::bigint is null then true
                    when $5::bool then (k.key, a.id) < ($6, $7::bigint)
                    else (k.key, a.id) > ($6, $7) end
         order by case when $5 then k.key end desc, case when $5 then a.id end desc,
                  case when not $5 then k.key end, case when not $5 then a.id end
         limit $8) a
      cross join lateral (
        select a.id, a.user_id, a.title, a.description, a.points, a.badge_url, rowcast_reference.iso(a.created_at) as created_at) x
  ) p on true
