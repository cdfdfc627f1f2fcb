-- Who listens to single pairs and is slow gets the newest rate of each, like who listens to all. Still event channels: a client
-- that comes back with a cursor gets what it missed.

create or replace function rowcast_fx.open_channels() returns void
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  pair constant text := '{source_currency}_{destination_currency}';
begin
  if not exists (select from rowcast.channel where pattern = 'rates') then
    perform rowcast.define_channel('rates', kind => 'state', conflate => pair);
  end if;
  if not exists (select from rowcast.channel where pattern = 'pair:' || pair) then
    perform rowcast.define_channel('pair:' || pair, conflate => pair);
  end if;
  if not exists (select from rowcast.route r join rowcast.source s on s.id = r.source
                  where s.rel = 'rowcast_fx.rates'::regclass and r.until is null) then
    perform rowcast.watch('rowcast_fx.rates', 'rates');
    perform rowcast.watch('rowcast_fx.rates', 'pair:' || pair);
  end if;
  if not exists (select from rowcast.route r join rowcast.source s on s.id = r.source
                  where s.rel = 'rowcast_fx.rate_refresh'::regclass and r.until is null) then
    perform rowcast.watch('rowcast_fx.rate_refresh', 'rates:refreshed', event => 'refreshed', operations => '{insert}');
  end if;
end $$;

comment on function rowcast_fx.open_channels is
  'Rates onto channels, where they are not yet: state channel rates, one event channel pair:{source_currency}_{destination_currency} '
  'for each (both conflate by pair), and rates:refreshed after each refresh that changed some. Not done by the migration: an application may '
  'have a channel rates of its own.';
