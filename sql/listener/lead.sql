-- One listener leads: it alone owns the doorbell.
select pg_try_advisory_lock(1381257, 2)
