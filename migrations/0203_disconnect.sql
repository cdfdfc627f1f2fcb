-- A user's connections end on every instance: through the log, as everything that all of them must hear.

create function rowcast.disconnect("user" text, reason text default 'disconnected') returns void
  language plpgsql
  security definer
  set search_path = pg_catalog, pg_temp
  as $$
begin
  if "user" is null or "user" = '' or octet_length("user") > 255 or octet_length(reason) > 100 then
    raise exception using errcode = 'RC013', message = 'a user''s key is 1 to 255 bytes long, a reason up to 100',
      hint = 'select rowcast.disconnect(''42'', ''password changed'')';
  end if;
  insert into rowcast.event (slot, source, op, channel, event, new)
    values (date_part('epoch', clock_timestamp())::bigint / 900 % 4, -1, 'c', 'disconnect', 'disconnect',
            json_build_object('user', "user", 'reason', coalesce(reason, 'disconnected')));
  if not pg_try_advisory_xact_lock_shared(1381257, 1) then
    perform pg_notify('rowcast', '');
  end if;
end $$;

comment on function rowcast.disconnect is
  'Closes all connections of a user when the transaction commits: select rowcast.disconnect(''42'', ''password changed'').';

revoke all on function rowcast.disconnect from public;
