-- watch() and unwatch(). They run with the caller's rights; what is left to others is only what the table's owner grants.

create function rowcast.config_changed() returns bigint
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  event_id bigint;
begin
  insert into rowcast.event (slot, source, op)
    values (date_part('epoch', clock_timestamp())::bigint / 900 % 4, -1, 'c')
    returning id into event_id;
  if not pg_try_advisory_xact_lock_shared(1381257, 1) then
    perform pg_notify('rowcast', '');
  end if;
  return event_id;
end $$;

comment on function rowcast.config_changed is
  'Writes "the configuration changed" into the log, so that readers apply the change at its place in the stream.';

create function rowcast.begin_change() returns void
  language plpgsql
  set search_path = pg_catalog, pg_temp
  set lock_timeout = '2s'
  as $$
declare
  owner name;
begin
  select r.rolname into owner from pg_namespace n join pg_roles r on r.oid = n.nspowner where n.nspname = 'rowcast';
  if not pg_has_role(owner, 'usage') then
    raise exception using errcode = 'RC007',
      message = format('role %s may not configure rowcast: that needs the rights of role %s', current_user, owner),
      hint = format('Grant it: grant %I to %I; or connect as %s.', owner, current_user, owner);
  end if;
  perform pg_advisory_xact_lock(1381257, 4);
exception when lock_not_available then
  raise exception using errcode = 'RC008', message = 'another transaction is changing rowcast''s configuration',
    hint = 'Try again when it has ended.';
end $$;

comment on function rowcast.begin_change is
  'Checks the caller''s rights and lets changes of the configuration happen one after another.';

create function rowcast.lock_table(rel regclass, exclusive bool default false) returns void
  language plpgsql
  set search_path = pg_catalog, pg_temp
  set lock_timeout = '2s'
  as $$
begin
  execute format('lock table %s in %s mode', rel, case when exclusive then 'access exclusive' else 'share row exclusive' end);
exception
  when lock_not_available or deadlock_detected then
    raise exception using errcode = 'RC008', message = format('table %s is busy: its lock could not be had within 2 seconds', rel),
      hint = 'Try again, or end the long transaction that uses the table.';
  when insufficient_privilege then
    raise exception using errcode = 'RC007', message = format('role %s may not lock table %s', current_user, rel),
      hint = 'Let the table''s owner do it, or grant trigger and update on the table.';
end $$;

comment on function rowcast.lock_table is
  'Writers of the table wait from here to the end of the transaction: ids of events and routes cannot cross.';

create function rowcast.columns_of(rel regclass) returns text
  language sql stable set search_path = pg_catalog, pg_temp as $$
  select 'Its columns are ' || string_agg(quote_ident(attname), ', ' order by attnum) || '.'
    from pg_attribute where attrelid = rel and attnum > 0 and not attisdropped
$$;

comment on function rowcast.columns_of is 'A sentence for hints.';

create function rowcast.column_type(rel regclass, col text) returns text
  language sql stable set search_path = pg_catalog, pg_temp as $$
  -- Without the type's modifier: a cast must not cut a value off.
  select format_type(atttypid, -1) from pg_attribute where attrelid = rel and attname = col and attnum > 0 and not attisdropped
$$;

comment on function rowcast.column_type is 'Qualified type of a column, or null if there is no such column.';

create function rowcast.check_columns(rel regclass, wanted text[], what text) returns void
  language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  col text;
begin
  foreach col in array coalesce(wanted, '{}') loop
    if rowcast.column_type(rel, col) is null then
      raise exception using errcode = 'RC003', message = format('%s names column %s, which table %s does not have', what, col, rel),
        hint = rowcast.columns_of(rel);
    end if;
  end loop;
end $$;

comment on function rowcast.check_columns is 'Refuses columns that a table does not have.';

create function rowcast.check_table(rel regclass, bulk bool) returns void
  language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  c       pg_class;
  schema  name;
  problem text;
  help    text := 'Watch the tables that hold the rows.';
