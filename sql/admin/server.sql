-- What doctor asks of any Postgres, with rowcast in it or not.
select json_build_object(
    'version_num', current_setting('server_version_num')::int,
    'version', current_setting('server_version'),
    'database', current_database(),
    'user', current_user,
    'superuser', (select rolsuper from pg_roles where rolname = current_user),
    'may_create_schema', has_database_privilege(current_database(), 'create'),
    'may_create_role', (select rolsuper or rolcreaterole from pg_roles where rolname = current_user),
    'standby', pg_is_in_recovery(),
    'local', inet_client_addr() is null,
    'loopback', coalesce(inet_client_addr() <<= '127.0.0.0/8' or inet_client_addr() = '::1', false),
    'tls', (select version from pg_stat_ssl where pid = pg_backend_pid() and ssl),
    'schema_owner', (select pg_get_userbyid(nspowner) from pg_namespace where nspname = 'rowcast'),
    'owns_schema', (select pg_has_role(nspowner, 'usage') from pg_namespace where nspname = 'rowcast'),
    -- What a hole in the server would put into a stranger's hands, and the server never needs.
    'too_much', (
        select coalesce(json_agg(power), '[]')
        from (
            select unnest(array[
                case when rolsuper then 'superuser' end,
                case when rolbypassrls and not rolsuper then 'bypassrls' end,
                case when rolcreaterole and not rolsuper then 'createrole' end,
                case when rolcreatedb and not rolsuper then 'createdb' end,
                case when rolreplication and not rolsuper then 'replication' end
            ])
            from pg_roles
            where rolname = current_user
            union all
            select r.rolname::text
            from pg_roles r
            where r.rolname in (
                'pg_write_all_data', 'pg_read_all_data', 'pg_execute_server_program', 'pg_read_server_files',
                'pg_write_server_files', 'pg_maintain'
            ) and pg_has_role(r.oid, 'member') and not (select rolsuper from pg_roles where rolname = current_user)
        ) p (power)
        where power is not null
    ),
    'notify_queue', pg_notification_queue_usage()
)::text as "facts!"
