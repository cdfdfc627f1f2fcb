-- What the listener is told by a writer, and nothing else: a row of the log, then the doorbell.
create function log_note() returns trigger language plpgsql as $$
begin
  insert into rowcast.event (slot, source, op, new)
  values ((date_part('epoch', clock_timestamp())::bigint / 900) % 4, 1, 'i', to_json(new.body));
  if not tg_argv[0]::bool and not pg_try_advisory_xact_lock_shared(1381257, 1) then
    perform pg_notify('rowcast', '');
  end if;
  return null;
end $$;
create table note (body text);
create trigger log after insert on note for each row execute function log_note('false');
create table quiet_note (body text);
create trigger log after insert on quiet_note for each row execute function log_note('true');
