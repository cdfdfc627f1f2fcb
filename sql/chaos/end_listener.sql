select count(pg_terminate_backend(pid)) from pg_stat_activity
 where application_name = 'rowcast listener' and pid <> pg_backend_pid()
