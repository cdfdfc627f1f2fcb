-- Who may listen to a channel and who may publish on it: define_access(). What it comes down to for one client is asked by the
-- server, check_access(), with the client's claims where PostgREST puts them, so that row level security sees the same user.

create table rowcast.access (
  id         int         primary key generated always as identity,
  pattern    text        not null,
  action     text        not null check (action in ('listen', 'publish')),
  everyone   bool        not null default false,
  roles      text[],
  claims     jsonb,
  allow      text,
  allow_sql  text,
  reads      regclass[]  not null default '{}',
  run_as     name,
  updated_at timestamptz not null default now(),
  unique (pattern, action)
);

comment on table rowcast.access is
  'Who may do what on the channels of a pattern. A channel that matches several patterns is open to whom one of them lets in.';
comment on column rowcast.access.id is 'Named by check_access(); never used again.';
comment on column rowcast.access.pattern is 'Which channels: text with {parameters}, such as orders:{id}.';
comment on column rowcast.access.action is 'listen or publish.';
comment on column rowcast.access.everyone is 'Whoever comes, anonymous clients included.';
comment on column rowcast.access.roles is 'The client must have one of these; null: any.';
comment on column rowcast.access.claims is 'The client''s claims must contain this; null: anything.';
comment on column rowcast.access.allow is 'Boolean SQL that must hold, as given; null: none.';
comment on column rowcast.access.allow_sql is 'The same as it is run: $1 jsonb is the array of the parameters'' texts.';
comment on column rowcast.access.reads is 'Tables that allow reads: a change in one of them has it asked again.';
comment on column rowcast.access.run_as is 'Role as which allow is asked; null: the server''s own.';
comment on column rowcast.access.updated_at is 'When it was defined or last changed.';

create function rowcast.claims() returns jsonb
  language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(nullif(current_setting('request.jwt.claims', true), '')::jsonb, '{}')
$$;

comment on function rowcast.claims is 'The claims of the client for whom this is asked: sub, those of its token, and rowcast.';

create function rowcast.user_id() returns text
  language sql stable set search_path = pg_catalog, pg_temp as $$
  select rowcast.claims() ->> 'sub'
$$;

comment on function rowcast.user_id is 'The key of the client''s user, as text; null: nobody.';

create function rowcast.has_role(role text) returns bool
  language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(rowcast.claims() -> 'rowcast' -> 'roles' ? role, false)
$$;

comment on function rowcast.has_role is 'Has the client this role?';

create function rowcast.is_staff() returns bool
  language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce((rowcast.claims() -> 'rowcast' ->> 'staff')::bool, false)
$$;

comment on function rowcast.is_staff is 'Is the client''s user staff?';

create function rowcast.define_access_as(
  path text, pattern text, action text, everyone bool, roles text[], claims jsonb, allow text, reads regclass[], run_as name
) returns void
  language plpgsql
  set search_path = pg_catalog, pg_temp
  set client_min_messages = warning
  as $$
#variable_conflict use_variable
declare
  params text[];
  query  text := btrim(regexp_replace(allow, ';\s*$', ''), E' \t\r\n');
  wanted text[];
  odd    text;
  found_sql text;
  rel    regclass;
  key    text;
begin
  perform rowcast.begin_change();
  params := rowcast.parse_template(pattern, 'channel pattern');
  reads := coalesce(reads, '{}');
  if action is null or action not in ('listen', 'publish') then
    raise exception using errcode = 'RC013', message = format('there is no action %L', action), hint = 'An action is listen or publish.';
  end if;
  if everyone and (roles is not null or claims is not null or allow is not null) then
    raise exception using errcode = 'RC013', message = 'everyone => true leaves nothing to ask for', hint = 'Leave out everyone, or the conditions.';
  end if;
  if cardinality(roles) = 0 or array_position(roles, null) is not null then
    raise exception using errcode = 'RC013', message = 'roles names no role', hint = 'Leave it out for any.';
  end if;
  if jsonb_typeof(claims) <> 'object' then
    raise exception using errcode = 'RC013', message = 'claims must be a JSON object', hint = 'Such as {"tenant": "acme"}.';
  end if;
  if run_as is not null and not exists (select from pg_roles r where r.rolname = run_as and pg_has_role(r.oid, 'member')) then
    raise exception using errcode = 'RC013', message = format('role %s cannot become role %s', current_user, run_as),
      hint = format('Create it, and grant %I to %I;', run_as, current_user);
  end if;
  if allow is not null then
    perform rowcast.check_fragment(query, 'allow', 'RC013');
    wanted := rowcast.placeholders(query);
    select w into odd from unnest(wanted) w where w <> all (params) limit 1;
    if found then
      raise exception using errcode = 'RC013', message = format('allow names {%s}, which the pattern %s does not have', odd, pattern),
        hint = 'The parameters of the pattern are texts: {id}::bigint.';
    end if;
    begin
      found_sql := (rowcast.settle(
        'select ((' || rowcast.fill_fragment(query,
            (select json_object_agg(p, format('(k.v ->> %s)', n - 1)) from unnest(params) with ordinality as t (p, n)))
          || '))::bool as allowed from (select pg_catalog.current_setting(''rowcast.rows'')::jsonb as v) k', path)).sql;
    exception when query_canceled then raise;
      when others then
        raise exception using errcode = 'RC013', message = format('allow for %s: %s', pattern, sqlerrm),
          hint = 'It must be one condition, such as: exists (select from orders where id = {id}::bigint and owner::text = rowcast.user_id())';
    end;
  end if;
  if reads <> '{}' and allow is null then
    raise exception using errcode = 'RC013', message = 'reads names tables, and there is no allow that reads them', hint = 'Leave it out.';
  end if;
  -- What is not captured cannot be noticed.
  foreach rel in array reads loop
    select a.attname into key from pg_attribute a
      left join pg_index i on i.indrelid = a.attrelid and i.indisprimary and a.attnum = i.indkey[0]
     where a.attrelid = rel and a.attnum > 0 and not a.attisdropped order by i.indrelid is null, a.attnum limit 1;
    perform rowcast.watch_as(path, rel, 'rowcast.access', null, array[key], null, null, null, null, null);
  end loop;
  if run_as is not null then
    execute format('grant usage on schema rowcast to %I', run_as);
    execute format('grant execute on function rowcast.claims(), rowcast.user_id(), rowcast.has_role(text), rowcast.is_staff() to %I', run_as);
  end if;
  insert into rowcast.access as a (pattern, action, everyone, roles, claims, allow, allow_sql, reads, run_as)
    values (pattern, action, coalesce(everyone, false), roles, claims, allow, found_sql, reads, run_as)
    on conflict on constraint access_pattern_action_key do update
      set everyone = excluded.everyone, roles = excluded.roles, claims = excluded.claims, allow = excluded.allow,
          allow_sql = excluded.allow_sql, reads = excluded.reads, run_as = excluded.run_as, updated_at = now();
  perform rowcast.config_changed();
