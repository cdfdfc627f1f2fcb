-- The ground of the reference schema: what it refuses, where its tables go, whose they are.
--
--   tables      in the first schema of the search_path, remembered by home()
--   everything  else in schema rowcast_reference: views bind the tables by identity, functions name nothing but those views, so
--               that no search_path of a writer, and no later one of ours, decides what they read
--
-- An application that has its own tables wants none of this: it watches those. See docs/REFERENCE.md.

do $$
declare
  home  constant name := current_schema();
  ours  constant text[] := '{user_profile,game_order,lol_rank,lol_division_order,order_transaction,order_history,submission,'
    'leaderboard_entry,achievement,notification,portfolio,asset_price,investment,portfolio_value}';
  families constant text[] := string_to_array('order:{} portfolio:{} leaderboard dashboard notifications:{} mentor:{} student:{}', ' ');
  users oid;
  taken text;
begin
  if home is null then
    raise exception 'no schema of the search_path exists: there is no place for the reference tables'
      using hint = 'Create one, or set search_path for the role.';
  end if;
  if not has_schema_privilege(home, 'create') then
    raise exception 'role % may not create tables in schema %', current_user, home
      using hint = format('grant create on schema %I to %I;', home, current_user);
  end if;
  if to_regnamespace('rowcast_reference') is not null then
    raise exception 'there is a schema rowcast_reference already, which these migrations did not make'
      using hint = 'Drop or rename it.';
  end if;
  select string_agg(t, ', ' order by t) into taken from unnest(ours) t
   where exists (select from pg_class c where c.relnamespace = (select n.oid from pg_namespace n where n.nspname = home) and c.relname = t)
      or exists (select from pg_type y where y.typnamespace = (select n.oid from pg_namespace n where n.nspname = home) and y.typname = t);
  if taken is not null then
    raise exception 'schema % has % already: the reference tables would not be made beside them', home, taken
      using hint = 'An application with tables of its own watches those: docs/REFERENCE.md. Or give the reference another database or search_path.';
  end if;

  select string_agg(distinct x, ', ') into taken from (
    select c.pattern as x from rowcast.channel c where regexp_replace(c.pattern, '\{[^}]*\}', '{}', 'g') = any (families)
    union
    select r.template from rowcast.route r where r.until is null and regexp_replace(r.template, '\{[^}]*\}', '{}', 'g') = any (families)
  ) u;
  if taken is not null then
    raise exception 'these channels are in use already: %', taken
      using hint = 'The reference schema defines them anew. Take them back with rowcast.unwatch() and rowcast.undefine_channel(), or use another database.';
  end if;

  users := to_regclass(format('%I.auth_user', home));
  if users is not null then
    select string_agg(w.name, ', ' order by w.name) into taken
      from (values ('id', '{int4,int8}'::text[]), ('username', '{varchar,text}'), ('first_name', '{varchar,text}'), ('last_name', '{varchar,text}'),
                   ('is_active', '{bool}'), ('is_staff', '{bool}'), ('is_superuser', '{bool}')) w (name, types)
     where not exists (select from pg_attribute a join pg_type y on y.oid = a.atttypid
                        where a.attrelid = users and a.attname = w.name and not a.attisdropped and y.typname = any (w.types));
    if taken is not null then
      raise exception 'table auth_user is not as Django makes it: column % is missing or of another type', taken
        using hint = 'The reference schema needs Django''s auth_user, or none, and then makes it.';
    end if;
    if not (has_table_privilege(users, 'references') and has_table_privilege(users, 'trigger') and has_table_privilege(users, 'select')
            and has_table_privilege(users, 'update')) then
      raise exception 'role % may not refer to table auth_user, or not watch it', current_user
        using hint = format('grant select, update, references, trigger on %I.auth_user to %I;', home, current_user);
    end if;
  end if;
end $$;

create schema rowcast_reference;

comment on schema rowcast_reference is
  'rowcast: views, functions and triggers of the reference applications (orders, learning, portfolios). Their tables are where home() says.';

do $$
begin
  execute format('create function rowcast_reference.home() returns name language sql immutable as %L',
    format('select %L::pg_catalog.name', current_schema()));
end $$;

comment on function rowcast_reference.home() is 'The schema that the reference tables were made in.';

select set_config('search_path', format('%I, pg_temp', rowcast_reference.home()), true);

