select rowcast.create_api_key($1, $2, $3, $4) as "secret!"