end $$;

comment on function rowcast.define_access_as is 'define_access() with the search_path that names in its SQL are resolved by.';

create function rowcast.define_access(
  pattern text, action text default 'listen', everyone bool default false, roles text[] default null, claims jsonb default null,
  allow text default null, reads regclass[] default null, run_as name default null
) returns void
  language plpgsql as $$
begin
  perform rowcast.define_access_as(
    pg_catalog.current_setting('search_path'), pattern, action, everyone, roles, claims, allow, reads, run_as);
end $$;

comment on function rowcast.define_access is
  'Says who may listen to (or publish on) the channels of a pattern: select rowcast.define_access(''orders:{id}'', '
  'allow => ''exists (select from orders where id = {id}::bigint and owner::text = rowcast.user_id())'', reads => ''{orders}''). '
  'Without a condition: whoever is authenticated. everyone: anonymous clients, too. roles: one of them. claims: contained in the '
  'client''s. allow: boolean SQL with {parameters} as texts. All that are given must hold. reads: the tables that allow reads; '
  'when one of them changes, subscriptions are checked again before that change is shown. run_as: role that asks, for row level '
  'security. One rule per pattern and action: defining again replaces it.';

create function rowcast.undefine_access(pattern text, action text default null) returns int
  language plpgsql
  set search_path = pg_catalog, pg_temp
  as $$
declare
  gone int;
  rel  regclass;
begin
  perform rowcast.begin_change();
  for rel in select distinct unnest(a.reads) from rowcast.access a loop
    if not exists (select from rowcast.access a where rel = any (a.reads)
                     and not (a.pattern = undefine_access.pattern and a.action = coalesce(undefine_access.action, a.action))) then
      perform rowcast.unwatch(rel, 'rowcast.access');
    end if;
  end loop;
  delete from rowcast.access a
   where a.pattern = undefine_access.pattern and a.action = coalesce(undefine_access.action, a.action);
  get diagnostics gone = row_count;
  if gone > 0 then
    perform rowcast.config_changed();
  end if;
  return gone;
end $$;

comment on function rowcast.undefine_access is 'Takes define_access() back. Returns how many rules are gone.';

create function rowcast.check_access(requests jsonb) returns table (i int, allowed bool)
  language plpgsql
  set search_path = pg_catalog, pg_temp
  as $$
declare
  own constant text := current_setting('role');
  r   record;
  a   rowcast.access;
begin
  for r in select q.n, q.v from jsonb_array_elements(requests) with ordinality as q (v, n) loop
    i := r.n;
    allowed := false;
    select * into a from rowcast.access x where x.id = (r.v ->> 'rule')::int;
    if a.allow_sql is not null then
      begin
        perform set_config('request.jwt.claims', r.v ->> 'claims', true);
        if a.run_as is not null then
          perform set_config('role', a.run_as, true);
        end if;
        execute a.allow_sql into allowed using r.v -> 'params';
        perform set_config('role', own, true);
      -- A parameter that is no number, a table that is gone: nobody is let in by a mistake.
      exception when others then
        allowed := false;
      end;
    end if;
    allowed := coalesce(allowed, false);
    return next;
  end loop;
end $$;

comment on function rowcast.check_access is
  'Asks the allow of rules: requests is an array of {"rule": id, "claims": "JSON text", "params": ["…"]}. A request that fails is denied.';

revoke all on all functions in schema rowcast from public;
