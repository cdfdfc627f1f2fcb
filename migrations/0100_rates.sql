-- Exchange rates: what is published (rates), what it was made of (rate_quote), how it went (rate_history), and what the
-- next refresh must remember (rate_mark, rate_cycle). provider_state is for the eye.
--
--   providers ──quotes──▶ aggregation ──one statement──▶ rates ──capture──▶ the log, like any other table
--                             ▲   └──▶ rate_quote          └──trigger──▶ rate_history
--                             └── rate_mark (last good value of each currency, jumps on hold)
--
-- In a schema of its own: an ordinary role may find a table "rates" in public already, or no right to make one there, and
-- watch() takes no table of schema rowcast. With rowcast_fx at the end of the search_path, `update rates set rate = …` finds it.

create schema rowcast_fx;

comment on schema rowcast_fx is 'rowcast: exchange rates. Start at the table rates.';

create table rowcast_fx.rates (
  source_currency      text        not null check (source_currency ~ '^[A-Z]{3}$'),
  destination_currency text        not null check (destination_currency ~ '^[A-Z]{3}$'),
  rate                 numeric     not null check (rate > 0 and rate < 1e18),
  inverse              numeric     not null check (inverse > 0 and inverse < 1e18),
  previous             numeric,
  updated_at           timestamptz not null default clock_timestamp(),
  mid                  numeric,
  confidence           text        not null default 'low' check (confidence in ('high', 'medium', 'low')),
  sources              text[]      not null default '{}',
  executed_by          text,
  as_of                timestamptz,
  cached               bool        not null default false,
  expired              bool        not null default false,
  warnings             text[]      not null default '{}',
  primary key (source_currency, destination_currency),
  check (source_currency <> destination_currency)
);

comment on table rowcast_fx.rates is
  'The published exchange rates. Anybody may update a rate by hand; the next refresh sets what the providers say.';
comment on column rowcast_fx.rates.source_currency is 'ISO 4217 code of what is paid.';
comment on column rowcast_fx.rates.destination_currency is 'ISO 4217 code of what is received.';
comment on column rowcast_fx.rates.rate is
  'Units of the destination currency for 1 unit of the source currency, at most 15 significant digits (a JavaScript number holds them).';
comment on column rowcast_fx.rates.inverse is 'The same price the other way round: units of the source currency for 1 unit of the destination, rounded once. Who writes one of the two gets the other.';
comment on column rowcast_fx.rates.previous is 'The rate before its last change.';
comment on column rowcast_fx.rates.updated_at is 'When the rate last changed.';
comment on column rowcast_fx.rates.mid is 'The middle of the providers'' quotes that the rate was made from, before markup.';
comment on column rowcast_fx.rates.confidence is 'high: three or more sources agree; medium: two; low: one, or a last good value. The lower of its two legs.';
comment on column rowcast_fx.rates.sources is 'The providers whose quotes made this rate.';
comment on column rowcast_fx.rates.executed_by is 'The payout provider whose price this is; null: the rate is the market''s middle (less markup).';
comment on column rowcast_fx.rates.as_of is 'The providers'' own time of the quotes; of two legs the older one.';
comment on column rowcast_fx.rates.cached is 'No fresh quote now: this is the last good value.';
comment on column rowcast_fx.rates.expired is 'The last good value became too old to be used: do not quote it.';
comment on column rowcast_fx.rates.warnings is 'What a user of this rate should know, in sentences.';

create table rowcast_fx.rate_history (
  source_currency      text        not null,
  destination_currency text        not null,
  at                   timestamptz not null,
  rate                 numeric     not null,
  mid                  numeric,
  confidence           text        not null
) partition by range (at);

create table rowcast_fx.rate_history_rest partition of rowcast_fx.rate_history default;
create index rate_history_pair on rowcast_fx.rate_history (source_currency, destination_currency, at);

comment on table rowcast_fx.rate_history is
  'Every rate that was published, by whomever. Partitioned by month (UTC); tend() makes partitions and drops old ones.';
comment on table rowcast_fx.rate_history_rest is 'What came while the month had no partition yet.';
comment on column rowcast_fx.rate_history.source_currency is 'As in rates.';
comment on column rowcast_fx.rate_history.destination_currency is 'As in rates.';
comment on column rowcast_fx.rate_history.at is 'From when on it held.';
comment on column rowcast_fx.rate_history.rate is 'As in rates.';
comment on column rowcast_fx.rate_history.mid is 'As in rates.';
comment on column rowcast_fx.rate_history.confidence is 'As in rates.';

create table rowcast_fx.rate_quote (
  at             timestamptz not null,
  cycle          bigint      not null,
  provider       text        not null,
  base_currency  text        not null,
  quote_currency text        not null,
  rate           numeric     not null,
  as_of          timestamptz not null,
  fetched_at     timestamptz not null,
  reason         text,
  detail         text
) partition by range (at);

create table rowcast_fx.rate_quote_rest partition of rowcast_fx.rate_quote default;
create index rate_quote_currency on rowcast_fx.rate_quote (quote_currency, at);

