-- Empties the slot that is being written, as if three quarters of an hour had passed: whoever is behind must be told.
select rowcast.rotate_at(date_part('epoch', clock_timestamp())::bigint + 2700)
