-- Who the rest of this transaction is for, as PostgREST tells it.
select set_config('request.jwt.claims', $1, true) as "claims!"
