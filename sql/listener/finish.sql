-- The rest of a drain that was cut off (connection lost, or the consumer too slow): it went from snapshot $1 to snapshot $2
-- and got as far as id $3. At most $4 rows; null: all. First the row of drain.sql with what tells a lost stream.
-- $2, not the snapshot of now, decides what belongs to it: an event that was committed since may have a lower id than those
-- sent already, and would lie behind the cursors that went out with them.
select null::bigint as id, null::xid8 as xid, null::timestamptz as at, null::int as source, null::"char" as op,
       null::json as new, null::json as old, null::int[] as matched, null::text as channel, null::text as event,
       pg_current_snapshot() as snapshot, s.horizon, (select token from rowcast.incarnation) as token,
       (select array_agg(pg_relation_filenode(i.inhrelid) order by i.inhrelid)
          from pg_inherits i where i.inhparent = 'rowcast.event'::regclass) as slots
  from rowcast.state s
union all
select rest.*, null, null, null, null
  from (
    select id, xid, at, source, op, new, old, matched, channel, event
      from rowcast.event
     where id > $3 and xid >= pg_snapshot_xmax($1) and xid < pg_snapshot_xmax($2) and pg_visible_in_snapshot(xid, $2)
    union all
    select id, xid, at, source, op, new, old, matched, channel, event
      from rowcast.event
     where id > $3 and xid = any (array(select pg_snapshot_xip($1) except select pg_snapshot_xip($2)))
     order by id
     limit $4
  ) rest
 order by id nulls first
