-- As settings.sql, for servers from version 14. client_connection_check_interval exists on Linux and a few others only.
-- $1 client_connection_check_interval (ms) as text
select set_config('idle_session_timeout', '0', false),
       set_config('client_connection_check_interval', $1, false)
