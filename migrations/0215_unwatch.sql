-- unwatch('orders') ended the recording of what rules of access read, too: nobody was asked again from then on, in silence.

create or replace function rowcast.unwatch("table" regclass, channel text default null) returns int
  language plpgsql
  set search_path = pg_catalog, pg_temp
  set client_min_messages = warning
  as $$
declare
  src   rowcast.source;
  rule  text;
  ended int;
  last  bool;
  at    bigint;
begin
  perform rowcast.begin_change();
  select * into src from rowcast.source s where s.rel = "table";
  if src.id is null then
    return 0;
  end if;
  select a.pattern into rule from rowcast.access a where "table" = any (a.reads) order by a.pattern limit 1;
  if rule is not null and channel = 'rowcast.access' then
    raise exception using errcode = 'RC013', message = format('the access rule of %s reads %s', rule, "table"),
      hint = format('Take the rule back: select rowcast.undefine_access(%L);', rule);
  end if;
  if not exists (select from rowcast.route r where r.source = src.id and r.until is null
                    and r.template = coalesce(unwatch.channel, r.template) and (rule is null or r.template <> 'rowcast.access')) then
    return 0;
  end if;
  last := rule is null
    and not exists (select from rowcast.route r where r.source = src.id and r.until is null and r.template <> unwatch.channel);
  perform rowcast.lock_table("table", last);
  at := rowcast.config_changed();
  update rowcast.route r set until = at
   where r.source = src.id and r.until is null and r.template = coalesce(unwatch.channel, r.template)
     and (rule is null or r.template <> 'rowcast.access');
  get diagnostics ended = row_count;
  if last then
    execute format('drop function if exists rowcast.capture_%s() cascade', src.id);
    delete from rowcast.source s where s.id = src.id;
  else
    perform rowcast.generate(src.id);
  end if;
  return ended;
end $$;

comment on function rowcast.unwatch is
  'Takes watch() back: the routes of a table to one channel template, or all of them. What a rule of access reads is still recorded for '
  'that rule. With the last one every trace leaves the table. Returns how many routes ended.';

create or replace function rowcast.undefine_access(pattern text, action text default null) returns int
  language plpgsql
  set search_path = pg_catalog, pg_temp
  as $$
declare
  rels regclass[];
  rel  regclass;
  gone int;
begin
  perform rowcast.begin_change();
  select array_agg(distinct t) into rels
    from rowcast.access a, unnest(a.reads) t
   where a.pattern = undefine_access.pattern and a.action = coalesce(undefine_access.action, a.action);
  delete from rowcast.access a
   where a.pattern = undefine_access.pattern and a.action = coalesce(undefine_access.action, a.action);
  get diagnostics gone = row_count;
  foreach rel in array coalesce(rels, '{}') loop
    if not exists (select from rowcast.access a where rel = any (a.reads)) then
      perform rowcast.unwatch(rel, 'rowcast.access');
    end if;
  end loop;
  if gone > 0 then
    perform rowcast.config_changed();
  end if;
  return gone;
end $$;
