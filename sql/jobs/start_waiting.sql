update rowcast.job_run set started_at = clock_timestamp(), instance = $2
 where id = $1 and started_at is null and outcome is null
returning id
