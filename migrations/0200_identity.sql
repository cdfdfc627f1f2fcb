-- Who a Django session belongs to, read only. Names of tables and columns come from the configuration: Postgres resolves
-- and quotes them. SECURITY INVOKER: the server's role needs to be able to read these tables itself.

create function rowcast.django_sessions(sessions regclass, keys text[], out session_key text, out session_data text)
  returns setof record
  language plpgsql stable
  set search_path = pg_catalog, pg_temp
  as $$
begin
  return query execute format(
    'select s.session_key::text, s.session_data::text from %s s where s.session_key = any ($1) and s.expire_date > now()',
    sessions) using keys;
end $$;

comment on function rowcast.django_sessions is 'The sessions of these keys that have not expired.';

create function rowcast.django_users(
  users regclass, columns jsonb, ids text[],
  out id text, out username text, out password text, out active bool, out staff bool
)
  returns setof record
  language plpgsql stable
  set search_path = pg_catalog, pg_temp
  as $$
declare
  type  constant text := rowcast.column_type(users, columns ->> 'id');
  query constant text := format(
    'select u.%1$I::text, %2$s::text, u.%3$I::text, %4$s, %5$s from %6$s u where u.%1$I = $1::%7$s',
    columns ->> 'id',
    coalesce('u.' || quote_ident(nullif(columns ->> 'username', '')), ''''''),
    columns ->> 'password',
    coalesce('coalesce(u.' || quote_ident(nullif(columns ->> 'is_active', '')) || ', false)', 'true'),
    concat_ws(' or ', 'false',
      'coalesce(u.' || quote_ident(nullif(columns ->> 'is_staff', '')) || ', false)',
      'coalesce(u.' || quote_ident(nullif(columns ->> 'is_superuser', '')) || ', false)'),
    users, type);
  one text;
begin
  if type is null then
    raise exception using errcode = 'RC012', message = format('table %s has no column %s', users, columns ->> 'id'),
      hint = 'Name the primary key in auth.user_columns.';
  end if;
  if cardinality(ids) = 0 then
    -- Are the names right?
    return query execute query using null::text;
  end if;
  foreach one in array ids loop
    begin
      return query execute query using one;
    exception
      -- Not a key of this type: nobody's.
      when invalid_text_representation or numeric_value_out_of_range or invalid_datetime_format then null;
    end;
  end loop;
end $$;

comment on function rowcast.django_users is
  'Users by their keys as text. columns names the columns: id, username, password, is_active, is_staff, is_superuser; '
  'an empty one is not there.';

create function rowcast.django_user_named(
  users regclass, columns jsonb, name text,
  out id text, out username text, out password text, out active bool, out staff bool
)
  returns setof record
  language plpgsql stable
  set search_path = pg_catalog, pg_temp
  as $$
declare
  found_id text;
begin
  if coalesce(columns ->> 'username', '') <> '' then
    execute format('select u.%I::text from %s u where u.%I = $1', columns ->> 'id', users, columns ->> 'username')
      into found_id using name;
  end if;
  if found_id is not null then
    return query select * from rowcast.django_users(users, columns, array[found_id]);
  end if;
end $$;

comment on function rowcast.django_user_named is 'The user with this name, for `rowcast token`.';

create function rowcast.roles_of(fn regprocedure, users text[], out id text, out roles text[])
  returns setof record
  language plpgsql stable
  set search_path = pg_catalog, pg_temp
  as $$
declare
  p pg_proc;
begin
  select * into strict p from pg_proc where oid = fn;
  if p.prorettype <> 'text[]'::regtype or p.provolatile = 'v' then
    raise exception using errcode = 'RC012', message = format('function %s does not give roles', fn),
      hint = 'It takes a user''s key as text, returns text[], and is stable.';
  end if;
  return query execute format('select u.id, coalesce(%I.%I(u.id), ''{}'') from unnest($1) as u (id)',
    (select nspname from pg_namespace where oid = p.pronamespace), p.proname) using users;
end $$;

comment on function rowcast.roles_of is 'The roles of some users, by the function that auth.roles_sql names.';

revoke all on function rowcast.django_user_named, rowcast.django_sessions, rowcast.django_users, rowcast.roles_of from public;
