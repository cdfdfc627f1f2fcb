-- A rate that somebody changes by hand stands: refreshes leave it alone until held_until, ten minutes on unless the writer says
-- otherwise. By hand is whoever changes rate or inverse and leaves cycle as it is, which a refresh never does.

alter table rowcast_fx.rates add column cycle bigint, add column held_until timestamptz;

comment on table rowcast_fx.rates is
  'The published exchange rates. Anybody may update a rate by hand: it holds for ten minutes, or until the held_until that the same update sets.';
comment on column rowcast_fx.rates.cycle is 'Number of the refresh that wrote this row last; null: none did.';
comment on column rowcast_fx.rates.held_until is
  'The rate was changed by hand, and refreshes leave it alone until then: ''infinity'' for good; null: not held. A refresh after that sets what the providers say.';
comment on column rowcast_fx.rates.sources is 'The providers whose quotes made this rate; empty: somebody wrote it by hand.';

create or replace function rowcast_fx.rates_before() returns trigger
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
    if new.cycle is not distinct from old.cycle then
      if new.held_until is not distinct from old.held_until then
        new.held_until := greatest(old.held_until, clock_timestamp() + interval '10 minutes');
      end if;
      -- What was said of the providers' rate is not true of this one, unless the writer says it again.
      if (new.mid, new.confidence, new.sources, new.executed_by, new.as_of, new.cached, new.expired, new.warnings) is not distinct from
         (old.mid, old.confidence, old.sources, old.executed_by, old.as_of, old.cached, old.expired, old.warnings) then
        new.mid := null;
        new.confidence := 'low';
        new.sources := '{}';
        new.executed_by := null;
        new.as_of := null;
        new.cached := false;
        new.expired := false;
        new.warnings := '{}';
      end if;
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
  'Keeps rate and inverse each other''s, to 15 significant digits, rates.previous true, and rates.updated_at where the writer does not say; holds '
  'what is changed by hand.';
