-- Every job with its last run that began or should have.
select j.name, j.cron, j.timezone, j.sql is null as "core!", j.role::text as "role!", j.timeout_ms, j.problem,
       (extract(epoch from j.settled_at) * 1000000)::bigint as "settled_at_us!",
       exists (select from rowcast.job_run r where r.job = j.id and r.outcome is null and r.started_at is not null) as "running!",
       l.outcome as "last_outcome?", (extract(epoch from l.asked_at) * 1000000)::bigint as "last_at_us?", l.error as "last_error?"
  from rowcast.job j
  left join lateral (select r.outcome, r.asked_at, r.error from rowcast.job_run r
                      where r.job = j.id and r.outcome is not null order by r.id desc limit 1) l on true
 order by j.name
