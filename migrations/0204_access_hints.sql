-- What a rule of access lacks is said where somebody can mend it: watch() tells who has defined none, rowcast doctor runs each.

create function rowcast.opened(channel text) returns bool
  language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select from rowcast.access a
     where a.action = 'listen' and rowcast.template_shape(channel) ~
       ('^' || replace(regexp_replace(rowcast.template_shape(a.pattern), '([].*+?^$()|[\\-])', '\\\1', 'g'), '{}', '.+') || '$'))
$$;

comment on function rowcast.opened is 'Does a rule say who may listen to the channels of this template?';

create or replace function rowcast.watch(
  "table" regclass, channel text, event text default null, columns text[] default null, "when" text default null,
  keys text default null, operations text[] default null, bulk boolean default null, bell boolean default null
) returns int
  language plpgsql as $$
declare
  route constant int := rowcast.watch_as(
    pg_catalog.current_setting('search_path'), "table", channel, event, columns, "when", keys, operations, bulk, bell);
begin
  if not rowcast.opened(channel) then
    raise notice 'no rule says who may listen to %', channel using hint = pg_catalog.format(
      'Everybody: select rowcast.define_access(%L, everyone => true). Without everyone: whoever is authenticated. More in docs/AUTH.md.',
      channel);
  end if;
  return route;
end $$;

create function rowcast.try_access() returns table (pattern text, action text, problem text)
  language plpgsql
  set search_path = pg_catalog, pg_temp
  as $$
declare
  own constant text := current_setting('role');
  a   rowcast.access;
  n   int;
begin
  for a in select * from rowcast.access x order by x.pattern, x.action loop
    pattern := a.pattern;
    action := a.action;
    problem := null;
    if a.allow_sql is not null then
      begin
        perform set_config('request.jwt.claims', '{"sub": "0"}', true);
        if a.run_as is not null then
          perform set_config('role', a.run_as, true);
        end if;
        n := cardinality(rowcast.parse_template(a.pattern));
        execute a.allow_sql using (select coalesce(jsonb_agg('0'::text), '[]') from generate_series(1, n));
        perform set_config('role', own, true);
      exception
        -- A parameter that is no 0, a UUID, say: what a wrong name is, too, and nobody is let in by it.
        when data_exception then null;
        when others then problem := sqlerrm;
      end;
    end if;
    return next;
  end loop;
end $$;

comment on function rowcast.try_access is
  'Asks every rule''s allow for a user 0 and parameters 0, and says what fails in it. Such a rule lets nobody in.';

revoke all on function rowcast.opened, rowcast.try_access from public;
