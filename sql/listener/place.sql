-- Where the stream stands now: the first row of drain.sql, without rows.
select pg_current_snapshot() as snapshot, s.horizon, (select token from rowcast.incarnation) as token,
       array[pg_relation_filenode('rowcast.event_0'), pg_relation_filenode('rowcast.event_1'),
             pg_relation_filenode('rowcast.event_2'), pg_relation_filenode('rowcast.event_3')] as slots
  from rowcast.state s
