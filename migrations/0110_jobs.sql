-- Cron inside the process: what is to run (job), and what ran (job_run). One instance runs them, however many there are: the
-- one whose session holds the advisory lock (1381257, 6). It reads the jobs each second, so a change needs no restart and no bell.
--
--   schedule() ─▶ job ──due, or run_job()──▶ job_run (running) ──as job.role, in one transaction──▶ job_run (ok, failed, …)
--
-- A job runs as the role that scheduled it, or not at all: row level security keeps a role to its own jobs, so nobody can
-- schedule in another's name.

create table rowcast.job (
  id          int         not null unique generated always as identity,
  name        text        primary key check (name ~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$'),
  cron        text        not null,
  timezone    text        not null default 'UTC',
  sql         text,
  timeout_ms  int         not null default 60000 check (timeout_ms between 1 and 86400000),
  role        name        not null default current_user,
  search_path text        not null default 'pg_catalog',
  settled_at  timestamptz not null default clock_timestamp(),
  problem     text,
  updated_at  timestamptz not null default clock_timestamp()
);

comment on table rowcast.job is 'What runs when. Written by schedule() and unschedule(); rowcast''s own jobs have no sql.';
comment on column rowcast.job.id is 'Never used again.';
comment on column rowcast.job.name is 'Its name; unique among all roles'' jobs.';
comment on column rowcast.job.cron is 'Five fields (minute hour day month weekday), or six with seconds first.';
comment on column rowcast.job.timezone is 'In which the cron line is meant: a name of the IANA database.';
comment on column rowcast.job.sql is 'One or more statements, run in one transaction; null: rowcast''s own job.';
comment on column rowcast.job.timeout_ms is 'A run is ended after so long.';
comment on column rowcast.job.role is 'Who scheduled it, and as whom it runs.';
comment on column rowcast.job.search_path is 'That of the session that scheduled it.';
comment on column rowcast.job.settled_at is 'Each tick up to here has been run or recorded.';
comment on column rowcast.job.problem is 'Why it cannot run: the cron line or the time zone cannot be read. Set by the server.';
comment on column rowcast.job.updated_at is 'When it was scheduled or last changed.';

create table rowcast.job_run (
  id           bigint      primary key generated always as identity,
  job          int         not null,
  scheduled_at timestamptz,
  asked_at     timestamptz not null default clock_timestamp(),
  started_at   timestamptz,
  ended_at     timestamptz,
  outcome      text        check (outcome in ('ok', 'failed', 'missed', 'skipped_overlap', 'timed_out')),
  ticks        int         not null default 1,
  error        text,
  instance     text
);

create index job_run_job on rowcast.job_run (job, id);
create index job_run_open on rowcast.job_run (job) where outcome is null;

comment on table rowcast.job_run is 'The jobs'' runs, and what did not run and why. The newest [scheduler] runs_kept_max of each job are kept.';
comment on column rowcast.job_run.id is 'In the order of their beginning.';
comment on column rowcast.job_run.job is 'rowcast.job.id. The runs of a job that was unscheduled go with the next trim.';
comment on column rowcast.job_run.scheduled_at is 'The tick of the cron line; of several missed ones the last; null: somebody asked for it.';
comment on column rowcast.job_run.asked_at is 'When this row was written.';
comment on column rowcast.job_run.started_at is 'Null: it never began, or waits to begin.';
comment on column rowcast.job_run.ended_at is 'Null: it has not ended.';
comment on column rowcast.job_run.outcome is
  'ok; failed; timed_out; missed: no instance ran jobs then; skipped_overlap: the run before was still going. Null: waiting or running.';
comment on column rowcast.job_run.ticks is 'Of missed: how many in a row; 3600 also stands for more.';
comment on column rowcast.job_run.error is 'Why it did not succeed.';
comment on column rowcast.job_run.instance is 'Who ran or recorded it: address and pid of its session, as pg_stat_activity has them.';

-- The owner of the tables, whom the server runs as, is not bound by this.
alter table rowcast.job enable row level security;
create policy own_jobs on rowcast.job using (role = current_user and sql is not null) with check (role = current_user and sql is not null);
comment on policy own_jobs on rowcast.job is 'A role that may schedule has to do with its own jobs only.';

create function rowcast.schedule(name text, cron text, sql text, timezone text default 'UTC', timeout_ms int default 60000,
                                 search_path text default current_setting('search_path')) returns int
  language plpgsql
  set search_path = pg_catalog, pg_temp
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
  'UTC unless a timezone is given. To let a role schedule: grant usage on schema rowcast, execute on schedule and unschedule, and '
  'select, insert, update, delete on rowcast.job.';

create function rowcast.unschedule(name text) returns boolean
  language sql
  set search_path = pg_catalog, pg_temp
  as $$
  with gone as (delete from rowcast.job j where j.name = unschedule.name and j.sql is not null returning 1)
  select exists (select from gone)
$$;

comment on function rowcast.unschedule is 'Takes a job back; a run that goes on goes on. false: there was none of that name, or it is another role''s.';

create function rowcast.run_job(name text) returns bigint
  language plpgsql
  security definer
  set search_path = pg_catalog, pg_temp
  as $$
declare
  of_job int;
  run    bigint;
begin
  -- Locked, so that two who ask at once get the same run.
  select j.id into of_job from rowcast.job j where j.name = run_job.name for update;
  if of_job is null then
    return null;
  end if;
  select min(r.id) into run from rowcast.job_run r where r.job = of_job and r.outcome is null and r.started_at is null;
  if run is null then
    insert into rowcast.job_run (job) values (of_job) returning id into run;
  end if;
  return run;
end $$;

comment on function rowcast.run_job is
  'Asks for a run now, or as soon as the one that goes on has ended. Gives job_run.id: of one that waits already, if there is one; null: there '
  'is no such job. It runs as the role that scheduled it. Whoever may execute this may run every job: grant it by role.';

revoke all on function rowcast.schedule, rowcast.unschedule, rowcast.run_job from public;
