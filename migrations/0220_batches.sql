-- Statement-level capture in batches: one row of the log for many images of one statement.
--
--   new  [{"id":[1, 2],"v":["a", null]}, [[3],[0]]]   columns, each with the values of all images; then, with routes that have
--                                                     a condition, which of them held for each (0: not this one)
--   old  [{"id":[7],"v":["b"]}, [0, 1]]               of an update: the old rows of those images that change channels, and
--                                                     which those are; null where none does
--
-- By column, because json_agg looks a type up once for all its values, and row_to_json for each of them anew: a row costs a
-- third, and no name is written twice. The values' text is the same.
--
-- The operations are capital letters; and what statement-level capture records of one row is as before, but for v, an update that
-- stays in its channels, without the old row, which nobody gets to see. A rowcast from before this knows none of these, and says so
-- instead of losing what they hold. Row-level capture goes on recording both rows: to find out there, safe against any ALTER TABLE,
-- whether a row stays costs what the old row does.

-- A batch is to lie in one page, neither compressed nor moved out of line: that would cost more than all the rest.
alter table rowcast.event_0 set (toast_tuple_target = 8160);
alter table rowcast.event_1 set (toast_tuple_target = 8160);
alter table rowcast.event_2 set (toast_tuple_target = 8160);
alter table rowcast.event_3 set (toast_tuple_target = 8160);

comment on column rowcast.event.op is
  'i insert, u update, v update that leaves the row in its channels, d delete, t truncate, s send, c configuration; '
  'I, U, D: a batch of images of one statement.';
comment on column rowcast.event.new is
  'The row after the change (json, not jsonb: numbers keep their text), or the payload of send(). Of a batch an array: objects of '
  'columns with the values of all images, then, where routes have a "when", for each image which of them held.';
comment on column rowcast.event.old is
  'The row before the change; not with op v. Of a batch of updates an array like new, of those images only that change channels, and '
  'at its end 1 for each image that does, 0 for others.';

create function rowcast.moves(src rowcast.source, new_row text, old_row text) returns text
  language sql stable set search_path = pg_catalog, pg_temp as $$
  -- Cast to record, the rows are compared as images, whatever their columns' types are.
  select format('(row(%s)::record operator(pg_catalog.*<>) row(%s)::record)',
           string_agg(new_row || '.' || quote_ident(c), ', ' order by c), string_agg(old_row || '.' || quote_ident(c), ', ' order by c))
    from (select distinct unnest(case when keys is null then rowcast.parse_template(template) else rowcast.placeholders(keys) end)
            from rowcast.route where source = src.id and until is null and 'update' = any (operations)) u (c)
  having count(*) > 0
$$;

comment on function rowcast.moves is
  'Boolean SQL that tells whether an update changes a column by which some route finds its channels; null where none does so by columns.';

create function rowcast.recorded_columns(src rowcast.source) returns text[]
  language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(src.columns, array(select attname::text from pg_attribute
                                      where attrelid = src.rel and attnum > 0 and not attisdropped order by attnum))
$$;

comment on function rowcast.recorded_columns is 'The columns that capture records, all by name.';

create function rowcast.batch_size() returns int
  language sql immutable set search_path = pg_catalog, pg_temp as 'select 6500';

comment on function rowcast.batch_size is 'Weight of a full batch: about the bytes of its JSON. A page has 8 kB.';

create function rowcast.batch_weight(src rowcast.source, x text) returns text
  language sql stable set search_path = pg_catalog, pg_temp as $$
  -- About the bytes of its JSON. And no batch has more images than leave each two message numbers for each route, of the 1024
  -- that a row of the log has.
  select format('%s', greatest(
             sum(case when a.attlen = -1 then 8 when a.attlen <= 2 then 8 when a.attlen <= 4 then 12 when a.attlen <= 8 then 30
                      else 2 * abs(a.attlen) + 10 end),
             rowcast.batch_size() / greatest(1, 512 / greatest((select count(*) from rowcast.route r where r.source = src.id and r.until is null), 1)) + 1))
         || coalesce(string_agg(format(' + coalesce(pg_column_size(%s.%I), 0)', x, c), '' order by a.attnum) filter (where a.attlen = -1), '')
    from unnest(rowcast.recorded_columns(src)) c
    left join pg_attribute a on a.attrelid = src.rel and a.attname = c and a.attnum > 0 and not a.attisdropped
