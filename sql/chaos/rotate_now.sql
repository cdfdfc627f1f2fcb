-- Empties the slot that is being written, as if three quarters of an hour had passed: whoever is behind must be told. Writers hold the slot most of
-- the time, and rotation waits for nobody: it takes some tries.
do $$
begin
  for attempt in 1 .. 300 loop
    exit when rowcast.rotate_at(date_part('epoch', clock_timestamp())::bigint + 2700) like 'truncated%';
    perform pg_sleep(0.01);
  end loop;
end $$
