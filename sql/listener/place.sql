-- Where the stream stands now: the first row of drain.sql, without rows.
select pg_current_snapshot() as snapshot, s.horizon, (select token from rowcast.incarnation) as token,
       (select array_agg(pg_relation_filenode(i.inhrelid) order by i.inhrelid)
          from pg_inherits i where i.inhparent = 'rowcast.event'::regclass) as slots
  from rowcast.state s
