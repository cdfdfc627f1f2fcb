-- Keeps the newest $1 runs of each job, and none of a job that is gone.
delete from rowcast.job_run r
 using (select id, row_number() over (partition by job order by id desc) as place from rowcast.job_run) k
 where k.id = r.id and ((k.place > $1 and r.outcome is not null) or not exists (select from rowcast.job j where j.id = r.job))
