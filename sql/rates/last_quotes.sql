-- The newest quote of each pair of $2 and $3 by the provider $1 before $4 (epoch µs): its last answer. A base of '' is whatever it
-- quotes against. What did not change is written once: over a weekend a daily provider's last words are days old, and hold.
select q.base_currency as "base!", w.quote as "quote!", q.rate::text as "rate!",
       (extract(epoch from q.as_of) * 1000000)::bigint as "as_of_us!"
  from unnest($2::text[], $3::text[]) as w (base, quote)
 cross join lateral (
       select base_currency, rate, as_of from rowcast_fx.rate_quote
        where quote_currency = w.quote and w.base in (base_currency, '') and provider = $1 and reason is distinct from 'duplicate'
          and at > to_timestamp($4::bigint / 1e6) - interval '7 days'
        order by at desc limit 1) q
