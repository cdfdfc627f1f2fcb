-- Takes the ticks of job $1 up to $2 (epoch µs), unless somebody has: a run that begins now, or the word on why none does.
with taken as (
  update rowcast.job set settled_at = to_timestamp($2::bigint / 1e6)
   where id = $1 and settled_at < to_timestamp($2::bigint / 1e6)
  returning id
)
insert into rowcast.job_run (job, scheduled_at, started_at, ended_at, outcome, ticks, error, instance)
select id, to_timestamp($2::bigint / 1e6), case when $3::text is null then clock_timestamp() end,
       case when $3::text is not null then clock_timestamp() end, $3, $4, $5, $6
  from taken
returning id
