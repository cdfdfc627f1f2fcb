-- Ends the backend of a leader whose heartbeat stopped: its network died, and it would keep the doorbell until TCP gives up.
-- The pid alone could by now be somebody else's: the start of its backend must be the one that the heartbeat row names.
-- $1 leader_stale_ms
select l.pid, pg_terminate_backend(l.pid)
  from pg_locks l
  join rowcast.instance i on i.pid = l.pid
  join pg_stat_activity a on a.pid = i.pid and a.backend_start = i.backend_start
 where l.locktype = 'advisory' and l.classid = 1381257 and l.objid = 2 and l.objsubid = 2 and l.granted
   and l.database = (select oid from pg_database where datname = current_database())
   and l.pid <> pg_backend_pid()
   and i.seen_at < clock_timestamp() - $1::float8 * interval '1 millisecond'
