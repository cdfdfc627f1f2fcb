select id as "id!", roles
  from rowcast.roles_of(($1::text || '(text)')::regprocedure, $2)
