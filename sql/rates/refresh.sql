-- One refresh, in one statement, if nobody else refreshed since $1 was read: the gate is a row that two cannot pass.
-- Of the rates only what differs and nobody holds by hand is written; the row of rate_refresh comes after them, and so does its event.
with gate as (
  update rowcast_fx.rate_cycle set n = n + 1, at = to_timestamp($2::bigint / 1e6) where one and n = $1 returning n, at
), offered as (
  select x.* from gate, json_to_recordset($3::text::json) as x (
    source text, destination text, rate numeric, inverse numeric, mid numeric, confidence text, sources text[], executed_by text,
    as_of_us bigint, cached bool, expired bool, warnings text[])
), written as (
  insert into rowcast_fx.rates as r (source_currency, destination_currency, rate, inverse, updated_at, mid, confidence, sources,
                                     executed_by, as_of, cached, expired, warnings, cycle)
  select o.source, o.destination, o.rate, o.inverse, g.at, o.mid, o.confidence, o.sources, o.executed_by,
         to_timestamp(o.as_of_us / 1e6), o.cached, o.expired, o.warnings, g.n
    from offered o, gate g order by o.source, o.destination
  on conflict (source_currency, destination_currency) do update
     set rate = excluded.rate, inverse = excluded.inverse, mid = excluded.mid, confidence = excluded.confidence, sources = excluded.sources,
         executed_by = excluded.executed_by, as_of = excluded.as_of, cached = excluded.cached, expired = excluded.expired,
         warnings = excluded.warnings, cycle = excluded.cycle, held_until = null,
         updated_at = case when r.rate = excluded.rate then r.updated_at else excluded.updated_at end
   where (r.held_until is null or r.held_until <= clock_timestamp())
     and (r.rate, r.confidence, r.executed_by, r.cached, r.expired, r.warnings, r.held_until) is distinct from
         (excluded.rate, excluded.confidence, excluded.executed_by, excluded.cached, excluded.expired, excluded.warnings, null)
  returning 1
), marked as (
  insert into rowcast_fx.rate_mark as m (kind, base_currency, quote_currency, value, good_at, as_of, confidence, sources, held, held_at)
  select x.kind, x.base, x.quote, x.value, to_timestamp(x.good_at_us / 1e6), to_timestamp(x.as_of_us / 1e6), x.confidence,
         x.sources, x.held, to_timestamp(x.held_at_us / 1e6)
    from gate, json_to_recordset($4::text::json) as x (
      kind text, base text, quote text, value numeric, good_at_us bigint, as_of_us bigint, confidence text, sources text[],
      held numeric, held_at_us bigint)
  on conflict (kind, base_currency, quote_currency) do update
     set value = excluded.value, good_at = excluded.good_at, as_of = excluded.as_of, confidence = excluded.confidence,
         sources = excluded.sources, held = excluded.held, held_at = excluded.held_at
), quoted as (
  insert into rowcast_fx.rate_quote (at, cycle, provider, base_currency, quote_currency, rate, as_of, fetched_at, reason, detail)
  select g.at, g.n, x.provider, x.base, x.quote, x.rate, to_timestamp(x.as_of_us / 1e6), to_timestamp(x.fetched_at_us / 1e6),
         x.reason, x.detail
    from gate g, json_to_recordset($5::text::json) as x (
      provider text, base text, quote text, rate numeric, as_of_us bigint, fetched_at_us bigint, reason text, detail text)
), stated as (
  insert into rowcast_fx.provider_state as p (provider, outcome, breaker, why, openings, detail, held_until, answered_at,
                                              latency_ms, updated_at)
  select x.provider, x.outcome, x.breaker, x.why, x.openings, x.detail, to_timestamp(x.held_until_us / 1e6), to_timestamp(x.answered_at_us / 1e6),
         x.latency_ms, g.at
    from gate g, json_to_recordset($9::text::json) as x (
      provider text, outcome text, breaker text, why text, openings int, detail text, held_until_us bigint, answered_at_us bigint, latency_ms bigint)
  on conflict (provider) do update
     set outcome = excluded.outcome, breaker = excluded.breaker, why = excluded.why, openings = excluded.openings, detail = excluded.detail, held_until = excluded.held_until,
         answered_at = excluded.answered_at, latency_ms = excluded.latency_ms, updated_at = excluded.updated_at
   where (p.outcome, p.breaker, p.why, p.openings, p.detail, p.held_until, p.answered_at) is distinct from
         (excluded.outcome, excluded.breaker, excluded.why, excluded.openings, excluded.detail, excluded.held_until, excluded.answered_at)
), told as (
  insert into rowcast_fx.rate_refresh (cycle, at, changed, used, rejected, summary)
  select g.n, g.at, w.count, $6, $7, $8 from gate g, (select count(*) from written) w where w.count > 0
)
select (select n from gate) as cycle, (select count(*) from written) as "written!"
