-- Capture: one generated function per watched table, static, and the triggers that call it.
--
-- What the generated function keeps to:
--   * it runs as a role that can do nothing but append to the log, because it calls users' casts and conditions;
--   * a change of the table (DROP, RENAME, ALTER TYPE) never makes it fail: what names columns stands in a block whose
--     handler does without, and never records a column that was not listed;
--   * its own insert stands outside such blocks, for a subtransaction with an xid of its own per row would cost everybody;
--   * it rings only for a sleeping listener: whoever can take (1381257, 1) shared knows that the listener is awake;
--   * past the lease it records nothing, and holds (1381257, 3) shared so that tend() can tell when the gap is over.

-- A role that may do nothing, if we may create one. It belongs to the cluster: other databases may be doing the same.
do $$
begin
  if exists (select from pg_roles where rolname = current_user and (rolsuper or rolcreaterole)) then
    for attempt in 1 .. 5 loop
      begin
        if not exists (select from pg_roles where rolname = 'rowcast_capture') then
          create role rowcast_capture nologin;
          comment on role rowcast_capture is 'Owns rowcast''s capture functions: may append to rowcast.event, nothing else.';
        end if;
        if not pg_has_role('rowcast_capture', 'usage') then
          if current_setting('server_version_num')::int >= 160000 then
            execute format('grant rowcast_capture to %I with inherit true, set true', current_user);
          else
            execute format('grant rowcast_capture to %I', current_user);
          end if;
        end if;
        exit;
      exception
        when duplicate_object or unique_violation or internal_error then null; -- "tuple concurrently updated": once more
        when insufficient_privilege then exit;
      end;
    end loop;
  end if;
end $$;

create function rowcast.capture_owner() returns name
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  owner  name;
  helper oid;
begin
  select r.rolname into owner from pg_namespace n join pg_roles r on r.oid = n.nspowner where n.nspname = 'rowcast';
  select r.oid into helper from pg_roles r
   where r.rolname = 'rowcast_capture'
     and not (rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls or rolcanlogin)
     and not exists (select from pg_auth_members m where m.member = r.oid);
  if helper is null or not pg_has_role(owner, helper, 'member') then
    return owner;
  end if;
  begin
    -- The role may have come to this database after the installation.
    if not has_schema_privilege(helper, 'rowcast', 'usage') then
      grant usage on schema rowcast to rowcast_capture;
    end if;
    if not has_table_privilege(helper, 'rowcast.event', 'insert') then
      grant insert on rowcast.event to rowcast_capture;
    end if;
    if not has_sequence_privilege(helper, 'rowcast.event_id', 'usage') then
      grant usage on sequence rowcast.event_id to rowcast_capture;
    end if;
    if not has_sequence_privilege(helper, 'rowcast.lease', 'select') then
      grant select on sequence rowcast.lease to rowcast_capture;
    end if;
    if not has_function_privilege(helper, 'rowcast.bound_log()', 'execute') then
      grant execute on function rowcast.bound_log() to rowcast_capture;
    end if;
    return 'rowcast_capture';
  exception when others then
    return owner;
  end;
end $$;

comment on function rowcast.capture_owner is
  'Who owns the capture functions: rowcast_capture where it is powerless and ours to use, else the schema''s owner.';

create function rowcast.log_bytes() returns bigint
  language sql volatile set search_path = pg_catalog, pg_temp as $$
  select pg_total_relation_size('rowcast.event_0') + pg_total_relation_size('rowcast.event_1')
       + pg_total_relation_size('rowcast.event_2') + pg_total_relation_size('rowcast.event_3')
$$;

comment on function rowcast.log_bytes is 'Size of the log on disk.';

create function rowcast.bound_log() returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if rowcast.log_bytes() > (select last_value from rowcast.log_bytes_max) then
    perform setval('rowcast.log_full', 2);
    perform setval('rowcast.lease', 1);
  end if;
end $$;

comment on function rowcast.bound_log is
  'Stops capture when the log has outgrown its bound. Called by capture at every 8192nd event; tend() starts it again.';

create function rowcast.nothing() returns trigger language plpgsql as $$ begin return null; end $$;

comment on function rowcast.nothing is 'Lets watch() try a condition as a trigger''s; never stays attached to a table.';

