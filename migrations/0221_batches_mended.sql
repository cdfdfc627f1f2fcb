-- What a review of statement-level capture found: rows whose changes came in the wrong order, changes that were lost, names and
-- literals that were not taken as they are.

create function rowcast.bulk_problem(rel regclass) returns text
  language sql stable set search_path = pg_catalog, pg_temp as $$
  select case
    when c.relkind = 'p' then 'is partitioned: bulk capture would miss what is written to its partitions'
    when c.relkind = 'f' then 'is a foreign table, which has no bulk capture'
    when exists (select from pg_inherits where inhparent = rel) then 'has children: bulk capture would miss what is written to them'
    when exists (select from pg_inherits where inhrelid = rel) then 'has a parent: bulk capture would miss what is written through it'
    -- One statement may then update and delete the same row, and transition tables do not tell which came first.
    when (select bool_or(confdeltype = 'c') and bool_or(confdeltype in ('n', 'd')) from pg_constraint where conrelid = rel and contype = 'f')
      then 'has a foreign key with "on delete cascade" and one with "on delete set null" or "set default": bulk capture could record a '
           'row''s update behind its deletion'
  end from pg_class c where c.oid = rel
$$;

comment on function rowcast.bulk_problem is 'Why a table cannot be captured by statement; null: it can. "It …"';

create or replace function rowcast.check_table(rel regclass, bulk bool) returns void
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
    help := 'Leave bulk out, or say bulk => false where the table is watched with it: row-level capture works there.';
    problem := rowcast.bulk_problem(rel);
  end if;
  if problem is not null then
    raise exception using errcode = 'RC001', message = format('%s cannot be watched: it %s', rel, problem), hint = help;
  end if;
  if not has_table_privilege(rel, 'trigger') then
    raise exception using errcode = 'RC007', message = format('role %s may not create triggers on table %s', current_user, rel),
      hint = 'Let the table''s owner do it, or grant trigger and update on the table.';
  end if;
end $$;

create function rowcast.bound_routes() returns trigger
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if (select count(*) from rowcast.route where source = new.source and until is null) > 512 then
    raise exception using errcode = 'RC006',
      message = format('%s has 512 routes, and no more fit', (select rel from rowcast.source where id = new.source)),
      hint = 'Let readers share a channel, or take back with rowcast.unwatch() what nobody needs.';
  end if;
  return null;
end $$;

comment on function rowcast.bound_routes is 'Refuses routes of a table that its rows have no message numbers for.';

-- A row of the log has 1024 message numbers, and a change may be two messages of each route.
create trigger bounded after insert on rowcast.route for each row execute function rowcast.bound_routes();

comment on trigger bounded on rowcast.route is 'A table has 512 routes at most.';

create or replace function rowcast.batch_insert(src rowcast.source, op text, conds text, plain bool, moving bool) returns text
  language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  main    constant text := case op when 'delete' then 'old' else 'new' end;
  recorded constant text[] := rowcast.recorded_columns(src);
  every   constant text[] := array(select quote_ident(attname) from pg_attribute
                                    where attrelid = src.rel and attnum > 0 and not attisdropped order by attnum);
  -- What the paired transition tables are called: where there are conditions, new and old are to be all columns and nothing else.
  n       constant text := case when conds is null then 'new' else 'rowcast_n' end;
  o       constant text := case when conds is null then 'old' else 'rowcast_o' end;
  shown   text;   -- what is taken of each row
  rows    text;   -- the rows as new and old, which is what conditions speak of
  weight  text;   -- the sum of the weights so far
begin
  select string_agg(format(', %s.%I as %s%s', x, c, left(x, 1), k), '' order by x, k) into shown
    from unnest(array[main] || case when moving then '{old}' else '{}' end::text[]) x, unnest(recorded) with ordinality as t (c, k);
  shown := shown || case when moving then ', ' || rowcast.moves(src, 'new', 'old') || ' as moved' else '' end
    || coalesce(', array[' || conds || '] as m', '');
  if op = 'update' then
    weight := n || '.rowcast_s';
    -- Old and new are paired by position: that needs no key, and lets the key change. Rows are compared as images.
    rows := format(E'(select row_number() over rowcast_w as rowcast_i, sum(%1$s) over rowcast_w as rowcast_s, x.%2$s\n'
        '               from rowcast_new x window rowcast_w as (rows unbounded preceding)) %3$s\n'
        '          join (select row_number() over () as rowcast_i, x.%2$s from rowcast_old x) %4$s on %4$s.rowcast_i = %3$s.rowcast_i\n',
        rowcast.batch_weight(src, 'x'), array_to_string(every, ', x.'), n, o)
      || case when conds is null then '' else format(
        E'          cross join lateral (select %s.%s) as new\n          cross join lateral (select %s.%s) as old\n',
        n, array_to_string(every, format(', %s.', n)), o, array_to_string(every, format(', %s.', o))) end
      || format('         where row(new.%s)::record operator(pg_catalog.*<>) row(old.%s)::record',
        array_to_string(every, ', new.'), array_to_string(every, ', old.'));
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
  -- Columns that came to the table since: what names all of them must not do without.
  if src.columns is null or op = 'update' then
    guard := format(E'        if exists (select from pg_attribute a where a.attrelid = tg_relid and a.attnum > %s and not a.attisdropped) then\n'
      '          raise exception ''columns were added'';\n        end if;\n', (select relnatts from pg_class where oid = src.rel));
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
    -- Not rowcast_x alone, which may be a column.
    || case op when 'insert' then 'rowcast_x.*::record as new, null::record as old from rowcast_new rowcast_x'
               when 'delete' then 'null::record as new, rowcast_x.*::record as old from rowcast_old rowcast_x'
               else E'rowcast_n.rowcast_r as new, rowcast_o.rowcast_r as old\n'
                 '          from (select row_number() over () as rowcast_i, rowcast_x.*::record as rowcast_r from rowcast_new rowcast_x) rowcast_n\n'
                 '          join (select row_number() over () as rowcast_i, rowcast_x.*::record as rowcast_r from rowcast_old rowcast_x) rowcast_o\n'
                 '            on rowcast_o.rowcast_i = rowcast_n.rowcast_i\n'
                 '         where rowcast_n.rowcast_r operator(pg_catalog.*<>) rowcast_o.rowcast_r order by rowcast_n.rowcast_i' end
    || E'\n      loop\n'
    || case when op <> 'delete' then E'        new := pair.new;\n' else '' end
    || case when op <> 'insert' then E'        old := pair.old;\n' else '' end
    || case when conds is null then '' else E'        m := ''{}'';\n' end
    -- As it is: a line of it may begin within a literal.
    || rowcast.capture_branch(src, op, 'continue;')
    || E'        c := c + 1;\n      end loop;\n    end;\n';
end $$;

revoke all on function rowcast.bulk_problem, rowcast.bound_routes from public;

-- What is watched already.
do $$
declare
  s record;
begin
  for s in select x.id, c.oid::regclass as rel, rowcast.bulk_problem(x.rel) as problem
             from rowcast.source x join pg_class c on c.oid = x.rel where x.bulk loop
    if s.problem is not null then
      raise warning '% is watched with bulk, and it %', s.rel, s.problem
        using hint = format('select rowcast.watch(%L, …, bulk => false)', s.rel);
    end if;
    begin
      perform rowcast.generate(s.id);
    exception when others then
      -- What is there goes on working; tend() and watching again generate it.
      raise warning 'rowcast cannot generate capture_% anew: %', s.id, sqlerrm;
    end;
  end loop;
end $$;
