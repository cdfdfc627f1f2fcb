-- The same tables three times: unwatched, watched by row, watched by statement. Which one a statement means is its
-- session's search_path.
create schema plain;
create schema watched;
create schema bulk;

create table plain.item (
  id         bigint primary key,
  n          bigint not null default 0,
  customer   text not null,
  status     text not null,
  amount     numeric(12, 2) not null,
  note       text not null,
  updated_at timestamptz not null default now()
) with (fillfactor = 50);
insert into plain.item (id, customer, status, amount, note)
  select g, 'customer ' || g % 997, 'open', g % 1000 + 0.5, repeat('n', 60) from generate_series(1, 25600) g;
create table watched.item (like plain.item including all) with (fillfactor = 50);
insert into watched.item table plain.item;
create table bulk.item (like plain.item including all) with (fillfactor = 50);
insert into bulk.item table plain.item;

create table plain.load (like plain.item including all);
create table watched.load (like plain.item including all);
create table bulk.load (like plain.item including all);

create table watched.tick (id int primary key, n bigint not null, note text not null) with (fillfactor = 50);
insert into watched.tick select g, 0, repeat('n', 60) from generate_series(0, 63) g;

analyze plain.item, watched.item, bulk.item, watched.tick;

select rowcast.watch('watched.item', 'bench_write'), rowcast.watch('bulk.item', 'bench_write', bulk => true),
       rowcast.watch('watched.load', 'bench_write'), rowcast.watch('bulk.load', 'bench_write', bulk => true),
       rowcast.watch('watched.tick', 'bench_tick');
