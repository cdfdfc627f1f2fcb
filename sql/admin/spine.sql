-- How rowcast stands in this database: log, lease, stream, listeners.
with held as (
    select l.objid, l.mode, l.pid
    from pg_locks l
    join pg_database d on d.oid = l.database
    where d.datname = current_database() and l.locktype = 'advisory' and l.classid = 1381257 and l.objsubid = 2
      and l.granted
), listening as (
    select i.seen_at from rowcast.instance i join pg_stat_activity a using (pid, backend_start)
)
select json_build_object(
    'incarnation', exists (select from rowcast.incarnation),
    'horizon', (select horizon::text from rowcast.state),
    'gap_pending', (select gap_pending from rowcast.state),
    'gap_age_s', (select extract(epoch from clock_timestamp() - last_gap_at)::bigint from rowcast.state),
    'lease_left_s', (select last_value - extract(epoch from clock_timestamp())::bigint from rowcast.lease),
    'lease_stopped', (select last_value = 1 from rowcast.lease),
    'log_bytes', (
        select coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint
        from pg_inherits where inhparent = 'rowcast.event'::regclass
    ),
    'log_bytes_max', (select last_value from rowcast.log_bytes_max),
    -- By the index on xid: the first event of the oldest transaction, without reading the log.
    'log_age_s', (
        select extract(epoch from clock_timestamp() - at)::bigint from rowcast.event order by xid limit 1
    ),
    'doorbell_held', exists (select from held where objid = 1 and mode = 'ExclusiveLock'),
    'leader_held', exists (select from held where objid = 2),
    -- Anybody may take an advisory lock. Writers hold the bell's shared, until their transaction ends; the others are ours.
    'strangers', (
        select coalesce(json_agg(format('pid %s (role %s, %s) holds key %s', a.pid, a.usename,
                   coalesce(nullif(a.application_name, ''), 'no application name'), h.objid)), '[]')
        from held h
        join pg_stat_activity a using (pid)
        join pg_namespace n on n.nspname = 'rowcast'
        where not pg_has_role(a.usesysid, n.nspowner, 'member') and (h.mode = 'ExclusiveLock' or a.state = 'idle')
    ),
    'owns_watched', (
        select count(*) from rowcast.source s join pg_class c on c.oid = s.rel where pg_has_role(c.relowner, 'member')
    ),
    'listeners', (select count(*) from listening),
    'last_beat_s', (select extract(epoch from clock_timestamp() - max(seen_at))::bigint from listening),
    'capture_owner', (
        select r.rolname
        from pg_proc p
        join pg_roles r on r.oid = p.proowner
        where p.pronamespace = 'rowcast'::regnamespace and p.proname ~ '^capture_[0-9]+$'
        order by r.rolname = 'rowcast_capture' limit 1
    ),
    'powerless_role', exists (
        select from pg_roles
        where rolname = 'rowcast_capture'
          and not (rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls or rolcanlogin)
    )
)::text as "facts!"
