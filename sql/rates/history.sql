-- The published series of a pair from $3 (epoch µs) on, the newest $4 points, oldest first.
select h.at_us as "at_us!", h.rate as "rate!", h.confidence as "confidence!"
  from (select (extract(epoch from at) * 1000000)::bigint as at_us, rate::text as rate, confidence
          from rowcast_fx.rate_history
         where source_currency = $1 and destination_currency = $2 and at >= to_timestamp($3::bigint / 1e6)
         order by at desc limit $4) h
 order by 1
