-- What a refresh must know, as of one snapshot; numbers as text.
select c.n, (extract(epoch from nullif(c.at, '-infinity')) * 1000000)::bigint as at_us,
       coalesce((select json_agg(json_build_object(
           'kind', m.kind, 'base', m.base_currency, 'quote', m.quote_currency, 'value', m.value::text,
           'good_at_us', (extract(epoch from m.good_at) * 1000000)::bigint,
           'as_of_us', (extract(epoch from m.as_of) * 1000000)::bigint,
           'confidence', m.confidence, 'sources', m.sources, 'held', m.held::text,
           'held_at_us', (extract(epoch from m.held_at) * 1000000)::bigint))
         from rowcast_fx.rate_mark m), '[]')::text as "marks!",
       coalesce((select json_agg(json_build_object(
           'source', r.source_currency, 'destination', r.destination_currency, 'rate', r.rate::text,
           'confidence', r.confidence, 'executed_by', r.executed_by, 'cached', r.cached, 'expired', r.expired,
           'warnings', r.warnings, 'held', r.held_until > clock_timestamp(), 'updated_at_us', (extract(epoch from r.updated_at) * 1000000)::bigint))
         from rowcast_fx.rates r), '[]')::text as "rates!"
  from rowcast_fx.rate_cycle c
