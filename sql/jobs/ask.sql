select rowcast.run_job($1) as run
