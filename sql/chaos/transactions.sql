select (xact_commit + xact_rollback)::bigint as n from pg_stat_database where datname = current_database()
