-- The portfolios of $1 ($2: everybody's), and nobody's; $6 of them after number $5 ($4: any) in the order of $3.
select pg_current_snapshot()::text as "snapshot!", p.allowed as "allowed?", p.id as "key?", p.id as "id?", p.item as "item?"
  from (values (1)) one
  left join (
    select true as allowed, p.id, row_to_json(x)::text as item
      from (
        select p.* from portfolio p
         where ($2::bool or p.user_id = $1::bigint or p.user_id is null)
           and case when $4::bigint is null then true when $3::bool then p.id < $5::bigint else p.id > $5 end
         order by case when $3 then p.id end desc, case when not $3 then p.id end
         limit $6) p
      cross join lateral (
        select p.id as portfolio_id, p.name as portfolio_name, p.user_id, p.is_active,
               rowcast_reference.iso(p.created_at) as created_at, rowcast_reference.iso(p.updated_at) as updated_at) x
  ) p on true
