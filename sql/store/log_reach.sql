-- Read again after the log was read: TRUNCATE is not MVCC-safe, so only this tells whether rotation came between.
select s.horizon::text::bigint as "horizon!", pg_current_snapshot()::text as "now!", rowcast.incarnation() as "incarnation!"
  from rowcast.state s
