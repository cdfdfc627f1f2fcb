-- What the running rowcast calls: rotation, the lease that bounds the log, the incarnation of the stream.
-- SECURITY DEFINER, so that the server's role needs no more than the right to execute them.

create function rowcast.reset() returns void
  language plpgsql
  security definer
  set search_path = pg_catalog, pg_temp
  as $$
begin
  insert into rowcast.incarnation default values
    on conflict (one) do update set token = gen_random_uuid();
  perform pg_notify('rowcast', '');
end $$;

comment on function rowcast.reset is
  'Begins a new life of the stream: every cursor handed out before gets a reset. Needed after restoring a cold copy.';

create function rowcast.incarnation() returns text
  language plpgsql
  security definer
  set search_path = pg_catalog, pg_temp
  as $$
declare
  token  uuid;
  system text := '';
begin
  select i.token into token from rowcast.incarnation i;
  if not found then
    -- Crash recovery or promotion emptied the table.
    insert into rowcast.incarnation default values on conflict (one) do nothing;
    select i.token into strict token from rowcast.incarnation i;
  end if;
  begin
    system := (select system_identifier::text from pg_control_system());
  exception when insufficient_privilege then null;
  end;
  return left(md5(concat_ws('|', system, left(pg_walfile_name(pg_current_wal_lsn()), 8),
    (select oid from pg_database where datname = current_database()), 'rowcast.event'::regclass::oid, token)), 16);
end $$;

comment on function rowcast.incarnation is
  'Names the life of the stream in 16 hex digits: of this cluster, its timeline, this database, this log and the token.';

create function rowcast.empty_slot(slot int) returns text
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  part    constant text := format('rowcast.event_%s', slot);
  filled  bool;
  newest  xid8;
begin
  execute format('select exists (select from %s)', part) into filled;
  if not filled and pg_relation_size(part) = 0 then
    return 'empty';
  end if;
  for attempt in 1 .. 10 loop
    begin
      -- NOWAIT: nobody ever queues behind us. A drain holds the slot for a moment only, so some tries are worth it.
      execute format('lock table only %s in access exclusive mode nowait', part);
      exit;
    exception when lock_not_available then
      if attempt = 10 then
        return 'busy';
      end if;
      perform pg_sleep(0.003);
    end;
  end loop;
  execute format('select xid from %s order by xid desc limit 1', part) into newest;
  if newest > (select horizon from rowcast.state) then
    update rowcast.state set horizon = newest;
  end if;
  execute format('truncate only %s', part);
  return 'truncated';
end $$;

comment on function rowcast.empty_slot is 'Empties a slot if nobody uses it, and moves the horizon to its greatest xid.';

create function rowcast.check_isolation() returns void
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception using errcode = 'RC007', message = 'rotate() and tend() must run in a read committed transaction',
      hint = 'An older snapshot would miss rows of the slot that is emptied.';
  end if;
end $$;

comment on function rowcast.check_isolation is 'Refuses snapshots that are older than the statement.';

create function rowcast.rotate() returns text
  language plpgsql
  security definer
  set search_path = pg_catalog, pg_temp
  as $$
declare
  -- Rounded as capture rounds it.
  now_s   bigint := date_part('epoch', clock_timestamp());
  slot    constant int := (now_s / 900 + 1) % 4;
  outcome text;
begin
  perform rowcast.check_isolation();
  perform from rowcast.state for update;
  now_s := date_part('epoch', clock_timestamp());
  if (now_s / 900 + 1) % 4 <> slot or (now_s + 10) / 900 % 4 = slot then
    -- Its time begins: somebody may be writing there. The next call sees to the one after it.
    return 'late';
  end if;
  outcome := rowcast.empty_slot(slot);
  -- Routes that have ended are kept until no reader can ask for an event of theirs again.
  delete from rowcast.route where until_xmax <= (select horizon from rowcast.state);
  update rowcast.route set until_xmax = pg_snapshot_xmax(pg_current_snapshot()) where until is not null and until_xmax is null;
  return case outcome when 'truncated' then 'truncated event_' || slot else outcome end;
end $$;

comment on function rowcast.rotate is
  'Empties the slot of the log that comes next, unless somebody uses it. Called every minute by tend().';

create function rowcast.forget_dropped() returns int
  language plpgsql
  set search_path = pg_catalog, pg_temp
  set client_min_messages = warning
  as $$
declare
  gone int := 0;
  at   bigint;
  s    record;
begin
  for s in select x.id from rowcast.source x where not exists (select from pg_class c where c.oid = x.rel) loop
    at := coalesce(at, rowcast.config_changed());
    update rowcast.route set until = at where source = s.id and until is null;
    execute format('drop function if exists rowcast.capture_%s() cascade', s.id);
    delete from rowcast.source where id = s.id;
    gone := gone + 1;
  end loop;
  return gone;
end $$;

comment on function rowcast.forget_dropped is 'Ends the routes of tables that were dropped.';

create function rowcast.follow_ddl() returns int
  language plpgsql
  set search_path = pg_catalog, pg_temp
  set lock_timeout = '100ms'
  as $$
declare
  mended int := 0;
  s      record;