create function rowcast.tree(rel regclass) returns table (member regclass)
  language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive t (oid) as (
    select rel::oid
    union
    select i.inhrelid from t join pg_inherits i on i.inhparent = t.oid
  )
  select c.oid::regclass from t join pg_class c using (oid) where c.relkind in ('r', 'p', 'f')
$$;

comment on function rowcast.tree is 'A table with its partitions or inheritance children, however deep.';

create function rowcast.shape(rel regclass) returns text
  language sql stable set search_path = pg_catalog, pg_temp as $$
  select md5(string_agg(attname || ' ' || atttypid || ' ' || attnum, ',' order by attnum))
    from pg_attribute where attrelid = rel and attnum > 0 and not attisdropped
$$;

comment on function rowcast.shape is 'Changes when a column is added, dropped, renamed or changes its type.';

create function rowcast.capture_branch(src rowcast.source, op text, skip text) returns text
  language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  code    text := '';
  plain   bool := false;   -- some route takes every such change
  tested  bool := false;   -- some route has a condition
  shown   text;
  into_vars text;
  listed  text;
  listing text;
  image   text;
  r       record;
  images  constant text[] := case op when 'insert' then '{new}' when 'delete' then '{old}' when 'update' then '{new,old}' else '{}' end;
begin
  for r in
    select id, when_sql from rowcast.route where source = src.id and until is null and op = any (operations) order by id
  loop
    if r.when_sql is null then
      plain := true;
    else
      tested := true;
      if op = 'truncate' then
        code := code || format(E'    m := m || %s;\n', r.id);
      else
        code := code || format(
          E'    begin\n      if (%s) then m := m || %s; end if;\n    exception when others then m := m || -%2$s;\n    end;\n',
          r.when_sql, r.id);
      end if;
    end if;
  end loop;
  if not plain and not tested then
    return format(E'    %s\n', skip);
  end if;
  if tested and not plain then
    code := code || format(E'    if m = ''{}'' then %s end if;\n', skip);
  end if;
  if src.columns is not null and op <> 'truncate' then
    listing := quote_literal(src.columns::text) || '::text[]';
    select string_agg(format('row_to_json(%s.*)', left(x, 1) || 'p'), ', '),
           string_agg(left(x, 1), ', '),
           string_agg(format('(select %s) %sp',
             (select string_agg(x || '.' || quote_ident(c) || ' as ' || quote_ident(c), ', ' order by k)
                from unnest(src.columns) with ordinality as t (c, k)), left(x, 1)), ', ')
      into shown, into_vars, listed from unnest(images) x;
    code := code || format(E'    begin\n      select %s into %s from %s;\n', shown, into_vars, listed);
    code := code || E'    exception when others then\n';
    foreach image in array images loop
      code := code || format(
        E'      select (''{'' || coalesce(string_agg(to_json(e.key) || '':'' || e.value, '',''), '''') || ''}'')::json into %s\n'
        '        from json_each(row_to_json(%s)) e where e.key = any (%s);\n', left(image, 1), image, listing);
    end loop;
    code := code || E'    end;\n';
  end if;
  if op = 'truncate' then
    -- A TRUNCATE of several tables of one tree is one event: nothing was captured in between.
    code := code || format(
      E'    begin\n      if current_setting(''rowcast.truncate_%1$s'', true) = currval(''rowcast.event_id'')::text then %2$s end if;\n'
      '    exception when others then null;\n    end;\n', src.id, skip);
  end if;
  code := code || E'    i := nextval(''rowcast.event_id'');\n    insert into rowcast.event (id, slot, source, op'
    || coalesce((select string_agg(', ' || x, '' order by x) from unnest(images) x), '')
    || case when tested then ', matched' else '' end
    || format(E')\n      values (i, slot_now, %s, %L', src.id, left(op, 1))
    || coalesce((select string_agg(case when src.columns is null then ', row_to_json(' || x || ')' else ', ' || left(x, 1) end, '' order by x)
                   from unnest(images) x), '')
    || case when tested then ', m' else '' end || E');\n';
  if op = 'truncate' then
    code := code || format(E'    perform set_config(''rowcast.truncate_%s'', i::text, true);\n', src.id);
  end if;
  return code;
end $$;

comment on function rowcast.capture_branch is
  'PL/pgSQL that records one change in the variables new and old, or does what skip says.';

create function rowcast.capture_set_branch(src rowcast.source, op text) returns text
  language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  plain   bool;
  conds   text;
  pairs   text;
  images  constant text[] := case op when 'insert' then '{new}' when 'delete' then '{old}' else '{new,old}' end;
  json_of text;
  code    text;
begin
  select coalesce(bool_or(when_sql is null), false),
         string_agg(format('case when (%s) then %s end', when_sql, id), ', ' order by id) filter (where when_sql is not null)
    into plain, conds
    from rowcast.route where source = src.id and until is null and op = any (operations);
  if not plain and conds is null then
    return E'    return null;\n';
  end if;
  -- Old and new are paired by position, which needs no key and lets the key change.
  pairs := case op
    when 'insert' then 'from rowcast_new as new left join rowcast_new as old on false'
    when 'delete' then 'from rowcast_old as old left join rowcast_old as new on false'
    else E'from (select rowcast_x as r, row_number() over () as i from rowcast_new rowcast_x) rowcast_n\n'
      '      join (select rowcast_x as r, row_number() over () as i from rowcast_old rowcast_x) rowcast_o on rowcast_o.i = rowcast_n.i\n'
      '      cross join lateral (select (rowcast_n.r).*) as new cross join lateral (select (rowcast_o.r).*) as old\n'
      '      where rowcast_n.r operator(pg_catalog.*<>) rowcast_o.r order by rowcast_n.i' end;
  if src.columns is null and conds is null then
    return format(E'    insert into rowcast.event (slot, source, op%s)\n      select rowcast_fn.slot_now, %s, %L%s\n      ',
        (select string_agg(', ' || x, '' order by x) from unnest(images) x), src.id, left(op, 1),
        case op when 'update' then ', row_to_json(rowcast_n.r), row_to_json(rowcast_o.r)' else ', row_to_json(rowcast_x.*)' end)
      || case op
        when 'insert' then 'from rowcast_new rowcast_x'
        when 'delete' then 'from rowcast_old rowcast_x'
        else replace(pairs, E'      cross join lateral (select (rowcast_n.r).*) as new cross join lateral (select (rowcast_o.r).*) as old\n', '') end
      || E';\n    get diagnostics c = row_count;\n';
  end if;
  select string_agg(case
      when src.columns is null and op = 'update' then format('row_to_json(rowcast_%s.r)', left(x, 1))
      when src.columns is null then format('row_to_json(%s.*)', x)
      else format('(select row_to_json(p.*) from (select %s) p)',
        (select string_agg(x || '.' || quote_ident(col) || ' as ' || quote_ident(col), ', ' order by k)
           from unnest(src.columns) with ordinality as u (col, k))) end || ' as ' || left(x, 1), ', ' order by x)
    into json_of from unnest(images) x;
  code := format(E'    begin\n      insert into rowcast.event (slot, source, op%s%s)\n      select rowcast_fn.slot_now, %s, %L%s%s from (\n'
      '      select %s%s\n      %s offset 0) q%s;\n      get diagnostics c = row_count;\n',
    (select string_agg(', ' || x, '' order by x) from unnest(images) x), case when conds is null then '' else ', matched' end,
    src.id, left(op, 1), (select string_agg(', q.' || left(x, 1), '' order by x) from unnest(images) x),
    case when conds is null then '' else ', q.m' end,
    json_of, ', array_remove(array[' || conds || ']::int[], null) as m', pairs,
    case when plain then '' else E' where q.m <> ''{}''' end);
  -- Somebody changed the table, or a condition raised: row by row, where each failure is one row's and one route's.
  return code || E'    exception when others then\n      c := 0;\n      for pair in\n        select '
    || case op when 'insert' then E'rowcast_x as new, null::record as old from rowcast_new rowcast_x\n'
               when 'delete' then E'null::record as new, rowcast_x as old from rowcast_old rowcast_x\n'
               else E'rowcast_n.r as new, rowcast_o.r as old '
                 || replace(pairs, E'      cross join lateral (select (rowcast_n.r).*) as new cross join lateral (select (rowcast_o.r).*) as old\n', '')
                 || E'\n' end
    || E'      loop\n'
    || case when op <> 'delete' then E'    new := pair.new;\n' else '' end
    || case when op <> 'insert' then E'    old := pair.old;\n' else '' end
    || case when conds is null then '' else E'    m := ''{}'';\n' end
    || regexp_replace(rowcast.capture_branch(src, op, 'continue;'), '^', '    ', 'gn')
    || E'    c := c + 1;\n      end loop;\n    end;\n';
