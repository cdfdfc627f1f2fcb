-- Which channels are watched, what opens one, and which rule cannot be asked.
select json_build_object(
    'watched', (
        select coalesce(json_agg(distinct r.template), '[]')
        from rowcast.route r
        where r.until is null and r.template !~ '^rowcast\.'
    ),
    'families', (
        select coalesce(json_agg(f.template), '[]')
        from (select r.template from rowcast.route r where r.until is null union select c.pattern from rowcast.channel c) f
    ),
    'rules', (
        select coalesce(json_agg(json_build_object('pattern', t.pattern, 'action', t.action, 'problem', t.problem)), '[]')
        from rowcast.try_access() t
    ),
    'keys', (
        select coalesce(json_agg(distinct p), '[]')
        from rowcast.api_key k
        cross join lateral unnest(k.listen) p
    )
)::text as "access!"
