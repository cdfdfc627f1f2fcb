-- What is watched, and what channels are. Written by watch(), unwatch(), define_channel() and undefine_channel() only;
-- each change adds a row of op 'c' to the log, so that readers apply it at its place in the stream.

create table rowcast.source (
  id      int      primary key generated always as identity,
  rel     regclass not null unique,
  name    text     not null,
  bulk    bool     not null default false,
  bell    bool     not null default true,
  columns text[],
  shape   text     not null default ''
);

comment on table rowcast.source is 'Watched tables. The function rowcast.capture_<id>() belongs to each.';
comment on column rowcast.source.id is 'Never used again: the log refers to it.';
comment on column rowcast.source.rel is 'The table.';
comment on column rowcast.source.name is 'Its qualified name when it was last watched; says what it was after it is dropped.';
comment on column rowcast.source.bulk is 'Statement-level capture with transition tables instead of row-level.';
comment on column rowcast.source.bell is
  'Whether a change rings the listener. Without it, PREPARE TRANSACTION works, and the safety poll finds the events.';
comment on column rowcast.source.columns is 'The columns that are recorded; null: all, because some route wants all.';
comment on column rowcast.source.shape is
  'Fingerprint of the table''s columns when its capture function was generated; tend() generates it anew after DDL.';

create table rowcast.route (
  id         int    primary key generated always as identity,
  source     int    not null,
  template   text   not null,
  event      text,
  operations text[] not null,
  columns    text[],
  "when"     text,
  when_sql   text,
  keys       text,
  keys_sql   text,
  read_sql   text,
  since      bigint not null,
  until      bigint,
  until_xmax xid8
);

-- Of one identity only one version is in force.
create unique index route_identity on rowcast.route (source, template, coalesce(event, '')) where until is null;

comment on table rowcast.route is
  'From a table''s changes to channels. A row is never changed but ended: old events are routed as they were captured.';
comment on column rowcast.route.source is 'rowcast.source.id; the source may be gone when the route has ended.';
comment on column rowcast.route.template is 'Channel template, such as orders:{id}.';
comment on column rowcast.route.event is 'Name of its events; null: the operation''s name.';
comment on column rowcast.route.operations is 'Subset of insert, update, delete, truncate.';
comment on column rowcast.route.columns is 'Columns that its messages show; null: all.';
comment on column rowcast.route."when" is 'Condition over old and new, as given.';
comment on column rowcast.route.when_sql is 'The same as the capture function evaluates it.';
comment on column rowcast.route.keys is 'SQL that finds the channels'' parameters, as given.';
comment on column rowcast.route.keys_sql is
  '$1 jsonb, an array of row objects; gives (i int, key jsonb): the parameters, as texts in the template''s order, for row i.';
comment on column rowcast.route.read_sql is
  '$1 jsonb, an array of arrays of parameter texts; gives (i int, data text, snapshot text): the table''s row for key i.';
comment on column rowcast.route.since is 'Log id from which it is in force: since <= id < until.';
comment on column rowcast.route.until is 'Log id at which it ended; null: in force.';
comment on column rowcast.route.until_xmax is
  'Set by the first rotation after its end: no event under it has this xid or a later one. Rotation deletes it once the horizon is there.';

create table rowcast.channel (
  pattern     text        primary key,
  kind        text        not null default 'event' check (kind in ('event', 'state')),
  view        text,
  read_sql    text,
  conflate    text,
  throttle_ms int         not null default 0 check (throttle_ms between 0 and 3600000),
  event       text,
  updated_at  timestamptz not null default now()
);

comment on table rowcast.channel is 'Channel families that differ from a plain event channel without a view.';
comment on column rowcast.channel.pattern is 'Which channels: text with {parameters}, such as orders:{id}.';
comment on column rowcast.channel.kind is 'event: each change as it happened; state: the newest state, read from the view.';
comment on column rowcast.channel.view is 'Function or relation that shows a channel''s content, schema-qualified.';
comment on column rowcast.channel.read_sql is
  '$1 jsonb, an array of arrays of parameter texts; gives (i int, data text, snapshot text): the content for key i.';
comment on column rowcast.channel.conflate is
  'Template over the message''s fields: for a slow client the newer of two messages with the same text replaces the older.';
comment on column rowcast.channel.throttle_ms is 'A channel is read at most once per so many milliseconds.';
comment on column rowcast.channel.event is 'Name of the events of a state channel; null: state.';
comment on column rowcast.channel.updated_at is 'When it was defined or last changed.';
