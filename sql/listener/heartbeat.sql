-- Says that this listener lives, forgets those long gone, and counts the others that live.
-- $1 leader_stale_ms, $2 whether this one leads
with me as (
  insert into rowcast.instance (pid, backend_start, leader)
  select a.pid, a.backend_start, $2::bool
    from pg_stat_activity a where a.pid = pg_backend_pid()
  on conflict (pid, backend_start) do update set seen_at = clock_timestamp(), leader = excluded.leader
), gone as (
  delete from rowcast.instance
   where pid <> pg_backend_pid() and seen_at < clock_timestamp() - 20 * $1::float8 * interval '1 millisecond'
)
select count(*) from rowcast.instance
 where pid <> pg_backend_pid() and seen_at > clock_timestamp() - $1::float8 * interval '1 millisecond'