-- Django's own two, as Django 5.2 makes them, with defaults for who writes SQL. `manage.py migrate --fake-initial` takes them over.
do $$
begin
  if to_regclass('auth_user') is null then
    create table auth_user (
      id           int          primary key generated by default as identity,
      password     varchar(128) not null default '!',
      last_login   timestamptz,
      is_superuser bool         not null default false,
      username     varchar(150) not null unique,
      first_name   varchar(150) not null default '',
      last_name    varchar(150) not null default '',
      email        varchar(254) not null default '',
      is_staff     bool         not null default false,
      is_active    bool         not null default true,
      date_joined  timestamptz  not null default clock_timestamp()
    );
    create index auth_user_username_like on auth_user (username varchar_pattern_ops);
    comment on table auth_user is 'rowcast reference: Django''s users, made because there were none.';
    comment on column auth_user.id is 'Appears in channel names and messages.';
    comment on column auth_user.password is 'Django''s hash; one that begins with ! fits no password.';
    comment on column auth_user.last_login is 'Written by Django.';
    comment on column auth_user.is_superuser is 'May everything; counts as staff here.';
    comment on column auth_user.username is 'Shown where a user has no first and last name.';
    comment on column auth_user.first_name is 'May be empty.';
    comment on column auth_user.last_name is 'May be empty.';
    comment on column auth_user.email is 'Never in a message.';
    comment on column auth_user.is_staff is 'May listen to every order, mentor, student and the dashboard.';
    comment on column auth_user.is_active is 'A user that is not may nothing.';
    comment on column auth_user.date_joined is 'When the account was made.';
  end if;
  if to_regclass('django_session') is null then
    create table django_session (
      session_key  varchar(40) primary key,
      session_data text        not null,
      expire_date  timestamptz not null
    );
    create index django_session_key_like on django_session (session_key varchar_pattern_ops);
    create index django_session_expire_date on django_session (expire_date);
    comment on table django_session is 'rowcast reference: Django''s sessions, made because there were none.';
    comment on column django_session.session_key is 'The cookie''s value.';
    comment on column django_session.session_data is 'Signed by Django with its SECRET_KEY.';
    comment on column django_session.expire_date is 'From then on it is worth nothing.';
  end if;
end $$;

create table user_profile (
  user_id            bigint      primary key references auth_user (id) on delete cascade,
  role               varchar(20) not null default 'STUDENT' check (role in ('STUDENT', 'MENTOR', 'FLOOR_WING', 'ADMIN')),
  assigned_mentor_id bigint      references auth_user (id) on delete set null
);

create index user_profile_mentor on user_profile (assigned_mentor_id);

comment on table user_profile is 'rowcast reference: what the learning platform knows of a user.';
comment on column user_profile.user_id is 'The user.';
comment on column user_profile.role is 'Decides which endpoints the user may open: STUDENT, MENTOR, FLOOR_WING, ADMIN.';
comment on column user_profile.assigned_mentor_id is 'Whose channel mentor:{id} hears of the user''s submissions.';

create view rowcast_reference.person as
  select u.id::bigint as id, u.username::text as username,
         coalesce(nullif(btrim(u.first_name || ' ' || u.last_name), ''), u.username)::text as name,
         u.is_active as active, u.is_active and (u.is_staff or u.is_superuser) as staff,
         p.role::text as role, p.assigned_mentor_id as mentor_id
    from auth_user u left join user_profile p on p.user_id = u.id;

comment on view rowcast_reference.person is 'Users as messages and access rules see them.';
comment on column rowcast_reference.person.id is 'auth_user.id.';
comment on column rowcast_reference.person.username is 'auth_user.username.';
comment on column rowcast_reference.person.name is 'First and last name, otherwise the username.';
comment on column rowcast_reference.person.active is 'auth_user.is_active.';
comment on column rowcast_reference.person.staff is 'An active user who is staff or superuser.';
comment on column rowcast_reference.person.role is 'user_profile.role; null: no profile.';
comment on column rowcast_reference.person.mentor_id is 'The assigned mentor.';

-- Short, without tables and without settings: the planner puts their bodies in place of the calls.
create function rowcast_reference.key(id text) returns bigint
  language sql immutable parallel safe
  as $$ select case when $1 ~ '^-?[0-9]{1,18}$' then $1::pg_catalog.int8 end $$;

comment on function rowcast_reference.key is 'An id given as text; null where it is none: channel names and paths are what clients write.';

create function rowcast_reference.iso(at timestamptz) returns text
  language sql stable parallel safe
  as $$ select pg_catalog.replace(pg_catalog.to_char($1 at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z') $$;

comment on function rowcast_reference.iso is 'UTC with Z, microseconds where there are any, as Django writes times.';

create function rowcast_reference.is_staff(uid text) returns bool
  language sql stable set search_path = rowcast_reference, pg_temp
  as $$ select coalesce((select p.staff from person p where p.id = key(uid)), false) $$;

comment on function rowcast_reference.is_staff is 'Is it an active user who is staff or superuser?';

create function rowcast_reference.roles(uid text) returns text[]
  language sql stable set search_path = rowcast_reference, pg_temp
  as $$ select array(select p.role from person p where p.id = key(uid) and p.active and p.role is not null) $$;

comment on function rowcast_reference.roles is 'The roles of a user: user_profile.role, or none.';

create function rowcast_reference.claim(name text) returns text
  language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  claims constant text := nullif(current_setting('request.jwt.claims', true), '');
begin
  -- The block costs a subtransaction: only who sets claims pays it.
  if claims is not null then
    begin
      return claims::json ->> name;
    exception when data_exception then null;
    end;
  end if;
  return null;
end $$;

comment on function rowcast_reference.claim is 'A claim of the token in whose name the statement runs (setting request.jwt.claims, as PostgREST has it); null: none.';

create function rowcast_reference.keep_updated_at() returns trigger
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  new.updated_at := greatest(clock_timestamp(), old.updated_at + interval '1 microsecond');
  return new;
end $$;

comment on function rowcast_reference.keep_updated_at is 'Moves updated_at on where the writer does not say; never back, and never to the same.';

revoke all on all functions in schema rowcast_reference from public;
