-- Falls asleep: the doorbell, held exclusively. A try: it fails while any writer that rang nothing is in flight.
-- Nor while the NOTIFY queue fills: a ring that finds no room fails its writer.
select case when pg_notification_queue_usage() < 0.5 then pg_try_advisory_lock(1381257, 1) else false end
