-- What a family of channels is: define_channel(). Families that nobody defines are event channels without a view.

create function rowcast.read_function(fn regprocedure, n int, path text) returns text
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  p pg_proc;
begin
  select * into strict p from pg_proc where oid = fn;
  return (rowcast.settle(
    format('select k.i::int as i, pg_catalog.to_json(%I.%I(%s))::text as data, pg_catalog.pg_current_snapshot()::text as snapshot'
        ' from pg_catalog.jsonb_array_elements(pg_catalog.current_setting(''rowcast.rows'')::jsonb) with ordinality as k (v, i)',
      (select nspname from pg_namespace where oid = p.pronamespace), p.proname,
      (select string_agg(format('(k.v ->> %s)::%s', a - 1, format_type(p.proargtypes[a - 1], -1)), ', ' order by a)
         from generate_series(1, n) a)),
    path)).sql;
end $$;

comment on function rowcast.read_function is 'SQL that calls a view function for each key.';

create function rowcast.find_view(
  name text, params text[], path text, out described text, out read_sql text
)
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  n     constant int := cardinality(params);
  parts text[];
  rel   regclass;
  kind  "char";
  fns   oid[];
  fn    pg_proc;
  odd   text;
begin
  perform set_config('search_path', path, true);
  begin
    if name ~ '\)\s*$' then
      fns := array_remove(array[to_regprocedure(name)::oid], null);
    else
      rel := to_regclass(name);
      parts := parse_ident(name);
      if rel is null then
        -- The first schema of the path that has such a function, as in a call.
        select array_agg(oid) into fns from (
          select p.oid, rank() over (order by array_position(current_schemas(true), s.nspname)) as nearest
            from pg_proc p join pg_namespace s on s.oid = p.pronamespace
           where p.proname = parts[cardinality(parts)]
             and case when cardinality(parts) > 1 then s.nspname = parts[1] else s.nspname = any (current_schemas(true)) end
             and n between p.pronargs - p.pronargdefaults and p.pronargs) c
         where nearest = 1;
        if fns is null then
          select array_agg(p.oid) into fns from pg_proc p join pg_namespace s on s.oid = p.pronamespace
           where p.proname = parts[cardinality(parts)]
             and case when cardinality(parts) > 1 then s.nspname = parts[1] else s.nspname = any (current_schemas(true)) end;
        end if;
      end if;
    end if;
  exception when query_canceled then raise;
    when others then
      raise exception using errcode = 'RC009', message = format('view %s is not a name: %s', name, sqlerrm),
        hint = 'Name a function, a view or a table.';
  end;
  perform set_config('search_path', 'pg_catalog, pg_temp', true);

  if rel is not null then
    select relkind into kind from pg_class where oid = rel;
    if kind not in ('r', 'v', 'm', 'p', 'f') then
      raise exception using errcode = 'RC009', message = format('%s is neither a function nor a relation with rows', rel),
        hint = 'Name a function, a view or a table.';
    end if;
    select x into odd from unnest(params) x where rowcast.column_type(rel, x) is null limit 1;
    if odd is not null then
      raise exception using errcode = 'RC009', message = format('view %s has no column %s, which the pattern names', rel, odd),
        hint = rowcast.columns_of(rel) || ' The columns named like the parameters find the row.';
    end if;
    described := rel::text;
  elsif coalesce(cardinality(fns), 0) = 0 then
    raise exception using errcode = 'RC009', message = format('there is no function, view or table %s', name),
      hint = 'Create it first, or write its schema.';
  elsif cardinality(fns) > 1 then
    raise exception using errcode = 'RC009', message = format('there is more than one function %s', name),
      hint = 'Write its argument types: ' || (select string_agg(x::regprocedure::text, ' or ') from unnest(fns) x);
  else
    select * into strict fn from pg_proc where oid = fns[1];
    odd := case
      when fn.prokind <> 'f' then 'is not a plain function'
      when n not between fn.pronargs - fn.pronargdefaults and fn.pronargs or fn.provariadic <> 0 then
        format('takes %s arguments, and the pattern has %s parameters', fn.pronargs, n)
      when fn.proretset then 'returns a set'
      when fn.prorettype in ('void'::regtype, 'trigger'::regtype) then 'returns nothing'
      when fn.provolatile = 'v' then 'is volatile'
    end;
    if odd is not null then
      raise exception using errcode = 'RC009', message = format('function %s cannot be a view: it %s', fns[1]::regprocedure, odd),
        hint = 'It must be stable or immutable, take one argument per parameter, and return one value, such as json.';
    end if;
    described := fns[1]::regprocedure::text;
  end if;
  begin
    read_sql := case when rel is not null then rowcast.read_relation(rel, params, null, path)
                     else rowcast.read_function(fns[1], n, path) end;
  exception when query_canceled then raise;
    when others then
      raise exception using errcode = 'RC009', message = format('view %s cannot be read: %s', described, sqlerrm),
        hint = 'The parameters are texts, cast to the types of its arguments or columns.';
  end;
end $$;

comment on function rowcast.find_view is 'Finds the function or relation that shows a channel''s content, and how to read it.';

create function rowcast.define_channel_as(
  path text, pattern text, kind text, view text, conflate text, throttle_ms int, event text
) returns void
  language plpgsql
  set search_path = pg_catalog, pg_temp
  set client_min_messages = warning
  as $$
