-- The notifications of $1, filtered by $3 and $4, $8 of them after the place of number $7 ($6: any) in the order of $5. Or the one with
-- number $2.
select pg_current_snapshot()::text as "snapshot!", p.allowed as "allowed?", p.id as "key?", p.id as "id?", p.item as "item?"
  from (values (1)) one
  left join (
    select true as allowed, n.id, row_to_json(x)::text as item
      from (
        select n.* from notification n
         where n.recipient_id = $1::bigint
           and ($2::bigint is null or n.id = $2)
           and ($3::bool is null or n.is_read = not $3)
           and ($4::text is null or n.type = $4)
           and case when $6::bigint is null then true when $5::bool then n.id < $7::bigint else n.id > $7 end
         order by case when $5 then n.id end desc, case when not $5 then n.id end
         limit $8) n
      cross join lateral (
        select n.id, n.type, n.priority, n.title, n.message, n.action_url, n.sender_id, n.is_read,
               rowcast_reference.iso(n.read_at) as read_at, rowcast_reference.iso(n.created_at) as created_at) x
  ) p on true