begin
  select * into c from pg_class where oid = rel;
  if not found then
    raise exception using errcode = 'RC001', message = format('there is no table with oid %s', rel::oid),
      hint = 'Write the table''s name, with its schema if it is not on the search_path.';
  end if;
  select nspname into schema from pg_namespace where oid = c.relnamespace;
  problem := case
    when schema = 'rowcast' then 'belongs to rowcast itself'
    when schema in ('pg_catalog', 'information_schema') or schema like 'pg\_toast%' then 'belongs to the system'
    when c.relpersistence = 't' then 'is a temporary table, which no other session can see'
    when c.relkind = 'v' then 'is a view'
    when c.relkind = 'm' then 'is a materialized view'
    when c.relkind not in ('r', 'p', 'f') then 'is not a table'
  end;
  if problem is null and bulk then
    help := 'Leave bulk out: row-level capture works there.';
    problem := case
      when c.relkind = 'p' then 'is partitioned: bulk capture would miss what is written to its partitions'
      when c.relkind = 'f' then 'is a foreign table, which has no bulk capture'
      when exists (select from pg_inherits where inhparent = rel) then 'has children: bulk capture would miss what is written to them'
      when exists (select from pg_inherits where inhrelid = rel) then 'has a parent: bulk capture would miss what is written through it'
    end;
  end if;
  if problem is not null then
    raise exception using errcode = 'RC001', message = format('%s cannot be watched: it %s', rel, problem), hint = help;
  end if;
  if not has_table_privilege(rel, 'trigger') then
    raise exception using errcode = 'RC007', message = format('role %s may not create triggers on table %s', current_user, rel),
      hint = 'Let the table''s owner do it, or grant trigger and update on the table.';
  end if;
end $$;

comment on function rowcast.check_table is 'Refuses what cannot be watched.';

create function rowcast.try_when(
  rel regclass, condition text, path text, out sql text, out procs oid[], out schemas oid[]
)
  language plpgsql
  set search_path = pg_catalog, pg_temp
  set standard_conforming_strings = on
  as $$
begin
  -- A trigger that never comes to be: its WHEN allows exactly what a condition may be, and the server writes it down.
  begin
    perform set_config('search_path', path, true);
    execute format('create trigger rowcast_trial after update on %s for each row when (%s) execute function rowcast.nothing()',
      rel, condition);
    perform set_config('search_path', 'pg_catalog', true);
    select substring(pg_get_triggerdef(t.oid) from ' WHEN \((.*)\) EXECUTE FUNCTION ') into sql
      from pg_trigger t where t.tgrelid = rel and t.tgname = 'rowcast_trial';
    select array_agg(distinct p.oid) filter (where p.oid <> 'rowcast.nothing()'::regprocedure),
           array_agg(distinct coalesce(p.pronamespace, o.oprnamespace, y.typnamespace))
             filter (where p.oid is distinct from 'rowcast.nothing()'::regprocedure and coalesce(p.oid, o.oid, y.oid) is not null)
      into procs, schemas
      from pg_trigger t
      join pg_depend d on d.classid = 'pg_trigger'::regclass and d.objid = t.oid
      left join pg_proc p on d.refclassid = 'pg_proc'::regclass and p.oid = d.refobjid
      left join pg_operator o on d.refclassid = 'pg_operator'::regclass and o.oid = d.refobjid
      left join pg_type y on d.refclassid = 'pg_type'::regclass and y.oid = d.refobjid
     where t.tgrelid = rel and t.tgname = 'rowcast_trial';
    raise exception using errcode = 'RC000';
  exception when sqlstate 'RC000' then null;
  end;
end $$;

comment on function rowcast.try_when is 'Compiles a condition with the given search_path; what it is, and what it uses.';

create function rowcast.settle_when(rel regclass, condition text, path text) returns text
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  given    record;
  pinned   text;
  settled  text := condition;
  owner    constant name := rowcast.capture_owner();
  used     oid;
