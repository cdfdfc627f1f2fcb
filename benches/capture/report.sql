\pset footer off
select m.load, m.variant,
       round(percentile_cont(0.5) within group (order by m.per_s / p.per_s)::numeric, 2) as "speed",
       round(percentile_cont(0.5) within group (order by p.cpu_us / m.cpu_us)::numeric, 2) as "by CPU",
       round(percentile_cont(0.5) within group (order by m.per_s)::numeric, 1) as "per second",
       round(percentile_cont(0.5) within group (order by m.cpu_us)::numeric, 1) as "CPU, µs",
       round(percentile_cont(0.5) within group (order by m.wal_bytes)::numeric) as "WAL, bytes"
  from measured m join measured p on p.load = m.load and p.round = m.round and p.variant = 'plain'
 group by 1, 2 order by 1, array_position('{plain,watched,columns,bulk,draft_row,draft,notify}', m.variant);
