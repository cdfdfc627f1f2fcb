-- The jobs, who runs them, the rates and their providers: what doctor judges.
with recent as (
    select job, outcome, ticks from rowcast.job_run where asked_at > clock_timestamp() - interval '1 hour'
)
select json_build_object(
    'runner', exists (
        select from pg_locks l join pg_database d on d.oid = l.database
         where d.datname = current_database() and l.locktype = 'advisory' and l.classid = 1381257 and l.objid = 6 and l.objsubid = 2 and l.granted
    ),
    'jobs', coalesce((
        select json_agg(json_build_object(
            'name', j.name, 'core', j.sql is null, 'problem', j.problem,
            'outcome', l.outcome, 'error', l.error,
            'failed', (select count(*) from recent r where r.job = j.id and r.outcome in ('failed', 'timed_out')),
            'missed', (select coalesce(sum(r.ticks), 0) from recent r where r.job = j.id and r.outcome = 'missed'),
            'skipped', (select count(*) from recent r where r.job = j.id and r.outcome = 'skipped_overlap'),
            'runs', (select count(*) from recent r where r.job = j.id),
            'may', j.sql is null or coalesce((select pg_has_role(oid, 'member') from pg_roles where rolname = j.role), false),
            'role', j.role) order by j.name)
          from rowcast.job j
          left join lateral (select r.outcome, r.error from rowcast.job_run r
                              where r.job = j.id and r.outcome is not null order by r.id desc limit 1) l on true
    ), '[]'),
    'rates', (select count(*) from rowcast_fx.rates),
    'cached', (select count(*) from rowcast_fx.rates where cached and not expired),
    'expired', (select count(*) from rowcast_fx.rates where expired),
    'by_hand', (select count(*) from rowcast_fx.rates where held_until > clock_timestamp()),
    'refreshed_s', (select extract(epoch from clock_timestamp() - nullif(at, '-infinity'))::bigint from rowcast_fx.rate_cycle),
    'providers', coalesce((
        select json_agg(json_build_object(
            'name', p.provider, 'outcome', p.outcome, 'breaker', p.breaker, 'why', p.why, 'detail', p.detail,
            'held_s', extract(epoch from p.held_until - clock_timestamp())::bigint,
            'answered_s', extract(epoch from clock_timestamp() - p.answered_at)::bigint,
            'judged_s', extract(epoch from clock_timestamp() - p.updated_at)::bigint) order by p.provider)
          from rowcast_fx.provider_state p
    ), '[]')
)::text as "facts!"
