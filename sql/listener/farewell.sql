-- A clean farewell.
delete from rowcast.instance where pid = pg_backend_pid()
