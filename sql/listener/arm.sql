-- Falls asleep: the doorbell, held exclusively. A try: it fails while any writer that rang nothing is in flight.
select pg_try_advisory_lock(1381257, 1)
