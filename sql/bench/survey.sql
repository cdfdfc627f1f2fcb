-- What a careful look says before anything is made: what is here, and what this role may do.
select current_setting('server_version_num')::int as version,
       current_database()::text as database,
       current_user::text as role,
       r.rolsuper or r.rolcreatedb as may_create,
       pg_is_in_recovery() as standby,
       exists (select from pg_database where datname = 'rowcast_bench') as taken,
       exists (select from pg_roles where rolname = 'rowcast_capture') as capture_role,
       exists (select from pg_roles c where c.rolname = 'rowcast_capture' and pg_has_role(c.oid, 'usage')) as capture_member,
       greatest(0, current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
         - (select count(*) from pg_stat_activity where backend_type = 'client backend'))::int as connections_free,
       current_setting('synchronous_commit') as synchronous_commit,
       current_setting('fsync') as fsync,
       current_setting('server_version') as version_text
  from pg_roles r where r.rolname = current_user