end $$;

comment on function rowcast.capture_set_branch is
  'PL/pgSQL that records what the transition tables hold in one statement, and row by row where that raises.';

create function rowcast.capture_code(source_id int) returns text
  language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  src  rowcast.source;
  code text;
  op   text;
begin
  select * into strict src from rowcast.source where id = source_id;
  code := E'#variable_conflict use_column\n<<rowcast_fn>>\ndeclare\n'
    '  now_s    bigint := date_part(''epoch'', clock_timestamp());\n'
    '  slot_now smallint := now_s / 900 % 4;\n'
    '  i bigint; m int[] := ''{}''; n json; o json;\n'
    || case when src.bulk then E'  c bigint := 1; pair record;\n' else '' end
    || E'begin\n'
    '  if pg_sequence_last_value(''rowcast.lease'') <= now_s then\n'
    '    perform pg_advisory_xact_lock_shared(1381257, 3);\n'
    '    if pg_sequence_last_value(''rowcast.lease'') <= date_part(''epoch'', clock_timestamp()) then return null; end if;\n'
    '  end if;\n';
  foreach op in array array['update', 'insert', 'delete', 'truncate'] loop
    code := code
      || case op when 'update' then '  if' when 'truncate' then '  else' else '  elsif' end
      || case when op = 'truncate' then E'\n' else format(E' tg_op = %L then\n', upper(op)) end
      || case when src.bulk and op <> 'truncate' then rowcast.capture_set_branch(src, op)
              else rowcast.capture_branch(src, op, 'return null;') end;
  end loop;
  code := code || E'  end if;\n'
    || case when src.bulk then
         E'  if c = 0 then return null; end if;\n'
         '  if currval(''rowcast.event_id'') & 8191 < c then perform rowcast.bound_log(); end if;\n'
       else E'  if i & 8191 = 0 then perform rowcast.bound_log(); end if;\n' end
    || case when src.bell then
         E'  if not pg_try_advisory_xact_lock_shared(1381257, 1) then perform pg_notify(''rowcast'', ''''); end if;\n'
       else '' end
    || E'  return null;\nend';
  return code;
end $$;

comment on function rowcast.capture_code is 'The body of a table''s capture function, from its source and the routes in force.';

create function rowcast.generate(source_id int) returns void
  language plpgsql
  set search_path = pg_catalog, pg_temp
  set client_min_messages = warning
  as $$
declare
  fn     constant text := format('rowcast.capture_%s()', source_id);
  owner  name;
  holder name;
begin
  update rowcast.source s
     set columns = wanted.columns, shape = rowcast.shape(s.rel)
    from (select case when bool_and(r.columns is not null) then
                   (select array_agg(distinct c order by c) from (
                      select unnest(x.columns) from rowcast.route x where x.source = source_id and x.until is null
                      union all
                      select unnest(case when x.keys is null then rowcast.parse_template(x.template) else rowcast.placeholders(x.keys) end)
                        from rowcast.route x where x.source = source_id and x.until is null) u (c))
                 end as columns
            from rowcast.route r where r.source = source_id and r.until is null) wanted
   where s.id = source_id;
  execute format('create or replace function %s returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as %L',
    fn, rowcast.capture_code(source_id));
  execute format('comment on function %s is %L', fn,
    format('Captures the changes of %s. Generated by rowcast.watch(); rowcast.unwatch() removes it.',
      (select rel from rowcast.source where id = source_id)));
  execute format('revoke all on function %s from public', fn);
  -- A new partition gets the triggers of its parent with the rights of whoever creates it: the table's owner.
  for holder in
    select distinct r.rolname from rowcast.source s cross join rowcast.tree(s.rel) t
      join pg_class c on c.oid = t.member join pg_roles r on r.oid = c.relowner
     where s.id = source_id and not has_function_privilege(r.oid, fn::regprocedure, 'execute')
    union
    select r.rolname from pg_namespace n join pg_roles r on r.oid = n.nspowner where n.nspname = 'rowcast'
  loop
    execute format('grant execute on function %s to %I', fn, holder);
  end loop;
  owner := rowcast.capture_owner();
  if owner <> (select r.rolname from pg_proc p join pg_roles r on r.oid = p.proowner where p.oid = fn::regprocedure) then
    begin
      if owner = 'rowcast_capture' then
        grant create on schema rowcast to rowcast_capture;
      end if;
      execute format('alter function %s owner to %I', fn, owner);
      if owner = 'rowcast_capture' then
        revoke create on schema rowcast from rowcast_capture;
      end if;
    exception when others then
      execute format('alter function %s owner to %I', fn,
        (select r.rolname from pg_namespace n join pg_roles r on r.oid = n.nspowner where n.nspname = 'rowcast'));
    end;
  end if;
end $$;

comment on function rowcast.generate is 'Writes a table''s capture function anew from the routes in force.';

create function rowcast.wanted_triggers(source_id int) returns table (member regclass, name text, ddl text)
  language sql stable set search_path = pg_catalog, pg_temp as $$
  select t.member, format('00_rowcast_%s_%s', s.id, k.name), k.ddl
    from rowcast.source s
    join pg_class root on root.oid = s.rel
    cross join rowcast.tree(s.rel) t
    join pg_class c on c.oid = t.member
    join (values
      (false, 'row',      'after insert or delete on %s for each row'),
      (false, 'update',   'after update on %s for each row when (old.* operator(pg_catalog.*<>) new.*)'),
      (true,  'insert',   'after insert on %s referencing new table as rowcast_new for each statement'),
      (true,  'update',   'after update on %s referencing old table as rowcast_old new table as rowcast_new for each statement'),
      (true,  'delete',   'after delete on %s referencing old table as rowcast_old for each statement'),
      (null,  'truncate', 'after truncate on %s for each statement')
    ) as k (bulk, name, ddl) on coalesce(k.bulk = s.bulk, true)
   where s.id = source_id
     -- Row triggers of a partitioned table reach its partitions by themselves, also those of tomorrow.
     and (k.bulk is null or root.relkind <> 'p' or t.member = s.rel)
     and not (k.bulk is null and c.relkind = 'f' and current_setting('server_version_num')::int < 160000)
$$;

comment on function rowcast.wanted_triggers is 'The triggers that a watched table, its partitions and its children should have.';

create function rowcast.attach(source_id int) returns int
  language plpgsql
  set search_path = pg_catalog, pg_temp
  set client_min_messages = warning
  as $$
declare
  root constant regclass := (select rel from rowcast.source where id = source_id);
  fn   constant text := format('rowcast.capture_%s()', source_id);
  done int := 0;
  w    record;
begin
  for w in
    select * from rowcast.wanted_triggers(source_id) x
     where not exists (select from pg_trigger g where g.tgrelid = x.member and g.tgname = x.name)
     order by x.member <> root, x.name
  loop
    begin
      execute format('create trigger %I ' || w.ddl || ' execute function %s', w.name, w.member, fn);
      execute format('comment on trigger %I on %s is %L', w.name, w.member,
        'rowcast captures changes here. The name sorts first: it must see a change before another trigger changes the row again.');
      done := done + 1;
    exception when insufficient_privilege then
      if w.member = root then
        raise;
      end if;
    end;
  end loop;
  -- ALWAYS: also what logical replication applies. Only owners may say so; for others the triggers stay ordinary.
  for w in select tgrelid::regclass as member, tgname as name from pg_trigger where tgfoid = fn::regprocedure and tgenabled <> 'A' loop
    begin
      execute format('alter table %s enable always trigger %I', w.member, w.name);
    exception when insufficient_privilege then null;
    end;
  end loop;
  return done;
end $$;

comment on function rowcast.attach is 'Puts the triggers that are missing onto a table, its partitions and its children.';

revoke all on all functions in schema rowcast from public;