$$;

comment on function rowcast.batch_weight is 'SQL that says how much of a batch a row of the transition table fills.';

create function rowcast.batch_json(columns text[], prefix text, taken text, last text) returns text
  language sql immutable set search_path = pg_catalog, pg_temp as $$
  -- A function takes 100 arguments at most.
  select format('json_build_array(%s%s)', string_agg(object, ', ' order by part), ', ' || last)
    from (select (k - 1) / 45 as part,
                 format('json_build_object(%s)', string_agg(format('%L, json_agg(q.%s%s)%s', c, prefix, k, ' filter (where ' || taken || ')'), ', ' order by k)) as object
            from unnest(columns) with ordinality as t (c, k) group by 1) o
$$;

comment on function rowcast.batch_json is 'SQL that makes JSON of the columns of a batch.';

create function rowcast.batch_insert(src rowcast.source, op text, conds text, plain bool, moving bool) returns text
  language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  main    constant text := case op when 'delete' then 'old' else 'new' end;
  recorded constant text[] := rowcast.recorded_columns(src);
  every   constant text[] := array(select attname::text from pg_attribute where attrelid = src.rel and attnum > 0 and not attisdropped order by attnum);
  shown   text;   -- what is taken of each row
  rows    text;   -- the rows as new and old, which is what conditions speak of
  weight  text;   -- the sum of the weights so far
begin
  select string_agg(format(', %s.%I as %s%s', x, c, left(x, 1), k), '' order by x, k) into shown
    from unnest(array[main] || case when moving then '{old}' else '{}' end::text[]) x, unnest(recorded) with ordinality as t (c, k);
  shown := shown || case when moving then ', ' || rowcast.moves(src, 'new', 'old') || ' as moved' else '' end
    || coalesce(', array[' || conds || '] as m', '');
  if op = 'update' then
    weight := 'new.rowcast_s';
    -- Old and new are paired by position: that needs no key, and lets the key change. Rows are compared as images.
    select format(E'(select row_number() over rowcast_w as rowcast_i, sum(%s) over rowcast_w as rowcast_s, %s\n'
        '               from rowcast_new x window rowcast_w as (rows unbounded preceding)) new\n'
        '          join (select row_number() over () as rowcast_i, %2$s from rowcast_old x) old on old.rowcast_i = new.rowcast_i\n'
        '         where row(%s)::record operator(pg_catalog.*<>) row(%s)::record', rowcast.batch_weight(src, 'x'),
        string_agg('x.' || quote_ident(c), ', ' order by k), string_agg('new.' || quote_ident(c), ', ' order by k),
        string_agg('old.' || quote_ident(c), ', ' order by k))
      into rows from unnest(every) with ordinality as t (c, k);
    if conds is not null then
      -- They may speak of the whole row.
      rows := regexp_replace(rows, '\) new\n', ') rowcast_n' || E'\n');
      rows := regexp_replace(rows, '\) old on old.rowcast_i = new.rowcast_i\n', ') rowcast_o on rowcast_o.rowcast_i = rowcast_n.rowcast_i'
        || E'\n          cross join lateral (select '
        || (select string_agg('rowcast_n.' || quote_ident(c), ', ' order by k) from unnest(every) with ordinality as t (c, k))
        || E') as new\n          cross join lateral (select '
        || (select string_agg('rowcast_o.' || quote_ident(c), ', ' order by k) from unnest(every) with ordinality as t (c, k))
        || E') as old\n');
      weight := 'rowcast_n.rowcast_s';
    end if;
  else
    rows := format('rowcast_%s as %1$s', main);
    if conds is not null then
      rows := rows || case op when 'insert' then ' left join rowcast_new as old on false' else ' left join rowcast_old as new on false' end;
    end if;
    weight := format('sum(%s) over (rows unbounded preceding)', rowcast.batch_weight(src, main));
  end if;
  return format(E'insert into rowcast.event (slot, source, op, %s)\n        select rowcast_fn.slot_now, %s, %L, %s\n',
      main || case when moving then ', old' else '' end, src.id, upper(left(op, 1)),
      rowcast.batch_json(recorded, left(main, 1), null, case when conds is not null then 'json_agg(q.m)' end)
        || case when moving then
             ', case when bool_or(q.moved) then ' || rowcast.batch_json(recorded, 'o', 'q.moved', 'json_agg(q.moved::int)') || ' end' else '' end)
    -- Sorted: whatever plan joined them, they are recorded as they were changed.
    || format(E'          from (select g.*, g.rowcast_s / %s as rowcast_b from (\n          select %s as rowcast_s%s\n          from %s offset 0) g%s\n'
         '         order by rowcast_b, rowcast_s) q\n         group by rowcast_b order by rowcast_b;\n', rowcast.batch_size(), weight, shown, rows,
         case when plain then '' else ' where 0 <> any (g.m)' end);
