-- A leader asks each second. Whose session has not for $1 ms is gone, and only TCP does not know yet (or a proxy between says that all is
-- well): its session is ended, and the lock with it. Same role only; others' activity is not shown to us.
select count(pg_terminate_backend(a.pid)) as "ended!"
  from pg_locks l join pg_stat_activity a using (pid)
 where l.locktype = 'advisory' and l.classid = 1381257 and l.objid = 6 and l.objsubid = 2 and l.granted
   and l.database = (select oid from pg_database where datname = current_database())
   and a.usename = current_user
   and clock_timestamp() - greatest(a.state_change, a.query_start, a.backend_start) > make_interval(secs => $1::bigint / 1e3)
