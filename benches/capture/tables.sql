-- One table per variant, all alike: what is compared is only what watches them.
create table plain (
  id bigint primary key, customer_id int not null, status text not null, total numeric(10, 2) not null, note text,
  placed_at timestamptz not null default now(), updated_at timestamptz not null default now()
) with (fillfactor = 90);
create table watched (like plain including all);   -- watch('watched', 'watched:{id}')
create table columns (like plain including all);   -- the same, columns => '{status,total}'
create table bulk (like plain including all);      -- the same, bulk => true
create table notify (like plain including all);    -- pg_notify with the row in every transaction, no log
create table draft (like plain including all);     -- the first draft of the log: statement trigger, both rows, bell
create table draft_row (like plain including all); -- the same row by row

select rowcast.watch('watched', 'watched:{id}'), rowcast.watch('columns', 'columns:{id}', columns => '{status,total}'),
       rowcast.watch('bulk', 'bulk:{id}', bulk => true);
-- No listener runs: nobody sleeps, nobody rings. The log has room for all of it.
select setval('rowcast.lease', 99999999999), setval('rowcast.log_bytes_max', 999999999999);

create schema draft;
create sequence draft.event_id;
create table draft.event (
  id bigint not null default nextval('draft.event_id'), xid xid8 not null default pg_current_xact_id(), slot smallint not null,
  at timestamptz not null default clock_timestamp(), src int not null, op "char" not null, new json, old json
) partition by list (slot);
create table draft.event_0 partition of draft.event for values in (0);
create table draft.event_1 partition of draft.event for values in (1);
create index on draft.event (xid);

create function draft.statement() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  s smallint := (date_part('epoch', clock_timestamp())::bigint / 900) % 2;
begin
  if tg_op = 'UPDATE' then
    insert into draft.event (slot, src, op, new, old)
    select s, tg_argv[0]::int, 'u', row_to_json(n.r), row_to_json(o.r)
      from (select x as r, row_number() over () as i from rt_new x) n
      join (select y as r, row_number() over () as i from rt_old y) o using (i)
     where n.r operator(pg_catalog.*<>) o.r;
  else
    insert into draft.event (slot, src, op, new) select s, tg_argv[0]::int, 'i', row_to_json(x) from rt_new x;
  end if;
  if found and not pg_try_advisory_xact_lock_shared(1381257, 1) then perform pg_notify('rt', ''); end if;
  return null;
end $$;
create trigger u after update on draft referencing old table as rt_old new table as rt_new for each statement execute function draft.statement(1);
create trigger i after insert on draft referencing new table as rt_new for each statement execute function draft.statement(1);

create function draft.each_row() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  s smallint := (date_part('epoch', clock_timestamp())::bigint / 900) % 2;
begin
  if tg_op = 'UPDATE' then
    insert into draft.event (slot, src, op, new, old) values (s, tg_argv[0]::int, 'u', row_to_json(new), row_to_json(old));
  else
    insert into draft.event (slot, src, op, new) values (s, tg_argv[0]::int, 'i', row_to_json(new));
  end if;
  if not pg_try_advisory_xact_lock_shared(1381257, 1) then perform pg_notify('rt', ''); end if;
  return null;
end $$;
create trigger u after update on draft_row for each row when (old.* operator(pg_catalog.*<>) new.*) execute function draft.each_row(1);
create trigger i after insert on draft_row for each row execute function draft.each_row(1);

create function draft.ring() returns trigger language plpgsql as $$
begin
  perform pg_notify('draft', row_to_json(new)::text);
  return null;
end $$;
create trigger u after insert or update on notify for each row execute function draft.ring();

create table measured (load text, variant text, round int, per_s float8, cpu_us float8, wal_bytes float8);
