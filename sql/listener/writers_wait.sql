-- Does a transaction wait for another that rings to have committed? NOTIFY takes this lock, one for all databases, before its
-- transaction commits (PreCommit_Notify in async.c).
select exists (select from pg_locks
                where locktype = 'object' and database = 0 and classid = 'pg_database'::regclass and objid = 0 and not granted)
