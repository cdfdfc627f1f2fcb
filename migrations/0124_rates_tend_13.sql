-- The same tend(), on PostgreSQL 13 too: there a text[] takes no name.

create or replace function rowcast_fx.tend(quote_days int, history_days int, now timestamptz default clock_timestamp()) returns json
  language plpgsql security definer
  set search_path = pg_catalog, pg_temp
  set timezone = 'UTC'
  set client_min_messages = warning
  set lock_timeout = '200ms'
  as $$
declare
  made    text[] := '{}';
  dropped text[] := '{}';
  busy    text[] := '{}';
  rest    bigint := 0;
  n       bigint;
  cutoff  timestamptz;
  part    text;
  w       record;
begin
  if quote_days < 1 or history_days < 1 then
    raise exception using errcode = 'RC006', message = 'rates are kept for at least one day',
      hint = 'Set quote_retention_days and history_retention_days to 1 or more.';
  end if;
  -- One at a time: two would make the same partition.
  if not pg_try_advisory_xact_lock(1381257, 5) then
    return json_build_object('made', made, 'dropped', dropped, 'busy', array['tend'], 'deleted', rest);
  end if;
  for w in
    select k.parent, s.start, s.start + k.step as stop, 'rate_' || k.kind || to_char(s.start, k.pattern) as name
      from (values ('rate_quote', 'quote_', 'day', interval '1 day', 'YYYYMMDD'),
                   ('rate_history', 'history_', 'month', interval '1 month', 'YYYYMM')) as k (parent, kind, unit, step, pattern)
      cross join lateral (values (date_trunc(k.unit, now)), (date_trunc(k.unit, now) + k.step)) as s (start)
     where to_regclass('rowcast_fx.rate_' || k.kind || to_char(s.start, k.pattern)) is null
     order by k.parent, s.start
  loop
    begin
      execute format('create table rowcast_fx.%I (like rowcast_fx.%I including all)', w.name, w.parent);
      execute format('alter table rowcast_fx.%I attach partition rowcast_fx.%I for values from (%L) to (%L)', w.parent, w.name, w.start, w.stop);
      execute format('comment on table rowcast_fx.%I is %L', w.name, format('%s from %s to %s (UTC)', w.parent, w.start::date, w.stop::date));
      made := made || w.name;
    exception when lock_not_available or check_violation then
      -- Somebody reads the table for long, or rows of this time came before their partition: they stay where they are.
      busy := busy || w.name;
    end;
  end loop;
  foreach part in array array['rate_quote', 'rate_history'] loop
    cutoff := now - make_interval(days => case part when 'rate_quote' then quote_days else history_days end);
    for w in
      select c.relname::text as name
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
       where i.inhparent = ('rowcast_fx.' || part)::regclass and pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT'
         and substring(pg_get_expr(c.relpartbound, c.oid) from 'TO \(''([^'']+)''\)')::timestamptz <= cutoff
    loop
      begin
        execute format('drop table rowcast_fx.%I', w.name);
        dropped := dropped || w.name;
      exception when lock_not_available then busy := busy || w.name;
      end;
    end loop;
    execute format('delete from rowcast_fx.%I where at < $1', part || '_rest') using cutoff;
    get diagnostics n = row_count;
    rest := rest + n;
  end loop;
  delete from rowcast_fx.rate_refresh where at < now - make_interval(days => quote_days);
  return json_build_object('made', made, 'dropped', dropped, 'busy', busy, 'deleted', rest);
end $$;

comment on function rowcast_fx.tend is
  'Makes the partitions of rate_quote and rate_history that come next, and drops those older than so many days. What is busy waits for the next call.';
