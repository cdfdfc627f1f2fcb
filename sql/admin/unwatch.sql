select rowcast.unwatch($1::text::regclass, channel => $2) as "ended!"
