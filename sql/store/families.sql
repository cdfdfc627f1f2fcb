select pattern, kind, read_sql, conflate, throttle_ms, event, rowcast.key_types(view, pattern) as key_types
  from rowcast.channel
 order by pattern
