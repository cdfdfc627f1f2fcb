-- Lets go of the doorbell and of leading.
select pg_advisory_unlock_all()
