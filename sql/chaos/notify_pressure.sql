-- A megabyte in the queue that every listening session reads through.
select count(pg_notify('chaos_noise', repeat('x', 1000) || i)) from generate_series(1, 1000) i
