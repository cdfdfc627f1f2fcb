-- What holds each provider, as whoever refreshed last left it.
select provider as "provider!", breaker as "breaker!", why, openings as "openings!",
       (extract(epoch from held_until) * 1000000)::bigint as held_until_us,
       (extract(epoch from updated_at) * 1000000)::bigint as "updated_at_us!",
       (extract(epoch from answered_at) * 1000000)::bigint as answered_at_us
  from rowcast_fx.provider_state