begin
  perform rowcast.check_fragment(condition, '"when"', 'RC004');
  begin
    given := rowcast.try_when(rel, condition, path);
  exception
    when undefined_column or ambiguous_column then
      raise exception using errcode = 'RC003', message = format('"when" for table %s: %s', rel, sqlerrm),
        hint = 'Write new.column and old.column. ' || rowcast.columns_of(rel);
    when query_canceled or lock_not_available or object_in_use then
      raise;
    when others then
      raise exception using errcode = 'RC004', message = format('"when" for table %s: %s', rel, sqlerrm),
        hint = 'It must be one boolean expression over old and new, without subqueries, such as: new.grade is distinct from old.grade';
  end;
  if regexp_replace(given.sql, '''(?:[^'']|'''')*''', '', 'g') ~ '(old|new)\.(ctid|xmin|xmax|cmin|cmax|tableoid)\M' then
    raise exception using errcode = 'RC004', message = format('"when" for table %s uses a system column', rel),
      hint = rowcast.columns_of(rel);
  end if;
  -- The capture function has a search_path of its own. Where the condition means the same there, it stays as it was
  -- written; otherwise every name is written out.
  begin
    pinned := (rowcast.try_when(rel, condition, 'pg_catalog, pg_temp')).sql;
  exception when others then
    pinned := null;
  end;
  if pinned is distinct from given.sql or strpos(condition, '\') > 0 then
    settled := given.sql;
    foreach used in array coalesce(given.schemas, '{}') loop
      if not has_schema_privilege(owner, used, 'usage') then
        raise exception using errcode = 'RC004',
          message = format('"when" for table %s uses schema %s, which role %s may not use', rel, used::regnamespace, owner),
          hint = format('grant usage on schema %s to %I;', used::regnamespace, owner);
      end if;
    end loop;
  end if;
  foreach used in array coalesce(given.procs, '{}') loop
    if not has_function_privilege(owner, used, 'execute')
      or not has_schema_privilege(owner, (select pronamespace from pg_proc where oid = used), 'usage') then
      raise exception using errcode = 'RC004',
        message = format('"when" for table %s calls %s, which role %s may not do', rel, used::regprocedure, owner),
        hint = format('Grant it usage on the schema and execute on the function: the condition is evaluated as %s.', owner);
    end if;
  end loop;
  return settled;
end $$;

comment on function rowcast.settle_when is 'Checks a condition; returns it as the capture function evaluates it.';

create function rowcast.settle_keys(rel regclass, keys text, template text, path text) returns text
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  params  constant text[] := rowcast.parse_template(template);
  query   text := btrim(regexp_replace(keys, ';\s*$', ''), E' \t\r\n');
  wanted  text[];
  missing text;
  trial   record;
  source  text;
begin
  perform rowcast.check_fragment(query, 'keys', 'RC005');
  wanted := rowcast.placeholders(query);
  perform rowcast.check_columns(rel, wanted, 'keys');
  source := E'from jsonb_array_elements(current_setting(''rowcast.rows'')::jsonb) with ordinality as rowcast_row (v, i)\n'
    'cross join lateral ('
    || rowcast.fill_fragment(query,
         (select json_object_agg(w, format('((rowcast_row.v ->> %L)::%s)', w, rowcast.column_type(rel, w))) from unnest(wanted) w))
    || ') as rowcast_key';
  begin
    trial := rowcast.settle('select rowcast_key.* ' || source, path);
  exception
    when query_canceled then raise;
    when others then
      raise exception using errcode = 'RC005', message = format('keys for table %s: %s', rel, sqlerrm),
        hint = 'It must be one query, with {column} for a column of the changed row, such as: select portfolio_id from investment where symbol = {symbol}';
  end;
  select p into missing from unnest(params) p where p <> all (trial.columns) limit 1;
  if missing is not null then
    raise exception using errcode = 'RC005',
      message = format('keys for table %s gives no column %s, which the template %s needs', rel, missing, template),
      hint = format('It gives %s. Name a column with: as %I', array_to_string(trial.columns, ', '), missing);
  end if;
  return (rowcast.settle(
    'select rowcast_row.i::int as i, pg_catalog.jsonb_build_array('
      || coalesce((select string_agg(format('rowcast_key.%I::text', p), ', ' order by n) from unnest(params) with ordinality as t (p, n)), '')
      || E') as key\n' || source
      || coalesce(E'\nwhere ' || (select string_agg(format('rowcast_key.%I is not null', p), ' and ' order by n)
                                     from unnest(params) with ordinality as t (p, n)), ''),
    path)).sql;
end $$;

comment on function rowcast.settle_keys is 'Makes route.keys_sql from keys.';

create function rowcast.read_relation(rel regclass, params text[], columns text[], path text) returns text
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  source constant text := format('from %s t', rel)
    || coalesce(' cross join lateral (select ' || (select string_agg(format('t.%I', c), ', ') from unnest(columns) c) || ') p', '');
  image  constant text := case when columns is null then 'pg_catalog.row_to_json(t.*)::text' else 'pg_catalog.row_to_json(p.*)::text' end;
begin
  return (rowcast.settle(
    'select k.i::int as i, '
      || case when params = '{}' then
           format('(select ''['' || coalesce(pg_catalog.string_agg(%s, '',''), '''') || '']'' %s)', image, source)
         else
           format('(select %s %s where %s)', image, source,
             (select string_agg(format('t.%I = (k.v ->> %s)::%s', p, n - 1, rowcast.column_type(rel, p)), ' and ' order by n)
                from unnest(params) with ordinality as u (p, n)))
         end
      || ' as data, pg_catalog.pg_current_snapshot()::text as snapshot'
      || ' from pg_catalog.jsonb_array_elements(pg_catalog.current_setting(''rowcast.rows'')::jsonb) with ordinality as k (v, i)',
    path)).sql;
end $$;

comment on function rowcast.read_relation is
  'SQL that reads a relation: the one row whose columns are the parameters, or all rows where there are none.';

create function rowcast.watch_as(
  path text, rel regclass, channel text, event text, columns text[], condition text, keys text, operations text[], bulk bool, bell bool
) returns int
  language plpgsql
  set search_path = pg_catalog, pg_temp
  set client_min_messages = warning
  as $$
#variable_conflict use_variable
declare
  every  constant text[] := '{insert,update,delete,truncate}';
  params text[];
  family rowcast.channel;
  src    rowcast.source;
  next   rowcast.route;
  prior  rowcast.route;
  odd    text;
  turned bool := false;
begin
  if rel is null then
    raise exception using errcode = 'RC001', message = 'no table is named', hint = 'select rowcast.watch(''orders'', ''orders:{id}'')';
  end if;
  perform rowcast.begin_change();
  params := rowcast.parse_template(channel);
  perform rowcast.check_table(rel, bulk);

  if event = '' or octet_length(event) > 100 or event ~ '[\u0001-\u001f\u007f-\u009f]' then
    raise exception using errcode = 'RC006', message = 'an event name must be 1 to 100 bytes long, without control characters',
      hint = 'Leave it out to have insert, update, delete and truncate.';
  end if;
  select o into odd from unnest(operations) o where o <> all (every) or o is null limit 1;
  if found or cardinality(operations) = 0 then
    raise exception using errcode = 'RC006', message = format('operations has %s', coalesce('an unknown operation: ' || odd, 'no operation')),
      hint = 'Operations are insert, update, delete and truncate; leave it out for all.';
  end if;
  operations := array(select o from unnest(every) o where operations is null or o = any (operations));
  if cardinality(columns) = 0 or array_position(columns, null) is not null then
    raise exception using errcode = 'RC006', message = 'columns names no column', hint = 'Leave it out for all columns.';
  end if;
  perform rowcast.check_columns(rel, columns, 'columns');

  perform rowcast.lock_table(rel);
  select * into src from rowcast.source s where s.rel = rel;
  turned := src.id is not null and bulk <> src.bulk;
  if turned then
    perform rowcast.lock_table(rel, true);
  elsif src.bulk then
    perform rowcast.check_table(rel, true);
  end if;

  select * into family from rowcast.channel c where rowcast.template_shape(c.pattern) = rowcast.template_shape(channel);
  if keys is null then
    perform rowcast.check_columns(rel, params, format('the template %s', channel));
    select a.attname into odd from pg_attribute a join pg_type t on t.oid = a.atttypid
     where a.attrelid = rel and a.attname = any (params) and (t.typcategory in ('A', 'C') or t.typname in ('json', 'jsonb', 'xml'))
       and not a.attisdropped limit 1;
    if odd is not null then
      raise exception using errcode = 'RC002', message = format('column %s cannot be part of a channel name: it holds more than one value', odd),
        hint = 'Use a column with a plain value, such as a key.';
    end if;
    begin
      next.read_sql := rowcast.read_relation(rel, params, columns, path);
    exception when others then
      if family.kind = 'state' and family.view is null then
        raise exception using errcode = 'RC009', message = format('the rows of %s cannot be read by %s: %s', rel, channel, sqlerrm),
          hint = 'Give the channel a view with rowcast.define_channel().';
      end if;
    end;
  else
    if family.kind is distinct from 'state' then
      raise exception using errcode = 'RC005', message = format('keys needs a state channel, and %s is not defined as one', channel),
        hint = format('First: select rowcast.define_channel(%L, kind => ''state'', view => …)', channel);
    elsif family.view is null then
      raise exception using errcode = 'RC005', message = format('keys needs a channel with a view, and %s has none', family.pattern),
        hint = format('First: select rowcast.define_channel(%L, kind => ''state'', view => …)', family.pattern);
    end if;
    next.keys_sql := rowcast.settle_keys(rel, keys, channel, path);
  end if;
  if condition is not null then
    next.when_sql := rowcast.settle_when(rel, condition, path);
  end if;

  if src.id is null then
    insert into rowcast.source (rel, name, bulk, bell)
      values (rel, rel::text, coalesce(bulk, false), coalesce(bell, true)) returning * into src;
  else
    select * into prior from rowcast.route r
     where r.source = src.id and r.template = channel and r.event is not distinct from event and r.until is null;
    if (prior.operations, prior.columns, prior."when", prior.when_sql, prior.keys, prior.keys_sql, prior.read_sql)
         is not distinct from (operations, columns, condition, next.when_sql, keys, next.keys_sql, next.read_sql)
      and coalesce(bulk, src.bulk) = src.bulk and coalesce(bell, src.bell) = src.bell then
      if src.shape <> rowcast.shape(rel) then
        perform rowcast.generate(src.id);
      end if;
      perform rowcast.attach(src.id);
      return prior.id;
    end if;
    update rowcast.source s set bulk = coalesce(watch_as.bulk, s.bulk), bell = coalesce(watch_as.bell, s.bell), name = rel::text where s.id = src.id;
  end if;
  next.since := rowcast.config_changed();
  update rowcast.route r set until = next.since where r.id = prior.id;
  insert into rowcast.route (source, template, event, operations, columns, "when", when_sql, keys, keys_sql, read_sql, since)
    values (src.id, channel, event, operations, columns, condition, next.when_sql, keys, next.keys_sql, next.read_sql, next.since)
    returning id into next.id;
  if turned then
    execute format('drop function rowcast.capture_%s() cascade', src.id);
  end if;
  perform rowcast.generate(src.id);
  perform rowcast.attach(src.id);
  return next.id;
end $$;

comment on function rowcast.watch_as is 'watch() with the search_path that names in its SQL are resolved by.';

create function rowcast.watch(
  "table" regclass, channel text, event text default null, columns text[] default null, "when" text default null,
  keys text default null, operations text[] default null, bulk boolean default null, bell boolean default null
) returns int
  language plpgsql as $$
begin
  return rowcast.watch_as(pg_catalog.current_setting('search_path'), "table", channel, event, columns, "when", keys, operations, bulk, bell);
end $$;

comment on function rowcast.watch is
  'Sends the changes of a table to channels: select rowcast.watch(''orders'', ''orders:{id}''). '
  'channel: text with {columns} of the row. event: name of the events, otherwise insert, update, delete, truncate. '
  'columns: what messages show; where every route of a table names columns, nothing else is recorded. '
  '"when": boolean SQL over old and new; old is null on insert, new on delete. '
  'keys: for state channels, SQL that finds the channels of a row, with {column} for its columns. '
  'operations: subset of insert, update, delete, truncate. bulk: statement-level triggers, for plain tables written in bulk. '
  'bell => false: changes do not ring, so that PREPARE TRANSACTION works. '
  'One route per table, channel and event: watching again replaces it, or does nothing where nothing differs. Returns its id.';

create function rowcast.unwatch("table" regclass, channel text default null) returns int
  language plpgsql
  set search_path = pg_catalog, pg_temp
  set client_min_messages = warning
  as $$
declare
  src   rowcast.source;
  ended int;
  last  bool;
  at    bigint;
begin
  perform rowcast.begin_change();
  select * into src from rowcast.source s where s.rel = "table";
  if src.id is null then
    return 0;
  end if;
  last := not exists (select from rowcast.route r where r.source = src.id and r.until is null and r.template <> unwatch.channel);
  if not last and not exists (select from rowcast.route r where r.source = src.id and r.until is null and r.template = unwatch.channel) then
    return 0;
  end if;
  perform rowcast.lock_table("table", last);
  at := rowcast.config_changed();
  update rowcast.route r set until = at
   where r.source = src.id and r.until is null and (unwatch.channel is null or r.template = unwatch.channel);
  get diagnostics ended = row_count;
  if last then
    execute format('drop function if exists rowcast.capture_%s() cascade', src.id);
    delete from rowcast.source s where s.id = src.id;
  else
    perform rowcast.generate(src.id);
  end if;
  return ended;
end $$;

comment on function rowcast.unwatch is
  'Takes watch() back: the routes of a table to one channel template, or all of them. With the last one every trace leaves '
  'the table. Returns how many routes ended.';

create function rowcast.watched()
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
         array(select x from unnest(s.columns) x where rowcast.column_type(s.rel, x) is null)
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

comment on function rowcast.watched is 'What is watched, and whether its triggers are there: one row per route in force.';

revoke all on all functions in schema rowcast from public;
