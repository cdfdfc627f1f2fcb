select 1 as "done!" from rowcast.disconnect($1, $2)
