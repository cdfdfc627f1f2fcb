-- Until the transaction ends, no other run of job $1 may begin, whoever leads; and the time of what follows is limited. A client that
-- vanished between two statements must not keep it.
select pg_try_advisory_xact_lock(1381258, $1) as "held!", set_config('statement_timeout', $2, true) as "timeout!",
       set_config('idle_in_transaction_session_timeout', '10s', true) as "idle!"
