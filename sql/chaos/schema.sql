-- What the chaos run writes to. A row's version v counts its committed changes, under a lock that orders them: who
-- follows a channel knows from v alone whether something is missing, doubled or out of order.
create schema chaos;

-- Updated only; feeds the state channels sum:{g}.
create table chaos.item_0 (id int primary key, v bigint not null default 0, g int not null generated always as (id % 8) stored);
insert into chaos.item_0 select i, 0 from generate_series(0, 199) i;

-- Inserted, updated, deleted and inserted again. The slot of an id is the lock that orders its changes, and remembers its
-- version while there is no row.
create table chaos.item_1 (id int primary key, v bigint not null);
create table chaos.item_2 (id int primary key, v bigint not null);
create table chaos.slot (t int, id int, v bigint not null default 0, deleted bigint not null default 0, primary key (t, id));
insert into chaos.slot select t, i, 0 from generate_series(1, 2) t, generate_series(0, 99) i;

-- Thousands of rows in one statement; captured by statement.
create table chaos.wide (id int primary key, v bigint not null default 0);
insert into chaos.wide select i, 0 from generate_series(0, 9999) i;

-- Its columns, routes and view come and go.
create table chaos.fluid (id int primary key, v bigint not null default 0, note text);
insert into chaos.fluid select i, 0 from generate_series(0, 9) i;

create function chaos.touch(t int, ids int[], removes bool) returns void language plpgsql as $$
declare
  x int;
  there bool;
begin
  foreach x in array ids loop
    if t = 0 then
      update chaos.item_0 set v = v + 1 where id = x;
      continue;
    end if;
    perform from chaos.slot s where s.t = touch.t and s.id = x for update;
    execute format('select exists (select from chaos.item_%s where id = $1)', t) into there using x;
    if there and removes then
      execute format('delete from chaos.item_%s where id = $1', t) using x;
      update chaos.slot s set deleted = deleted + 1 where s.t = touch.t and s.id = x;
      continue;
    end if;
    update chaos.slot s set v = v + 1 where s.t = touch.t and s.id = x;
    if there then
      execute format('update chaos.item_%1$s i set v = s.v from chaos.slot s where i.id = $1 and s.t = %1$s and s.id = $1', t) using x;
    else
      execute format('insert into chaos.item_%1$s select s.id, s.v from chaos.slot s where s.t = %1$s and s.id = $1', t) using x;
    end if;
  end loop;
end $$;

create function chaos.sweep(low int, high int) returns void language plpgsql as $$
begin
  perform from chaos.wide where id between low and high order by id for update;
  update chaos.wide set v = v + 1 where id between low and high;
end $$;

create view chaos.sum as select g, sum(v) as v from chaos.item_0 group by g;
create view chaos.fluid_state as select id, v, 100 / (1 + v * 0) as q from chaos.fluid;

select rowcast.define_channel('item_0', view => 'chaos.item_0');
select rowcast.define_channel('item_1', view => 'chaos.item_1');
select rowcast.define_channel('item_2', view => 'chaos.item_2');
select rowcast.define_channel('wide', view => 'chaos.wide');
select rowcast.define_channel('sum:{g}', kind => 'state', view => 'chaos.sum');
select rowcast.define_channel('fluid:{id}', kind => 'state', view => 'chaos.fluid_state');
select rowcast.watch('chaos.item_0', 'item_0');
select rowcast.watch('chaos.item_0', 'sum:{g}');
select rowcast.watch('chaos.item_1', 'item_1');
select rowcast.watch('chaos.item_2', 'item_2');
select rowcast.watch('chaos.wide', 'wide', bulk => true);
select rowcast.watch('chaos.fluid', 'fluid:{id}');
