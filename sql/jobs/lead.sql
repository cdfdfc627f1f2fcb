-- Becomes the one that runs jobs, as long as this session lasts. A try: waiting would hold a snapshot, and with it vacuum.
select pg_try_advisory_lock(1381257, 6) as "led!"
