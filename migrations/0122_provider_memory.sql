-- What holds a provider outlives the process: who starts, or takes over from another instance, does not ask again a provider whose
-- quota is spent or that was asked just now, and goes on with its last answer (rate_quote).

alter table rowcast_fx.provider_state
  add column why text check (why in ('failing', 'rate_limited', 'quota', 'auth', 'probing', 'interval', 'no_news')),
  add column openings int not null default 0;

comment on column rowcast_fx.provider_state.why is
  'What held_until is about. failing: five rounds in a row; rate_limited: it said so; quota: none left this month; auth: it refused the key; '
  'probing: one trial is on its way; interval: our own min_interval_ms; no_news: it said when it will have some. Null: nothing holds it.';
comment on column rowcast_fx.provider_state.openings is 'How often it was left alone for failing since it was well: each time twice as long.';
comment on table rowcast_fx.provider_state is
  'How each provider fared in the last refresh that asked it, and what holds it, for every instance. Not written while nothing but the time '
  'changes. Delete a row to have its provider asked again by the next process that starts.';
