-- A message has a bound where it is sent: past the router's, nobody would get it, and the log would hold it all the same.

create sequence rowcast.send_bytes_max minvalue 1;

do $$ begin perform setval('rowcast.send_bytes_max', 4194304); end $$;

comment on sequence rowcast.send_bytes_max is
  'Bytes that the payload of send() may have: select setval(''rowcast.send_bytes_max'', 1048576). The server''s bound is router.message_bytes_max.';

create or replace function rowcast.send(channel text, event text, payload json default 'null') returns void
  language plpgsql
  security definer
  set search_path = pg_catalog, pg_temp
  as $$
declare
  now_s    bigint := date_part('epoch', clock_timestamp());
  event_id bigint;
  problem  constant text := case
    when channel is null or channel = '' then 'a channel name must not be empty'
    when octet_length(channel) > 255 then format('a channel name may be 255 bytes long, this one has %s', octet_length(channel))
    when channel ~ '[\u0001-\u001f\u007f-\u009f]' then 'a channel name must not contain control characters'
    when event is null or event = '' then 'an event name must not be empty'
    when octet_length(event) > 100 then format('an event name may be 100 bytes long, this one has %s', octet_length(event))
    when event ~ '[\u0001-\u001f\u007f-\u009f]' then 'an event name must not contain control characters'
  end;
  bytes    constant bigint := octet_length(payload::text);
  most     constant bigint := pg_sequence_last_value('rowcast.send_bytes_max');
begin
  if problem is not null then
    raise exception using errcode = 'RC010', message = problem,
      hint = 'select rowcast.send(''orders:1'', ''shipped'', ''{"by": "ship"}'')';
  end if;
  if bytes > most then
    raise exception using errcode = 'RC010', message = format('a message may have %s bytes, this one has %s', most, bytes),
      hint = 'Send a key, and let who gets it read the rest. The bound is the value of sequence rowcast.send_bytes_max.';
  end if;
  -- As capture does: past the lease nothing is recorded, and tend() can see who did so.
  if pg_sequence_last_value('rowcast.lease') <= now_s then
    perform pg_advisory_xact_lock_shared(1381257, 3);
    if pg_sequence_last_value('rowcast.lease') <= date_part('epoch', clock_timestamp()) then
      return;
    end if;
  end if;
  event_id := nextval('rowcast.event_id');
  insert into rowcast.event (id, slot, source, op, new, channel, event)
    values (event_id, now_s / 900 % 4, 0, 's', coalesce(payload, 'null'), send.channel, send.event);
  if event_id & 8191 = 0 then
    perform rowcast.bound_log();
  end if;
  if not pg_try_advisory_xact_lock_shared(1381257, 1) then
    perform pg_notify('rowcast', '');
  end if;
end $$;
