-- The newest $2 runs of the job called $1, newest first; one row of nulls: it has none yet.
select r.id as "id?", (extract(epoch from r.scheduled_at) * 1000000)::bigint as "scheduled_at_us?",
       (extract(epoch from r.started_at) * 1000000)::bigint as "started_at_us?",
       (extract(epoch from r.ended_at) * 1000000)::bigint as "ended_at_us?",
       r.outcome as "outcome?", r.ticks as "ticks?", r.error as "error?", r.instance as "instance?"
  from rowcast.job j left join rowcast.job_run r on r.job = j.id
 where j.name = $1
 order by r.id desc
 limit $2
