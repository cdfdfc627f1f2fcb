-- The newest quote of each of the currencies $2 by the provider $1: its last answer, for who does not ask it now.
select q.base_currency as "base!", c.code as "quote!", q.rate::text as "rate!",
       (extract(epoch from q.as_of) * 1000000)::bigint as "as_of_us!"
  from unnest($2::text[]) as c (code)
 cross join lateral (
       select base_currency, rate, as_of from rowcast_fx.rate_quote
        where quote_currency = c.code and provider = $1 and at > clock_timestamp() - interval '2 days'
        order by at desc limit 1) q
