-- The statement that calls the function of this name ($1, with or without its schema) with $2 arguments given as text, each cast to what
-- the function takes; it answers JSON and the snapshot that it was made at. No row: there is no such function that we may call.
select format(
    case when p.prorettype = 'void'::regtype
        then 'select nullif(%s::text, '''') as result, pg_current_snapshot()::text as snapshot'
        else 'select to_json(%s)::text as result, pg_current_snapshot()::text as snapshot' end,
    format('%I.%I(%s)', n.nspname, p.proname,
        (select string_agg(format('$%s::text::%s', a.i, format_type(a.type, null)), ', ' order by a.i)
         from unnest(p.proargtypes::oid[]) with ordinality a(type, i) where a.i <= $2::int))) as "statement!"
from pg_proc p join pg_namespace n on n.oid = p.pronamespace, parse_ident($1) name
where p.prokind = 'f' and not p.proretset and p.proname = name[cardinality(name)]
    and case cardinality(name) when 1 then pg_function_is_visible(p.oid) when 2 then n.nspname = name[1] else false end
    and $2::int between p.pronargs - p.pronargdefaults and p.pronargs
    and has_schema_privilege(n.oid, 'usage') and has_function_privilege(p.oid, 'execute')
order by p.pronargs, p.oid limit 1
