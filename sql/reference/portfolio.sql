-- What channel portfolio:$3 shows, and whether $1 may see it ($2: may see all): its owner, and everybody those
-- that are nobody's.
select pg_current_snapshot()::text as "snapshot!", p.allowed as "allowed?", p.id as "key?", p.id as "id?", p.item as "item?"
  from (values (1)) one
  left join (
    select coalesce($2::bool or p.user_id = $1::bigint or p.user_id is null, false) as allowed,
           p.id, rowcast_reference.portfolio_data(p.id)::text as item
      from portfolio p where p.id = $3::bigint
  ) p on true
