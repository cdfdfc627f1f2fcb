select pg_temp.rowcast_job($1, $2)
