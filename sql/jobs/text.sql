select sql as "sql?", search_path, role::text as "role!", session_user::text as "server!" from rowcast.job where id = $1
