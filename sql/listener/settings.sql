-- The session of the listener. Generic plans without sequential scans or bitmaps keep an empty drain below 0.1 ms; nothing it
-- writes (heartbeats, rings) has to survive a crash; the server must notice by itself when our end is gone.
-- $1 tcp_keepalives_idle (s), $2 tcp_keepalives_interval (s), $3 tcp_keepalives_count, $4 tcp_user_timeout (ms), all as text
select set_config('jit', 'off', false),
       set_config('enable_seqscan', 'off', false),
       set_config('enable_bitmapscan', 'off', false),
       set_config('plan_cache_mode', 'force_generic_plan', false),
       set_config('default_transaction_isolation', 'read committed', false),
       set_config('default_transaction_read_only', 'off', false),
       set_config('synchronous_commit', 'off', false),
       set_config('statement_timeout', '0', false),
       set_config('lock_timeout', '0', false),
       set_config('idle_in_transaction_session_timeout', '0', false),
       set_config('tcp_keepalives_idle', $1, false),
       set_config('tcp_keepalives_interval', $2, false),
       set_config('tcp_keepalives_count', $3, false),
       set_config('tcp_user_timeout', $4, false)
