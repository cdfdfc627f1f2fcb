-- schedule() refuses SQL that cannot be parsed, instead of letting its first run fail.

create or replace function rowcast.schedule(name text, cron text, sql text, timezone text default 'UTC', timeout_ms int default 60000,
                                 search_path text default current_setting('search_path')) returns int
  language plpgsql
  set search_path = pg_catalog, pg_temp
  set check_function_bodies = on
  as $$
#variable_conflict use_variable
declare
  fields  constant text[] := regexp_split_to_array(btrim(cron, E' \t'), '[ \t]+');
  example constant text := 'select rowcast.schedule(''nightly-cleanup'', ''15 3 * * *'', ''delete from session where expires_at < now()'')';
  problem text := case
    when name is null or name !~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$' then
      'a job''s name is 1 to 63 letters, digits, "_", "-" or ".", and begins with a letter or digit'
    when cron is null or cardinality(fields) not between 5 and 6 then
      format('the cron line "%s" has %s fields: it needs five (minute hour day month weekday), or six with seconds first',
             cron, case when cron is null or btrim(cron) = '' then 0 else cardinality(fields) end)
    when cron !~ '^[-0-9A-Za-z*/,#?+ \t]+$' then format('the cron line "%s" has a character that no cron line has', cron)
    when sql is null or btrim(sql, E' \t\n\r;') = '' then 'there is no SQL to run'
    when timeout_ms is null or timeout_ms not between 1 and 86400000 then 'timeout_ms is 1 to 86400000 (a day)'
    when timezone is null then 'there is no time zone'
  end;
  done int;
begin
  if problem is null then
    begin
      perform clock_timestamp() at time zone timezone;
    exception when invalid_parameter_value then
      problem := format('there is no time zone "%s"', timezone);
    end;
  end if;
  if problem is null then
    begin
      -- The body of a function with a polymorphic argument is parsed and not looked into: tables may come later. Undone at once.
      execute format('create function pg_temp.rowcast_syntax(anyelement) returns void language sql as %L', sql);
      raise exception using errcode = 'RC000';
    exception
      when syntax_error then problem := 'the SQL cannot be read: ' || sqlerrm;
      -- It is well, or cannot be told: who may not make temporary objects may schedule all the same.
      when others then null;
    end;
  end if;
  if problem is not null then
    raise exception using errcode = 'RC011', message = problem, hint = example;
  end if;
  begin
    insert into rowcast.job as j (name, cron, timezone, sql, timeout_ms, search_path)
      values (name, array_to_string(fields, ' '), timezone, sql, timeout_ms, search_path)
      on conflict on constraint job_pkey do update
        set cron = excluded.cron, timezone = excluded.timezone, sql = excluded.sql, timeout_ms = excluded.timeout_ms,
            search_path = excluded.search_path, problem = null, updated_at = clock_timestamp(),
            settled_at = case when (j.cron, j.timezone) = (excluded.cron, excluded.timezone) then j.settled_at else clock_timestamp() end
        where j.role = current_user and j.sql is not null
      returning j.id into done;
  exception when insufficient_privilege then
    -- Row level security's word for another role's job; a missing right on the table says "permission denied".
    if sqlerrm like 'permission denied%' then
      raise;
    end if;
  end;
  if done is null then
    raise exception using errcode = 'RC011', message = format('the job "%s" belongs to another role, or to rowcast itself', name),
      hint = 'Choose another name.';
  end if;
  return done;
end $$;

comment on function rowcast.schedule is
  'Runs SQL by a cron line, as the role that calls this, in one transaction, once however many instances there are: '
  'select rowcast.schedule(''nightly-cleanup'', ''15 3 * * *'', ''delete from session where expires_at < now()''). Calling it again changes the job. '
  'UTC unless a timezone is given. SQL with a syntax error is refused. To let a role schedule: grant usage on schema rowcast, execute on schedule and unschedule, and '
  'select, insert, update, delete on rowcast.job.';
