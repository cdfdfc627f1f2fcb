-- Whom we talk to, and whether the schema is there and ours to use. Reads catalogs only, so it needs no rights itself.
with schema as (select oid from pg_namespace where nspname = 'rowcast'),
     need (name, privilege) as (
       values ('event', 'SELECT'), ('state', 'SELECT'), ('incarnation', 'SELECT'),
              ('instance', 'SELECT'), ('instance', 'INSERT'), ('instance', 'UPDATE'), ('instance', 'DELETE')),
     found as (
       select need.name, need.privilege, c.oid from need
         left join pg_class c on c.relname = need.name and c.relnamespace = (select oid from schema)),
     incarnation as (
       select p.oid from pg_proc p
        where p.proname = 'incarnation' and p.pronargs = 0 and p.pronamespace = (select oid from schema))
select pg_backend_pid() as pid,
       current_user::text as role,
       current_database()::text as database,
       array(select 'rowcast.' || name from found where oid is null
             union select 'rowcast.incarnation()' where not exists (select from incarnation)
             order by 1)::text[] as missing,
       array(select 'usage on schema rowcast' from schema where not has_schema_privilege(oid, 'USAGE')
             union all
             select lower(privilege) || ' on rowcast.' || name from found
              where oid is not null and not has_table_privilege(oid, privilege)
             union all
             select 'execute on rowcast.incarnation()' from incarnation
              where not has_function_privilege(oid, 'EXECUTE'))::text[] as forbidden
