select rowcast.tend($1, $2)::text as "report!"
