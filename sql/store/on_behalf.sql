-- The transaction's user, as PostgREST says it: for audit triggers and row level security. Reading only, where $2.
select set_config('request.jwt.claims', $1, true) as "claims!",
       case when $2::boolean then set_config('transaction_read_only', 'on', true) end as "read_only"
