select a.id as "id!", a.pattern as "pattern!", a.action as "action!", a.everyone as "everyone!", a.roles, a.claims,
       a.allow_sql is not null as "asks!",
       a.updated_at::text as "revision!",
       array(select s.id from rowcast.source s where s.rel = any (a.reads)) as "reads!"
  from rowcast.access a
 order by a.id
