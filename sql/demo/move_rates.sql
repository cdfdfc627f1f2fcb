-- About ten pairs take a small random step; the statement is one of any program's, rowcast does not know it.
update public.rates r
set rate = greatest(round(r.rate * (1 + 0.004 * (random() - 0.5))::numeric, scale(r.rate)), 0.0001)
from (select source_currency, destination_currency from public.rates order by random() limit 10) p
where r.source_currency = p.source_currency and r.destination_currency = p.destination_currency;
