-- The log after snapshot $1, as far as snapshot $2 sees it, in id order; at most $3 rows.
select e.id, e.xid::text::bigint as "xid!", (extract(epoch from e.at) * 1000000)::bigint as "at_us!", e.source,
       e.op::text as "op!", e.new::text as new, e.old::text as old, e.matched, e.channel, e.event
  from rowcast.event e
 where (e.xid >= pg_snapshot_xmax($1::text::pg_snapshot)
        or e.xid = any (array(select pg_snapshot_xip($1::text::pg_snapshot))))
   and pg_visible_in_snapshot(e.xid, $2::text::pg_snapshot)
 order by e.id
 limit $3
