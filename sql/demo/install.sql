-- The demo's objects: 60 pairs (4 sources, 15 destinations) on a state channel and on one event channel per pair.
-- Repeatable; rates that are there keep their values.

do $$
begin
    if to_regclass('public.rates') is not null
       and coalesce(obj_description(to_regclass('public.rates'), 'pg_class'), '') not like 'rowcast demo:%' then
        raise exception 'this database has a table public.rates that is not the demo''s'
            using hint = 'Run the demo on another database, or without DATABASE_URL on an embedded one.';
    end if;
end
$$;

create table if not exists public.rates (
    source_currency      text not null check (source_currency ~ '^[A-Z]{3}$'),
    destination_currency text not null check (destination_currency ~ '^[A-Z]{3}$'),
    rate                 numeric not null check (rate > 0),
    previous             numeric,
    updated_at           timestamptz not null default clock_timestamp(),
    primary key (source_currency, destination_currency)
);
comment on table public.rates is 'rowcast demo: moving exchange rates; drop it when you have seen enough';
comment on column public.rates.rate is 'units of the destination currency for 1 unit of the source currency';
comment on column public.rates.previous is 'the rate before the last change of it';

-- So that an UPDATE typed by hand keeps `previous` and `updated_at` true, too.
create or replace function public.rates_keep_previous() returns trigger language plpgsql as $$
begin
    new.previous := old.rate;
    new.updated_at := clock_timestamp();
    return new;
end
$$;
comment on function public.rates_keep_previous() is 'rowcast demo: keeps rates.previous and rates.updated_at';

drop trigger if exists keep_previous on public.rates;
create trigger keep_previous before update of rate on public.rates
    for each row when (new.rate is distinct from old.rate) execute function public.rates_keep_previous();

insert into public.rates (source_currency, destination_currency, rate)
select s.code, d.code, round(s.usd * d.per_usd, case when s.usd * d.per_usd < 100 then 4 else 2 end)
from (values ('USD', 1.0), ('CAD', 0.7254), ('GBP', 1.3368), ('EUR', 1.0869)) as s(code, usd)
cross join (values
    ('XOF', 603.51), ('XAF', 603.51), ('EGP', 48.6200), ('ETB', 128.40), ('GHS', 12.3500), ('KES', 129.15),
    ('MAD', 9.8710), ('NGN', 1532.40), ('ZAR', 17.6830), ('UGX', 3652.00), ('ZMW', 24.1500), ('TZS', 2485.00),
    ('RWF', 1447.00), ('SLE', 22.8500), ('MWK', 1734.00)
) as d(code, per_usd)
on conflict do nothing;

-- `rates` is a live view of the whole table: a page that lags gets the newest value of a pair, not each one.
select rowcast.define_channel('rates', kind => 'state', conflate => '{source_currency}_{destination_currency}');
select rowcast.watch('public.rates', 'rates');
-- One channel for each pair, replayable: every change as it happened.
select rowcast.watch('public.rates', 'pair:{source_currency}_{destination_currency}');
