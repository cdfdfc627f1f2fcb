-- What must not grow at constant load.
select (select count(*) from pg_locks where locktype = 'advisory') as advisory_locks,
       (select sum(pg_total_relation_size(relid))::bigint from pg_partition_tree('rowcast.event')) as log_bytes,
       (select count(*) from pg_stat_activity where datname = current_database())  as sessions,
       (select sum(pg_total_relation_size(c.oid))::bigint from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'rowcast' and c.relkind in ('r', 'm') and c.relname not like 'event%') as other_bytes,
       (select sum(n_dead_tup)::bigint from pg_stat_all_tables where schemaname in ('rowcast', 'rowcast_fx', 'pg_catalog')) as dead_tuples
