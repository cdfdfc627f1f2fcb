-- What was committed since the snapshot $1, in the order in which rows were changed. Always one row first (id null) with the
-- new snapshot, so that the cursor advances, and with what tells a lost or restarted stream:
--   horizon   the greatest xid that rotation dropped
--   token     of the incarnation; null after crash recovery
--   slots     the partitions' files: TRUNCATE replaces them
-- New is what began after $1 was taken and has ended, and what ran then and has ended since. Without the `except`, every drain
-- would read all rows that a long transaction has written so far, in vain.
-- One statement suffices to see both the rows and whether rotation took some: its locks on the slots, which TRUNCATE
-- conflicts with, are taken before its snapshot and kept until it ends.
select null::bigint as id, null::xid8 as xid, null::timestamptz as at, null::int as source, null::"char" as op,
       null::json as new, null::json as old, null::int[] as matched, null::text as channel, null::text as event,
       pg_current_snapshot() as snapshot, s.horizon, (select token from rowcast.incarnation) as token,
       (select array_agg(pg_relation_filenode(i.inhrelid) order by i.inhrelid)
          from pg_inherits i where i.inhparent = 'rowcast.event'::regclass) as slots
  from rowcast.state s
union all
select id, xid, at, source, op, new, old, matched, channel, event, null, null, null, null
  from rowcast.event
 where xid >= pg_snapshot_xmax($1) and xid < pg_snapshot_xmax(pg_current_snapshot())
union all
select id, xid, at, source, op, new, old, matched, channel, event, null, null, null, null
  from rowcast.event
 where xid = any (array(select pg_snapshot_xip($1) except select pg_snapshot_xip(pg_current_snapshot())))
 order by id nulls first
