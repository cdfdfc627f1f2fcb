select id as "id!", username as "username!", password as "password!", active as "active!", staff as "staff!"
  from rowcast.django_user_named($1::text::regclass, $2, $3)
