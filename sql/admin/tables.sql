-- Each watched table: is it there, and does each table that holds its rows call its capture function?
with recursive tree (source, rel) as (
    select id, rel::oid from rowcast.source
    union
    select t.source, i.inhrelid from tree t join pg_inherits i on i.inhparent = t.rel
), capture as (
    select s.id as source, p.oid
    from rowcast.source s
    join pg_proc p on p.proname = 'capture_' || s.id and p.pronamespace = 'rowcast'::regnamespace
), member as (
    select t.source, c.oid::regclass::text as name, count(g.oid) as triggers,
           count(g.oid) filter (where g.tgenabled <> 'A') as disabled
    from tree t
    join pg_class c on c.oid = t.rel and c.relkind = 'r'
    left join capture f on f.source = t.source
    left join pg_trigger g on g.tgrelid = c.oid and g.tgfoid = f.oid
    group by t.source, c.oid
)
select coalesce(json_agg(json_build_object(
    'name', s.name,
    'now', (select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = s.rel),
    'bulk', s.bulk,
    'bell', s.bell,
    'function', exists (select from capture f where f.source = s.id),
    'bare', (select coalesce(json_agg(m.name), '[]') from member m where m.source = s.id and m.triggers = 0),
    'disabled', (select coalesce(json_agg(m.name), '[]') from member m where m.source = s.id and m.disabled > 0),
    'channels', (
        select coalesce(json_agg(distinct r.template), '[]') from rowcast.route r where r.source = s.id and r.until is null
    )
) order by s.name), '[]')::text as "tables!"
from rowcast.source s
