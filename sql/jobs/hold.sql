-- Until the transaction ends, no other run of job $1 may begin, whoever leads; and the time of what follows is limited.
select pg_try_advisory_xact_lock(1381258, $1) as "held!", set_config('statement_timeout', $2, true)
