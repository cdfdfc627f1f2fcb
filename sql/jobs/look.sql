-- All that the leader must know each second, and the time: the database's clock is the same for all instances.
select (extract(epoch from clock_timestamp()) * 1000000)::bigint as "now_us!",
       coalesce((select json_agg(json_build_object(
           'id', j.id, 'name', j.name, 'cron', j.cron, 'timezone', j.timezone, 'core', j.sql is null, 'timeout_ms', j.timeout_ms,
           'settled_at_us', (extract(epoch from j.settled_at) * 1000000)::bigint, 'problem', j.problem) order by j.id)
         from rowcast.job j), '[]')::text as "jobs!",
       coalesce((select json_agg(json_build_array(r.id, r.job) order by r.id)
         from rowcast.job_run r where r.outcome is null and r.started_at is null), '[]')::text as "waiting!"