#variable_conflict use_variable
declare
  params text[];
  other  text;
  found_view record;
  prior  rowcast.channel;
begin
  perform rowcast.begin_change();
  params := rowcast.parse_template(pattern, 'channel pattern');
  kind := coalesce(kind, 'event');
  throttle_ms := coalesce(throttle_ms, 0);
  if kind not in ('event', 'state') then
    raise exception using errcode = 'RC009', message = format('there is no kind of channel %L', kind), hint = 'A channel is of kind event or state.';
  end if;
  if throttle_ms not between 0 and 3600000 then
    raise exception using errcode = 'RC009', message = format('throttle_ms must be from 0 to 3600000, not %s', throttle_ms),
      hint = '1000 reads a channel at most once a second.';
  end if;
  if event = '' or octet_length(event) > 100 or event ~ '[\u0001-\u001f\u007f-\u009f]' then
    raise exception using errcode = 'RC009', message = 'an event name must be 1 to 100 bytes long, without control characters',
      hint = 'Leave it out for the default.';
  end if;
  if conflate is not null then
    perform rowcast.parse_template(conflate, 'conflation key');
  end if;
  select c.pattern into other from rowcast.channel c
   where rowcast.template_shape(c.pattern) = rowcast.template_shape(pattern) and c.pattern <> pattern;
  if found then
    raise exception using errcode = 'RC009', message = format('%s describes the same channels as %s', pattern, other),
      hint = format('First: select rowcast.undefine_channel(%L)', other);
  end if;
  if view is not null then
    found_view := rowcast.find_view(view, params, path);
  else
    found_view := row(null::text, null::text);
    select null::text as described, null::text as read_sql into found_view;
  end if;

  if kind <> 'state' or view is null then
    select r.template into other from rowcast.route r
     where r.until is null and r.keys is not null and rowcast.template_shape(r.template) = rowcast.template_shape(pattern) limit 1;
    if found then
      raise exception using errcode = 'RC009', message = format('channel %s must stay a state channel with a view: a watched table finds its keys by SQL', pattern),
        hint = 'Unwatch that table from the channel first.';
    end if;
  end if;
  if kind = 'state' and view is null then
    select s.name into other from rowcast.route r join rowcast.source s on s.id = r.source
     where r.until is null and r.read_sql is null and rowcast.template_shape(r.template) = rowcast.template_shape(pattern) limit 1;
    if found then
      raise exception using errcode = 'RC009', message = format('state channel %s needs a view: the rows of %s cannot be read by it', pattern, other),
        hint = 'Name a view.';
    end if;
  end if;

  select * into prior from rowcast.channel c where c.pattern = pattern;
  if prior.pattern is not null and (prior.kind, prior.view, prior.read_sql, prior.conflate, prior.throttle_ms, prior.event)
       is not distinct from (kind, found_view.described, found_view.read_sql, conflate, throttle_ms, event) then
    return;
  end if;
  insert into rowcast.channel as c (pattern, kind, view, read_sql, conflate, throttle_ms, event)
    values (pattern, kind, found_view.described, found_view.read_sql, conflate, throttle_ms, event)
    on conflict on constraint channel_pkey do update
      set kind = excluded.kind, view = excluded.view, read_sql = excluded.read_sql, conflate = excluded.conflate,
          throttle_ms = excluded.throttle_ms, event = excluded.event, updated_at = now();
  perform rowcast.config_changed();
end $$;

comment on function rowcast.define_channel_as is 'define_channel() with the search_path that its view is looked up by.';

create function rowcast.define_channel(
  pattern text, kind text default 'event', view text default null, conflate text default null, throttle_ms int default 0,
  event text default null
) returns void
  language plpgsql as $$
begin
  perform rowcast.define_channel_as(pg_catalog.current_setting('search_path'), pattern, kind, view, conflate, throttle_ms, event);
end $$;

comment on function rowcast.define_channel is
  'Says what the channels of a pattern are: select rowcast.define_channel(''orders:{id}'', kind => ''state'', view => ''order_message''). '
  'kind: event (each change, replayable) or state (always the newest). '
  'view: a stable function of the parameters, or a relation with columns named like them (without parameters: all its rows); '
  'for a state channel without one, the watched table''s own row. '
  'conflate: template over a message''s fields; a slow client gets only the newest message of each text. '
  'throttle_ms: a channel is read at most that often. event: name of a state channel''s events. '
  'Defining again replaces.';

create function rowcast.undefine_channel(pattern text) returns bool
  language plpgsql
  set search_path = pg_catalog, pg_temp
  as $$
declare
  used text;
begin
  perform rowcast.begin_change();
  select s.name into used from rowcast.route r join rowcast.source s on s.id = r.source
   where r.until is null and r.keys is not null and rowcast.template_shape(r.template) = rowcast.template_shape(undefine_channel.pattern) limit 1;
  if found then
    raise exception using errcode = 'RC009', message = format('channel %s is still fed by table %s, which finds its keys by SQL', pattern, used),
      hint = format('First: select rowcast.unwatch(%L, %L)', used, pattern);
  end if;
  delete from rowcast.channel c where c.pattern = undefine_channel.pattern;
  if not found then
    return false;
  end if;
  perform rowcast.config_changed();
  return true;
end $$;

comment on function rowcast.undefine_channel is
  'Takes define_channel() back: its channels are plain event channels again. Returns whether there was such a pattern.';

revoke all on all functions in schema rowcast from public;
