select id as "id!", name as "name!", listen as "listen!", publish as "publish!", admin as "admin!",
       (date_part('epoch', expires_at) * 1000000)::bigint as expires_at_us
  from rowcast.use_api_key($1)
