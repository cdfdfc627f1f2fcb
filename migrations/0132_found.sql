-- What doctor and watched() find: columns that a route names and the table has no more, and capture functions that watching again
-- hands over to rowcast_capture.

create function rowcast.columns_missing(rel regclass, template text, columns text[], keys text) returns text[]
  language sql stable set search_path = pg_catalog, pg_temp as $$
  select array(
    select x from (
      select unnest(columns)
      union
      select unnest(case when keys is null then rowcast.parse_template(template) else rowcast.placeholders(keys) end)) u (x)
     where rowcast.column_type(rel, x) is null order by x)
$$;

comment on function rowcast.columns_missing is
  'Columns that a route names, in its template, its columns or its keys, and that the table does not have: renamed or dropped since.';

create or replace function rowcast.watched()
  returns table (
    "table" text, present bool, route int, channel text, event text, columns text[], "when" text, keys text, operations text[],
    bulk bool, bell bool, owner name, triggers int, triggers_missing text[], triggers_disabled text[], columns_missing text[]
  )
  language sql stable
  set search_path = pg_catalog, pg_temp
  as $$
  select coalesce(c.oid::regclass::text, s.name), c.oid is not null, r.id, r.template, r.event, r.columns, r."when", r.keys, r.operations,
         s.bulk, s.bell, o.rolname, have.n,
         array(select w.member::text || ' ' || w.name
                 from rowcast.wanted_triggers(s.id) w
                where not exists (select from pg_trigger g where g.tgrelid = w.member and g.tgname = w.name)),
         have.disabled,
         rowcast.columns_missing(s.rel, r.template, r.columns, r.keys)
    from rowcast.source s
    join rowcast.route r on r.source = s.id and r.until is null
    left join pg_class c on c.oid = s.rel
    left join pg_proc p on p.proname = format('capture_%s', s.id) and p.pronamespace = 'rowcast'::regnamespace
    left join pg_roles o on o.oid = p.proowner
    cross join lateral (
      select count(*)::int as n,
             coalesce(array_agg(g.tgrelid::regclass::text || ' ' || g.tgname) filter (where g.tgenabled in ('D', 'R')), '{}') as disabled
        from pg_trigger g where g.tgfoid = p.oid
    ) have
   order by 1, 4, 3
$$;

create or replace function rowcast.attach(source_id int) returns int
  language plpgsql
  set search_path = pg_catalog, pg_temp
  set client_min_messages = warning
  as $$
declare
  root constant regclass := (select rel from rowcast.source where id = source_id);
  fn   constant text := format('rowcast.capture_%s()', source_id);
  done int := 0;
  owner name;
  w    record;
begin
  for w in
    select * from rowcast.wanted_triggers(source_id) x
     where not exists (select from pg_trigger g where g.tgrelid = x.member and g.tgname = x.name)
     order by x.member <> root, x.name
  loop
    begin
      execute format('create trigger %I ' || w.ddl || ' execute function %s', w.name, w.member, fn);
      done := done + 1;
    exception when insufficient_privilege then
      if w.member = root then
        raise;
      end if;
    end;
    begin
      execute format('comment on trigger %I on %s is %L', w.name, w.member,
        'rowcast captures changes here. The name sorts first: it must see a change before another trigger changes the row again.');
    exception when insufficient_privilege or undefined_object then null; -- only the table's owner may comment
    end;
  end loop;
  -- ALWAYS: also what logical replication applies. Only owners may say so; for others the triggers stay ordinary.
  for w in select tgrelid::regclass as member, tgname as name from pg_trigger where tgfoid = fn::regprocedure and tgenabled <> 'A' loop
    begin
      execute format('alter table %s enable always trigger %I', w.member, w.name);
    exception when insufficient_privilege then null;
    end;
  end loop;
  -- The powerless role may have come since the function was generated: watching again hands it over.
  owner := rowcast.capture_owner();
  if owner <> (select r.rolname from pg_proc p join pg_roles r on r.oid = p.proowner where p.oid = fn::regprocedure) then
    perform rowcast.generate(source_id);
  end if;
  return done;
end $$;

revoke all on function rowcast.columns_missing from public;
