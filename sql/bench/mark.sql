-- Whoever hears it has heard everything that was committed before.
select rowcast.send('bench_mark', 'mark', to_json($1::bigint))
