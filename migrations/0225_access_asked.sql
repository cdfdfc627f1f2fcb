-- The condition of one rule for many clients: planned once, within a time, and what fails fails alone. check_access(jsonb) stays
-- for instances of before.

create function rowcast.check_access(rule int, requests jsonb, within_ms int) returns table (i int, allowed bool)
  language plpgsql
  set search_path = pg_catalog, pg_temp
  as $$
declare
  own    constant text := current_setting('role');
  total  constant int := jsonb_array_length(requests);
  ends   constant timestamptz := clock_timestamp() + make_interval(secs => within_ms / 1000.0);
  done   int := 0;
  asked  jsonb;
  claims text;
  a      rowcast.access;
begin
  select * into a from rowcast.access x where x.id = rule;
  while done < total and (done = 0 or clock_timestamp() < ends) loop
    -- One block for many: only what fails begins another.
    begin
      claims := null;
      if a.run_as is not null then
        perform set_config('role', a.run_as, true);
      end if;
      if exists (select from pg_prepared_statements p where p.name = 'rowcast_allow') then
        deallocate rowcast_allow;
      end if;
      execute 'prepare rowcast_allow (jsonb) as ' || coalesce(a.allow_sql, 'select false');
      loop
        asked := requests -> done;
        if claims is distinct from asked ->> 'claims' then
          claims := asked ->> 'claims';
          perform set_config('request.jwt.claims', claims, true);
        end if;
        execute format('execute rowcast_allow (%L)', asked -> 'params') into allowed;
        done := done + 1;
        i := done;
        allowed := coalesce(allowed, false);
        return next;
        exit when done = total or clock_timestamp() >= ends;
      end loop;
    exception
      -- The statement's time is up, and was not long enough for this one alone; of another it is not known.
      when query_canceled then
        if done = 0 then
          i := 1;
          allowed := null;
          return next;
        end if;
        exit;
      -- A parameter that is no number, a table that is gone: nobody is let in by a mistake.
      when others then
        done := done + 1;
        i := done;
        allowed := false;
        return next;
    end;
  end loop;
  perform set_config('role', own, true);
  if exists (select from pg_prepared_statements p where p.name = 'rowcast_allow') then
    deallocate rowcast_allow;
  end if;
end $$;

comment on function rowcast.check_access(int, jsonb, int) is
  'Asks the allow of a rule: requests is an array of {"claims": "JSON text", "params": ["…"]}. A request that fails is denied; one that '
  'takes longer than a statement may is null; those for which there is no time within_ms are left out, but never the first.';

create or replace function rowcast.roles_of(fn regprocedure, users text[], out id text, out roles text[])
  returns setof record
  language plpgsql stable
  set search_path = pg_catalog, pg_temp
  as $$
declare
  p     pg_proc;
  query text;
  one   text;
begin
  select * into strict p from pg_proc where oid = fn;
  if p.prorettype <> 'text[]'::regtype or p.provolatile = 'v' then
    raise exception using errcode = 'RC012', message = format('function %s does not give roles', fn),
      hint = 'It takes a user''s key as text, returns text[], and is stable.';
  end if;
  query := format('select u.id, coalesce(%I.%I(u.id), ''{}'') from unnest($1) as u (id)',
    (select nspname from pg_namespace where oid = p.pronamespace), p.proname);
  begin
    return query execute query using users;
    return;
  exception when others then null;
  end;
  -- It fails for somebody. Who was told of above is told of again.
  foreach one in array users loop
    begin
      return query execute query using array[one];
    exception when others then
      id := one;
      roles := null;
      return next;
    end;
  end loop;
end $$;

comment on function rowcast.roles_of is
  'The roles of some users, by the function that auth.roles_sql names; null where it fails. One user may come twice: the last counts.';

revoke all on function rowcast.check_access(int, jsonb, int) from public;
