-- Each watched table: is it there, and has it (with its partitions and children) the triggers that it should have?
with wanted as (
    select s.id as source, w.member::text as member, w.name, g.tgenabled as enabled
    from rowcast.source s
    cross join lateral rowcast.wanted_triggers(s.id) w
    left join pg_trigger g on g.tgrelid = w.member and g.tgname = w.name
), broken as (
    select source,
           json_agg(format('%s on %s', name, member) order by member, name) filter (where enabled is null) as missing,
           json_agg(format('%s on %s', name, member) order by member, name) filter (where enabled in ('D', 'R')) as disabled,
           json_agg(format('%s on %s', name, member) order by member, name) filter (where enabled = 'O') as ordinary
    from wanted
    group by source
)
select coalesce(json_agg(json_build_object(
    'name', s.name,
    'now', (
        select n.nspname || '.' || c.relname
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        where c.oid = s.rel
    ),
    'bulk', s.bulk,
    'bulk_problem', case when s.bulk then rowcast.bulk_problem(s.rel) end,
    'bell', s.bell,
    'function', exists (
        select from pg_proc p
        where p.pronamespace = 'rowcast'::regnamespace and p.proname = 'capture_' || s.id
    ),
    'missing', coalesce(b.missing, '[]'),
    'disabled', coalesce(b.disabled, '[]'),
    'ordinary', coalesce(b.ordinary, '[]'),
    'lost', (
        select coalesce(json_agg(distinct format('%I in %s', c, r.template)), '[]')
        from rowcast.route r
        cross join lateral unnest(rowcast.columns_missing(s.rel, r.template, r.columns, r.keys)) c
        where r.source = s.id and r.until is null
    ),
    'channels', (
        select coalesce(json_agg(distinct r.template), '[]')
        from rowcast.route r
        where r.source = s.id and r.until is null
    )
) order by s.name), '[]')::text as "tables!"
from rowcast.source s
left join broken b on b.source = s.id
