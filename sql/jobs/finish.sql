update rowcast.job_run set ended_at = clock_timestamp(), outcome = $2, error = left($3, 2000) where id = $1
