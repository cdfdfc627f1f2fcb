-- First of all, in words that every version understands.
select current_setting('server_version_num')::int, pg_is_in_recovery()