end $$;

comment on function rowcast.batch_insert is
  'SQL that records the rows of the transition tables in batches; moving: old rows too, of those that change channels.';

create or replace function rowcast.capture_set_branch(src rowcast.source, op text) returns text
  language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  images  constant text[] := case op when 'insert' then '{new}' when 'delete' then '{old}' else '{new,old}' end;
  main    constant text := images[1];
  recorded constant text[] := rowcast.recorded_columns(src);
  -- What tells whether an update moves the row to another channel; null: nothing does, and old rows matter to nobody.
  moved   constant text := case op when 'update' then rowcast.moves(src, 'new', 'old') end;
  plain   bool;   -- some route takes every such change
  conds   text;   -- the conditions, each as the route's id or 0
  keys    text;   -- the columns that moved is about
  lone    text;   -- new and old of a statement that changes one row
  whole   text;   -- their images
  guard   text := '';
begin
  select coalesce(bool_or(when_sql is null), false),
         string_agg(format('case when (%s) then %s else 0 end', when_sql, id), ', ' order by id) filter (where when_sql is not null)
    into plain, conds
    from rowcast.route where source = src.id and until is null and op = any (operations);
  if not plain and conds is null then
    return E'    return null;\n';
  end if;

  lone := case op when 'insert' then 'rowcast_new as new' || case when conds is null then '' else ' left join rowcast_new as old on false' end
                  when 'delete' then 'rowcast_old as old' || case when conds is null then '' else ' left join rowcast_old as new on false' end
                  else 'rowcast_new as new, rowcast_old as old where new.* operator(pg_catalog.*<>) old.*' end;
  select string_agg(case when x = 'old' and op = 'update' then
             case when moved is null then 'null::json' else 'case when ' || moved || ' then ' || image || ' end' end
           else image end || ' as ' || left(x, 1), ', ' order by x)
    into whole
    from (select x, case when src.columns is null then format('row_to_json(%s.*)', x) else
            format('(select row_to_json(p.*) from (select %s) p)',
              (select string_agg(x || '.' || quote_ident(c) || ' as ' || quote_ident(c), ', ' order by k) from unnest(recorded) with ordinality as t (c, k))) end as image
            from unnest(images) x) y;
  -- Columns that came to the table since: what names all of them must not do without. (Before 14, whoever may read the table was
  -- told that it may read columns that do not exist.)
  if src.columns is null or op = 'update' then
    guard := format(E'        if %s then raise exception ''columns were added''; end if;\n', case
      when current_setting('server_version_num')::int >= 140000 then
        format('has_column_privilege(tg_relid, %s::smallint, ''select'') is not null', (select relnatts + 1 from pg_class where oid = src.rel))
      else format('(select k.relnatts from pg_class k where k.oid = tg_relid) <> %s', (select relnatts from pg_class where oid = src.rel)) end);
  end if;
  if moved is not null then
    select string_agg(distinct format('array_agg(x.%I)', c), ', ') into keys
      from rowcast.route r, unnest(case when r.keys is null then rowcast.parse_template(r.template) else rowcast.placeholders(r.keys) end) c
     where r.source = src.id and r.until is null and 'update' = any (r.operations);
  end if;

  return format(E'    begin\n      if (select count(*) from (select from rowcast_%s limit 2) x) > 1 then\n', main) || guard
    || case when cardinality(recorded) = 0 then E'        raise exception ''no columns'';\n'
            when moved is null then '        ' || rowcast.batch_insert(src, op, conds, plain, false)
            -- Most updates move nothing, and this is asked sooner than old rows are carried along.
            else format(E'        if (select row(%s)::record from rowcast_new x) operator(pg_catalog.*=) (select row(%1$s)::record from rowcast_old x) then\n        ', keys)
              || rowcast.batch_insert(src, op, conds, plain, false) || E'        else\n        '
              || rowcast.batch_insert(src, op, conds, plain, true) || E'        end if;\n' end
    || E'      else\n'
    -- One row or none.
    || format(E'        insert into rowcast.event (slot, source, op, %s%s)\n        select rowcast_fn.slot_now, %s, %s%s%s from (\n'
         '          select %s%s from %s offset 0) q%s;\n',
         array_to_string(array(select x from unnest(images) x order by x), ', '), case when conds is null then '' else ', matched' end, src.id,
         case when op <> 'update' then quote_literal(left(op, 1)) else '(case when q.o is null then ''v'' else ''u'' end)::"char"' end,
         (select string_agg(', q.' || left(x, 1), '' order by x) from unnest(images) x), case when conds is null then '' else ', array_remove(q.m, 0)' end,
         whole, coalesce(', array[' || conds || '] as m', ''), lone, case when plain then '' else ' where 0 <> any (q.m)' end)
    || E'      end if;\n      get diagnostics c = row_count;\n'
    -- Somebody changed the table, a condition raised, or a batch got too large: row by row, where each failure is one row's and
    -- one route's.
    || E'    exception when others then\n      c := 0;\n      for pair in\n        select '
    || case op when 'insert' then 'rowcast_x as new, null::record as old from rowcast_new rowcast_x'
               when 'delete' then 'null::record as new, rowcast_x as old from rowcast_old rowcast_x'
               else E'rowcast_n.rowcast_r as new, rowcast_o.rowcast_r as old\n'
                 '          from (select row_number() over () as rowcast_i, rowcast_x as rowcast_r from rowcast_new rowcast_x) rowcast_n\n'
                 '          join (select row_number() over () as rowcast_i, rowcast_x as rowcast_r from rowcast_old rowcast_x) rowcast_o\n'
                 '            on rowcast_o.rowcast_i = rowcast_n.rowcast_i\n'
                 '         where rowcast_n.rowcast_r operator(pg_catalog.*<>) rowcast_o.rowcast_r order by rowcast_n.rowcast_i' end
    || E'\n      loop\n'
    || case when op <> 'delete' then E'        new := pair.new;\n' else '' end
    || case when op <> 'insert' then E'        old := pair.old;\n' else '' end
    || case when conds is null then '' else E'        m := ''{}'';\n' end
    || regexp_replace(rowcast.capture_branch(src, op, 'continue;'), '^(?=.)', '    ', 'gn')
    || E'        c := c + 1;\n      end loop;\n    end;\n';
