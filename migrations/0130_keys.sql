-- A channel's key has one spelling: the text of its value. What another spelling would show is shown to nobody, for no change
-- would ever reach it.

create function rowcast.key_types(view text, pattern text) returns text[]
  language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  params constant text[] := rowcast.parse_template(pattern);
begin
  if view ~ '\)$' then
    return (select array_agg(format_type(t, -1) order by n)
              from pg_proc p, unnest(p.proargtypes) with ordinality as a (t, n)
             where p.oid = to_regprocedure(view) and n <= cardinality(params));
  end if;
  return (select array_agg(rowcast.column_type(to_regclass(view), p) order by n)
            from unnest(params) with ordinality as a (p, n) having count(rowcast.column_type(to_regclass(view), p)) = count(*));
end $$;

comment on function rowcast.key_types is
  'Types of a channel pattern''s parameters, as its view takes them; null where there are none or the view is gone.';

create function rowcast.key_as_written(types text[], key text[]) returns text[]
  language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  written text[] := '{}';
  type    regtype;
  one     text;
begin
  for n in 1 .. cardinality(key) loop
    type := types[n]::regtype;
    execute format('select to_json($1::%s) #>> ''{}''', format_type(type, -1)) into one using key[n];
    -- Of these the text is a matter of settings, or of digits: it is taken as it comes.
    if type = any ('{timestamptz,timetz,interval,bytea,money,numeric,float4,float8}'::regtype[]) then
      one := key[n];
    end if;
    written := written || one;
  end loop;
  return written;
exception when query_canceled then raise;
  when others then return null;
end $$;

comment on function rowcast.key_as_written is
  'A key''s parameters as a captured row writes them; null where they are no values of these types.';

revoke all on function rowcast.key_types, rowcast.key_as_written from public;
