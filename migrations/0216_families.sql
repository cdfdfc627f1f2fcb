-- A rule with the pattern of a family speaks of that family, and not of more specific ones: what opens student:{id} does not open
-- student:{id}:grades.

create or replace function rowcast.opened(channel text) returns bool
  language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select from rowcast.access a
     cross join lateral (select rowcast.template_shape(a.pattern) as rule, rowcast.template_shape(channel) as family) s
     where a.action = 'listen'
       and (s.rule = s.family
            or s.family ~ ('^' || replace(regexp_replace(s.rule, '([].*+?^$()|[\\-])', '\\\1', 'g'), '{}', '.+') || '$')
               and not exists (select from rowcast.route r where r.until is null and rowcast.template_shape(r.template) = s.rule)
               and not exists (select from rowcast.channel c where rowcast.template_shape(c.pattern) = s.rule)))
$$;