begin
  -- A change of the table leaves its capture function right but slow: generated anew, sessions compile it again.
  for s in select id from rowcast.source where shape <> rowcast.shape(rel) loop
    begin
      perform rowcast.generate(s.id);
      mended := mended + 1;
    exception when others then
      raise warning 'rowcast cannot generate capture_% anew: %', s.id, sqlerrm;
    end;
  end loop;
  -- New partitions and children lack triggers of their own. Where they are ours to create, they are.
  for s in
    select x.id from rowcast.source x
     where exists (select from rowcast.wanted_triggers(x.id) w
                    where not exists (select from pg_trigger g where g.tgrelid = w.member and g.tgname = w.name))
  loop
    begin
      mended := mended + rowcast.attach(s.id);
    exception when others then null; -- busy or not allowed: watched() says what is missing
    end;
  end loop;
  return mended;
end $$;

comment on function rowcast.follow_ddl is 'Brings capture functions and triggers after what was changed about their tables.';

create function rowcast.tend(log_age_max_s int, log_bytes_max bigint) returns json
  language plpgsql
  security definer
  set search_path = pg_catalog, pg_temp
  as $$
declare
  state    rowcast.state;
  noted    bool;     -- the gap was noted by a transaction before this one
  lease    bigint;
  renewed  bigint;
  bytes    bigint;
  gap      bool := false;
  stopped  bool := false;
  pending  bool;
  rotation text;
  forgotten int := 0;
  mended   int := 0;
begin
  if log_age_max_s is null or log_age_max_s < 10 or log_bytes_max is null or log_bytes_max < 1 then
    raise exception using errcode = 'RC006', message = 'log_age_max_s must be at least 10 and log_bytes_max at least 1',
      hint = 'select rowcast.tend(3600, 1073741824)';
  end if;
  perform rowcast.check_isolation();
  -- One at a time: several instances call this.
  select * into strict state from rowcast.state for update;
  noted := state.gap_pending and (select s.xmin::text <> pg_current_xact_id()::xid::text from rowcast.state s);
  perform setval('rowcast.log_bytes_max', tend.log_bytes_max) where (select last_value from rowcast.log_bytes_max) <> tend.log_bytes_max;

  lease := pg_sequence_last_value('rowcast.lease');
  bytes := rowcast.log_bytes();
  if bytes > tend.log_bytes_max and lease > 1 then
    lease := setval('rowcast.lease', 1);
  end if;
  if not state.gap_pending then
    if lease > date_part('epoch', clock_timestamp()) then
      perform setval('rowcast.lease', date_part('epoch', clock_timestamp())::bigint + log_age_max_s);
      -- Did it run out just before, or was capture stopped meanwhile? A writer may have passed unrecorded: then this
      -- renewal must not stand.
      gap := lease <= date_part('epoch', clock_timestamp()) or pg_sequence_last_value('rowcast.log_full') = 2;
      if gap then
        perform setval('rowcast.lease', 1);
      end if;
    else
      gap := true;
    end if;
    if gap then
      -- Noted for good before anything is recorded again: a renewed lease outlives a transaction that fails.
      update rowcast.state set gap_pending = true, last_gap_at = clock_timestamp();
    end if;
  elsif noted then
    if bytes > tend.log_bytes_max then
      for slot in 0 .. 3 loop
        perform rowcast.empty_slot(slot);
      end loop;
      bytes := rowcast.log_bytes();
    end if;
    stopped := bytes > tend.log_bytes_max;
    if not stopped then
      perform setval('rowcast.log_full', 1);
      perform setval('rowcast.lease', date_part('epoch', clock_timestamp())::bigint + log_age_max_s);
      if pg_sequence_last_value('rowcast.log_full') = 2 then
        perform setval('rowcast.lease', 1);
      end if;
      perform rowcast.reset();
      -- Whoever passed without recording holds this key until its end. While one is in flight, what it changes is still
      -- to become visible, and the stream has to begin once more after that.
      if pg_sequence_last_value('rowcast.lease') > 1 and pg_try_advisory_xact_lock(1381257, 3) then
        update rowcast.state set gap_pending = false;
      end if;
    end if;
  end if;
  select s.gap_pending into strict pending from rowcast.state s;

  if not pending then
    rotation := rowcast.rotate();
    if pg_try_advisory_xact_lock(1381257, 4) then
      forgotten := rowcast.forget_dropped();
      mended := rowcast.follow_ddl();
    end if;
  end if;
  return json_build_object(
    'gap', gap, 'gap_pending', pending, 'stopped', stopped, 'lease_until', pg_sequence_last_value('rowcast.lease'),
    'log_bytes', bytes, 'rotation', rotation, 'tables_forgotten', forgotten, 'mended', mended);
end $$;

comment on function rowcast.tend is
  'Keeps the log alive and bounded: to be called every few seconds. Renews the lease for log_age_max_s seconds, rotates, '
  'forgets dropped tables. Where changes went unrecorded (nobody tended for too long, or the log outgrew log_bytes_max) it '
  'begins a new incarnation of the stream. gap_pending in the answer: call again at once, in a transaction of its own, and '
  'every second after that while it stays.';

revoke all on all functions in schema rowcast from public;
