select rowcast.send($1, $2, $3::text::json)