end $$;

create or replace function rowcast.capture_code(source_id int) returns text
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
    -- A row of the log may be a batch of 8 kB: its size is looked at each 4 MB of those.
    || case when src.bulk then
         E'  if c = 0 then return null; end if;\n'
         '  if currval(''rowcast.event_id'') & 511 < c then perform rowcast.bound_log(); end if;\n'
       else E'  if i & 8191 = 0 then perform rowcast.bound_log(); end if;\n' end
    || case when src.bell then
         E'  if not pg_try_advisory_xact_lock_shared(1381257, 1) then perform pg_notify(''rowcast'', ''''); end if;\n'
       else '' end
    || E'  return null;\nend';
  return code;
end $$;

revoke all on function rowcast.moves, rowcast.recorded_columns, rowcast.batch_size, rowcast.batch_weight, rowcast.batch_json, rowcast.batch_insert
  from public;

-- What is watched already.
do $$
declare
  s record;
begin
  for s in select x.id from rowcast.source x join pg_class c on c.oid = x.rel where x.bulk loop
    begin
      perform rowcast.generate(s.id);
    exception when others then
      -- What is there goes on working; tend() and watching again generate it.
      raise warning 'rowcast cannot generate capture_% anew: %', s.id, sqlerrm;
    end;
  end loop;
end $$;
