select rowcast.rotate_api_key($1, make_interval(secs => $2)) as "secret!"
