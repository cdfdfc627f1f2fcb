-- The unread ones of $1, or of them number $2. How many.
with done as (
  update notification set is_read = true, read_at = clock_timestamp()
   where recipient_id = $1 and ($2::bigint is null or id = $2) and not is_read
  returning 1
)
select count(*) as "count!" from done
