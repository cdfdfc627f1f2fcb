-- The first $1, as channel `leaderboard` shows them.
select pg_current_snapshot()::text as "snapshot!", rowcast_reference.leaderboard($1)::text as "item!"
