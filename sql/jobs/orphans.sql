-- What a leader left behind that died. Should it live and end its run, it says so itself.
update rowcast.job_run set outcome = 'failed', ended_at = clock_timestamp(), error = 'the instance that ran it went away'
 where outcome is null and started_at is not null and instance is distinct from $1
