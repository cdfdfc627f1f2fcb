-- Who a user's key names: nothing but nulls where it names no active user.
select p.id as "id?", p.staff as "staff?", p.role as "role?"
  from (values (1)) one
  left join rowcast_reference.person p on p.id = rowcast_reference.key($1) and p.active
