select id as "id!", username as "username!", password as "password!", active as "active!", staff as "staff!"
  from rowcast.django_users($1::text::regclass, $2::jsonb, $3)