comment on table rowcast_fx.rate_quote is
  'Every quote, used or rejected. A provider''s answer that is the same as in the refresh before, with the same fate, is not repeated. Partitioned by day (UTC); tend() makes partitions and drops old ones.';
comment on table rowcast_fx.rate_quote_rest is 'What came while the day had no partition yet.';
comment on column rowcast_fx.rate_quote.at is 'Time of the refresh that judged it.';
comment on column rowcast_fx.rate_quote.cycle is 'Number of that refresh.';
comment on column rowcast_fx.rate_quote.provider is 'Who quoted.';
comment on column rowcast_fx.rate_quote.base_currency is 'The quote is for 1 unit of this.';
comment on column rowcast_fx.rate_quote.quote_currency is 'As the provider wrote it; also where it is no currency code.';
comment on column rowcast_fx.rate_quote.rate is 'Units of quote_currency for 1 base_currency, as the provider gave it.';
comment on column rowcast_fx.rate_quote.as_of is 'The provider''s own time of it.';
comment on column rowcast_fx.rate_quote.fetched_at is 'When the provider answered.';
comment on column rowcast_fx.rate_quote.reason is
  'Why it was rejected: code, range, stale, future, no_pivot, duplicate, outlier, apart, not_executing. Null: it was used.';
comment on column rowcast_fx.rate_quote.detail is 'The same in figures.';

create table rowcast_fx.rate_mark (
  kind           text        not null check (kind in ('mid', 'executable')),
  base_currency  text        not null,
  quote_currency text        not null,
  value          numeric     check (value > 0),
  good_at        timestamptz,
  as_of          timestamptz,
  confidence     text        not null default 'low',
  sources        text[]      not null default '{}',
  held           numeric     check (held > 0),
  held_at        timestamptz,
  primary key (kind, base_currency, quote_currency)
);

comment on table rowcast_fx.rate_mark is
  'What a refresh must know of those before: per currency (base USD) the middle of the market, per executable pair its price.';
comment on column rowcast_fx.rate_mark.kind is 'mid: units of the currency for 1 USD; executable: a payout provider''s price.';
comment on column rowcast_fx.rate_mark.base_currency is 'USD for a currency''s mark; the source of an executable pair.';
comment on column rowcast_fx.rate_mark.quote_currency is 'The currency, or the pair''s destination.';
comment on column rowcast_fx.rate_mark.value is 'The last good value, 28 digits; null: there was none yet.';
comment on column rowcast_fx.rate_mark.good_at is 'When fresh quotes last gave it (kept to the minute).';
comment on column rowcast_fx.rate_mark.as_of is 'The providers'' time of those quotes.';
comment on column rowcast_fx.rate_mark.confidence is 'Its confidence then.';
comment on column rowcast_fx.rate_mark.sources is 'The providers that made it.';
comment on column rowcast_fx.rate_mark.held is 'A jump from value that waits for the next refresh, or a second provider, to confirm it.';
comment on column rowcast_fx.rate_mark.held_at is 'When it was seen first.';

create table rowcast_fx.rate_cycle (
  one bool        primary key default true check (one),
  n   bigint      not null default 0,
  at  timestamptz not null default '-infinity'
);

insert into rowcast_fx.rate_cycle default values;

comment on table rowcast_fx.rate_cycle is
  'Counts refreshes; one row. A refresh writes only if nobody else did since it read, and nobody with later quotes.';
comment on column rowcast_fx.rate_cycle.n is 'Number of the last refresh.';
comment on column rowcast_fx.rate_cycle.at is 'Its time.';

create table rowcast_fx.rate_refresh (
  cycle   bigint      primary key,
  at      timestamptz not null,
  changed int         not null,
  used    int         not null,
  rejected int        not null,
  summary text        not null default ''
);

create index rate_refresh_at on rowcast_fx.rate_refresh (at);

comment on table rowcast_fx.rate_refresh is
  'Refreshes that changed a rate. The row is written after the rates in the same statement, so its event comes after theirs.';
comment on column rowcast_fx.rate_refresh.cycle is 'rate_cycle.n of it.';
comment on column rowcast_fx.rate_refresh.at is 'Its time.';
comment on column rowcast_fx.rate_refresh.changed is 'How many rates it wrote.';
comment on column rowcast_fx.rate_refresh.used is 'How many quotes it used.';
comment on column rowcast_fx.rate_refresh.rejected is 'How many quotes it rejected.';
comment on column rowcast_fx.rate_refresh.summary is 'What it did, in a line.';

create table rowcast_fx.provider_state (
  provider    text        primary key,
  outcome     text        not null check (outcome in ('answered', 'held', 'failed', 'slow')),
  breaker     text        not null check (breaker in ('closed', 'open', 'half_open')),
  detail      text,
  held_until  timestamptz,
  answered_at timestamptz,
  latency_ms  bigint,
  updated_at  timestamptz not null
);

