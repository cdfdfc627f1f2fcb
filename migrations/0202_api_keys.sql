-- Keys of servers: what is stored cannot be used, what they may do is in the row, and two of a name may hold while one is
-- replaced by the other.

create table rowcast.api_key (
  id           int         primary key generated always as identity,
  name         text        not null,
  hash         bytea       not null unique,
  listen       text[]      not null default '{}',
  publish      text[]      not null default '{}',
  admin        bool        not null default false,
  created_at   timestamptz not null default now(),
  expires_at   timestamptz,
  last_used_at timestamptz
);

comment on table rowcast.api_key is 'Keys of servers: create_api_key(), rotate_api_key(), revoke_api_key().';
comment on column rowcast.api_key.id is 'Never used again.';
comment on column rowcast.api_key.name is 'What it is for; while it is rotated, two have the same.';
comment on column rowcast.api_key.hash is 'SHA-256 of the secret: 256 random bits need no salt and no slow hash.';
comment on column rowcast.api_key.listen is 'Patterns of the channels that it may listen to.';
comment on column rowcast.api_key.publish is 'Patterns of the channels that it may publish on.';
comment on column rowcast.api_key.admin is 'May disconnect users.';
comment on column rowcast.api_key.created_at is 'When it was made.';
comment on column rowcast.api_key.expires_at is 'From when on it is refused; null: never.';
comment on column rowcast.api_key.last_used_at is 'To the hour.';

create function rowcast.new_api_key(name text, listen text[], publish text[], admin bool, expires_at timestamptz) returns text
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  -- Three random UUIDs have 366 random bits.
  secret constant text := 'rck_' || encode(sha256(convert_to(
    gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')), 'hex');
begin
  insert into rowcast.api_key (name, hash, listen, publish, admin, expires_at)
    values (new_api_key.name, sha256(convert_to(secret, 'UTF8')), new_api_key.listen, new_api_key.publish, new_api_key.admin,
            new_api_key.expires_at);
  return secret;
end $$;

comment on function rowcast.new_api_key is 'Stores a key''s hash and returns its secret.';

create function rowcast.create_api_key(
  name text, listen text[] default '{}', publish text[] default '{}', admin bool default false, expires_at timestamptz default null
) returns text
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform rowcast.begin_change();
  if name is null or name = '' or octet_length(name) > 100 or name ~ '[\u0001-\u001f\u007f-\u009f]' then
    raise exception using errcode = 'RC013', message = 'a key''s name must be 1 to 100 bytes long, without control characters',
      hint = 'select rowcast.create_api_key(''importer'', publish => ''{"orders:{id}"}'')';
  end if;
  if exists (select from rowcast.api_key k where k.name = create_api_key.name) then
    raise exception using errcode = 'RC013', message = format('there is a key named %s', name),
      hint = format('select rowcast.rotate_api_key(%L) makes the next one of it.', name);
  end if;
  perform rowcast.parse_template(p, 'channel pattern') from unnest(listen || publish) p;
  return rowcast.new_api_key(name, listen, publish, admin, expires_at);
end $$;

comment on function rowcast.create_api_key is
  'Makes a key for a server and returns its secret, this once: select rowcast.create_api_key(''importer'', publish => ''{"orders:{id}"}''). '
  'listen, publish: patterns of channels. admin: may disconnect users.';

create function rowcast.rotate_api_key(name text, grace interval default '1 day') returns text
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  newest rowcast.api_key;
begin
  perform rowcast.begin_change();
  select * into newest from rowcast.api_key k where k.name = rotate_api_key.name order by k.id desc limit 1;
  if not found then
    raise exception using errcode = 'RC013', message = format('there is no key named %s', name), hint = 'select name from rowcast.api_key';
  end if;
  -- Two at a time: the one that this one replaces holds for the grace.
  delete from rowcast.api_key k where k.name = rotate_api_key.name and k.id <> newest.id;
  update rowcast.api_key k set expires_at = least(k.expires_at, clock_timestamp() + grace) where k.id = newest.id;
  return rowcast.new_api_key(newest.name, newest.listen, newest.publish, newest.admin, newest.expires_at);
end $$;

comment on function rowcast.rotate_api_key is
  'Makes the next key of a name and returns its secret, this once; the present one holds for the grace, an older one no longer.';

create function rowcast.revoke_api_key(name text) returns int
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  gone int;
begin
  perform rowcast.begin_change();
  delete from rowcast.api_key k where k.name = revoke_api_key.name;
  get diagnostics gone = row_count;
  return gone;
end $$;

comment on function rowcast.revoke_api_key is 'Ends all keys of a name; connections that they opened are closed at the next look.';

create function rowcast.use_api_key(secret_hash bytea)
  returns table (id int, name text, listen text[], publish text[], admin bool, expires_at timestamptz)
  language plpgsql
  security definer
  set search_path = pg_catalog, pg_temp
  as $$
begin
  -- Once an hour: a key in use must not cost a write for each request.
  update rowcast.api_key k set last_used_at = date_trunc('hour', clock_timestamp())
   where k.hash = secret_hash and k.last_used_at is distinct from date_trunc('hour', clock_timestamp());
  return query select k.id, k.name, k.listen, k.publish, k.admin, k.expires_at from rowcast.api_key k
    where k.hash = secret_hash and (k.expires_at is null or k.expires_at > clock_timestamp());
end $$;

comment on function rowcast.use_api_key is 'The key with this hash, if it holds; notes that it was used.';

revoke all on all functions in schema rowcast from public;
