-- rowcast's own job $1 by the cron line $2.
insert into rowcast.job as j (name, cron) values ($1, $2)
on conflict on constraint job_pkey do update
   set cron = excluded.cron, problem = null, settled_at = clock_timestamp(), updated_at = clock_timestamp()
 where j.sql is null and j.cron <> excluded.cron
