-- The published rates, of one source and destination where they are given, as of one snapshot. At least one row.
select pg_current_snapshot()::text as "snapshot!", r.source_currency as "source?", r.destination_currency as "destination?",
       r.rate::text as rate, r.inverse::text as inverse, r.previous::text as previous, r.mid::text as mid,
       r.confidence as "confidence?", r.sources as "sources?", r.executed_by, r.cached as "cached?", r.expired as "expired?",
       r.warnings as "warnings?", (extract(epoch from r.as_of) * 1000000)::bigint as as_of_us,
       (extract(epoch from r.updated_at) * 1000000)::bigint as updated_at_us
  from (values (1)) one (row)
  left join rowcast_fx.rates r
    on r.source_currency = coalesce($1, r.source_currency) and r.destination_currency = coalesce($2, r.destination_currency)
 order by r.source_currency, r.destination_currency
