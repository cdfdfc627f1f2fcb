-- Wakes: from now on writers commit without ringing, and the drains must come by themselves.
select pg_advisory_unlock(1381257, 1)
