select pattern, kind, read_sql, conflate, throttle_ms, event
  from rowcast.channel
 order by pattern
