-- One event, and one new state.
with news as (insert into chaos.news values ($1, repeat('x', 500))) update chaos.live set n = $1, body = repeat('y', 500)
