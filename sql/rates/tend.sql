select rowcast_fx.tend($1, $2, to_timestamp($3::bigint / 1e6))::text as "report!"