comment on table rowcast_fx.provider_state is 'How each provider fared in the last refresh that asked it. Not written while nothing but the time changes.';
comment on column rowcast_fx.provider_state.provider is 'Its name in the configuration.';
comment on column rowcast_fx.provider_state.outcome is
  'answered; held: not asked, detail says why, and its last answer counts while it is fresh; failed; slow: not done yet, its answer counts in the next refresh.';
comment on column rowcast_fx.provider_state.breaker is 'closed: asked as usual; open: left alone; half_open: asked once, on trial.';
comment on column rowcast_fx.provider_state.detail is 'Why it was not asked or did not answer; never holds a key.';
comment on column rowcast_fx.provider_state.held_until is 'When it may be asked again; null with outcome held: not before the configuration is loaded anew.';
comment on column rowcast_fx.provider_state.answered_at is 'Its last good answer.';
comment on column rowcast_fx.provider_state.latency_ms is 'How long that took.';
comment on column rowcast_fx.provider_state.updated_at is 'The refresh that changed this row last.';

-- What is typed by hand keeps both directions, `previous`, `updated_at` and the history true, too.
create function rowcast_fx.rates_before() returns trigger
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  one constant numeric := 1.0000000000000000000000000000000000000000;
begin
  if tg_op = 'UPDATE' then
    if new.inverse = old.inverse then
      new.inverse := null;
    elsif new.rate = old.rate then
      new.rate := null;
    end if;
    new.previous := old.rate;
    if new.updated_at = old.updated_at then
      new.updated_at := clock_timestamp();
    end if;
  end if;
  if new.inverse is null and new.rate > 0 then
    new.inverse := trim_scale(round(one / new.rate, 14 - floor(log(one / new.rate))::int));
  elsif new.rate is null and new.inverse > 0 then
    new.rate := trim_scale(round(one / new.inverse, 14 - floor(log(one / new.inverse))::int));
  end if;
  return new;
end $$;

comment on function rowcast_fx.rates_before is
  'Keeps rate and inverse each other''s, to 15 significant digits, rates.previous true, and rates.updated_at where the writer does not say.';

create trigger keep_inverse before insert on rowcast_fx.rates
  for each row when (new.rate is null or new.inverse is null) execute function rowcast_fx.rates_before();
create trigger keep_previous before update on rowcast_fx.rates
  for each row when (new.rate is distinct from old.rate or new.inverse is distinct from old.inverse) execute function rowcast_fx.rates_before();

comment on trigger keep_inverse on rowcast_fx.rates is 'Who writes one direction gets the other.';
comment on trigger keep_previous on rowcast_fx.rates is 'Keeps both directions, previous and updated_at true, whoever writes.';

create function rowcast_fx.rates_after() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into rowcast_fx.rate_history (source_currency, destination_currency, at, rate, mid, confidence)
  values (new.source_currency, new.destination_currency, new.updated_at, new.rate, new.mid, new.confidence);
  return null;
end $$;

comment on function rowcast_fx.rates_after is 'Adds a rate to rate_history when it changed. Security definer: who may write a rate needs no right on its history.';

create trigger keep_history_insert after insert on rowcast_fx.rates
  for each row execute function rowcast_fx.rates_after();
create trigger keep_history_update after update on rowcast_fx.rates
  for each row when (new.rate is distinct from old.rate) execute function rowcast_fx.rates_after();

comment on trigger keep_history_insert on rowcast_fx.rates is 'The published series, whoever writes.';
comment on trigger keep_history_update on rowcast_fx.rates is 'The published series, whoever writes.';

create function rowcast_fx.tend(quote_days int, history_days int, now timestamptz default clock_timestamp()) returns json
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
      select c.relname as name
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

select rowcast_fx.tend(1, 1);

create function rowcast_fx.open_channels() returns void
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from rowcast.channel where pattern = 'rates') then
    perform rowcast.define_channel('rates', kind => 'state', conflate => '{source_currency}_{destination_currency}');
  end if;
  if not exists (select from rowcast.route r join rowcast.source s on s.id = r.source
                  where s.rel = 'rowcast_fx.rates'::regclass and r.until is null) then
    perform rowcast.watch('rowcast_fx.rates', 'rates');
    perform rowcast.watch('rowcast_fx.rates', 'pair:{source_currency}_{destination_currency}');
  end if;
  if not exists (select from rowcast.route r join rowcast.source s on s.id = r.source
                  where s.rel = 'rowcast_fx.rate_refresh'::regclass and r.until is null) then
    perform rowcast.watch('rowcast_fx.rate_refresh', 'rates:refreshed', event => 'refreshed', operations => '{insert}');
  end if;
end $$;

comment on function rowcast_fx.open_channels is
  'Rates onto channels, where they are not yet: state channel rates, one event channel pair:{source_currency}_{destination_currency} '
  'for each, and rates:refreshed after each refresh that changed some. Not done by the migration: an application may have a channel rates of its own.';

revoke all on all functions in schema rowcast_fx from public;
