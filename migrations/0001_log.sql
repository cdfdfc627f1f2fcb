-- The log: what capture writes and the listener reads. Nothing else in here is read on the way of an event.
--
--   writer ──trigger──▶ event (slot = quarter of an hour modulo 4) ──drain by snapshot──▶ listener
--                          └── rotate() empties the slot that comes next and moves state.horizon

create schema if not exists rowcast;

comment on schema rowcast is
  'rowcast: commits of watched tables become messages of channels. Start at rowcast.watch().';

create sequence rowcast.event_id cache 1;

comment on sequence rowcast.event_id is
  'Order of the events. CACHE must stay 1: it is drawn under the changed row''s lock, so ids follow the versions of a row.';

create table rowcast.event (
  id      bigint      not null default nextval('rowcast.event_id'),
  xid     xid8        not null default pg_current_xact_id(),
  slot    smallint    not null,
  at      timestamptz not null default clock_timestamp(),
  source  int         not null,
  op      "char"      not null,
  new     json,
  old     json,
  matched int[],
  channel text,
  event   text
) partition by list (slot);

-- Rows are never updated or deleted and live for less than an hour, so vacuum would only cost.
create table rowcast.event_0 partition of rowcast.event for values in (0)
  with (autovacuum_enabled = off, toast.autovacuum_enabled = off);
create table rowcast.event_1 partition of rowcast.event for values in (1)
  with (autovacuum_enabled = off, toast.autovacuum_enabled = off);
create table rowcast.event_2 partition of rowcast.event for values in (2)
  with (autovacuum_enabled = off, toast.autovacuum_enabled = off);
create table rowcast.event_3 partition of rowcast.event for values in (3)
  with (autovacuum_enabled = off, toast.autovacuum_enabled = off);

-- The only index: drains look for transactions, not for ids.
create index event_xid on rowcast.event (xid);

comment on table rowcast.event is
  'The log of captured changes. Appended to, read by snapshot, emptied slot by slot; never updated or deleted from.';
comment on column rowcast.event.id is 'Place within a drain. Not the order of commits: readers go by xid and snapshots.';
comment on column rowcast.event.xid is 'The writing transaction (the top-level one, also inside savepoints).';
comment on column rowcast.event.slot is 'Quarter of an hour since 1970, modulo 4: lets rotation truncate instead of delete.';
comment on column rowcast.event.at is 'When the change was made, by the server''s clock; not when it was committed.';
comment on column rowcast.event.source is 'rowcast.source.id of the table; 0: rowcast.send(); -1: the configuration changed.';
comment on column rowcast.event.op is 'i insert, u update, d delete, t truncate, s send, c configuration.';
comment on column rowcast.event.new is 'The row after the change (json, not jsonb: numbers keep their text), or the payload of send().';
comment on column rowcast.event.old is 'The row before the change.';
comment on column rowcast.event.matched is
  'Routes with a "when" that held. A negative id: the condition could not be evaluated, and counts as held.';
comment on column rowcast.event.channel is 'Only with op s: the channel that send() names.';
comment on column rowcast.event.event is 'Only with op s: the event''s name.';

create table rowcast.state (
  one         bool        primary key default true check (one),
  horizon     xid8        not null default '0',
  gap_pending bool        not null default false,
  last_gap_at timestamptz
);

insert into rowcast.state default values;

comment on table rowcast.state is 'What rotation and tend() must remember; one row.';
comment on column rowcast.state.horizon is 'Greatest xid that rotation dropped: a cursor at or before it gets a reset.';
comment on column rowcast.state.gap_pending is
  'Changes went unrecorded and not every reader has been told yet: tend() gives the stream a new incarnation.';
comment on column rowcast.state.last_gap_at is 'When tend() last found that changes had gone unrecorded.';

create unlogged table rowcast.incarnation (
  one   bool primary key default true check (one),
  token uuid not null default gen_random_uuid()
);

insert into rowcast.incarnation default values;

comment on table rowcast.incarnation is
  'One life of the stream. UNLOGGED on purpose: crash recovery and promotion empty it, and old cursors die with it.';
comment on column rowcast.incarnation.token is 'Changes whenever cursors handed out before must not be honoured.';

-- Sequences, because every transaction reads the newest value, whatever its snapshot is.
create sequence rowcast.lease minvalue 1;
create sequence rowcast.log_bytes_max minvalue 1;
create sequence rowcast.log_full minvalue 1 maxvalue 2;

-- An hour: changes made between the installation and the first `rowcast serve` are recorded.
select setval('rowcast.lease', date_part('epoch', clock_timestamp())::bigint + 3600),
       setval('rowcast.log_bytes_max', 1073741824),
       setval('rowcast.log_full', 1);

comment on sequence rowcast.lease is
  'Epoch second until which capture records; 1: stopped. Renewed by tend(), so a dead rowcast cannot fill the disk.';
comment on sequence rowcast.log_full is
  '2: a writer stopped capture because the log outgrew its bound. Set before the lease, so that a renewal cannot hide it.';
comment on sequence rowcast.log_bytes_max is 'Size of the log above which capture stops; set by tend().';

create unlogged table rowcast.instance (
  pid           int         not null,
  backend_start timestamptz not null,
  started_at    timestamptz not null default clock_timestamp(),
  seen_at       timestamptz not null default clock_timestamp(),
  leader        bool        not null default false,
  primary key (pid, backend_start)
);

comment on table rowcast.instance is
  'Heartbeats of the listeners'' sessions: a successor ends the backend of a leader that stopped beating.';
comment on column rowcast.instance.pid is 'Backend of the listener''s connection.';
comment on column rowcast.instance.backend_start is 'With pid, names one session: pids are used again.';
comment on column rowcast.instance.started_at is 'When the listener began.';
comment on column rowcast.instance.seen_at is 'Its last heartbeat.';
comment on column rowcast.instance.leader is 'Whether it owned the bell then.';
