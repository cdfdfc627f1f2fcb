create table if not exists chaos.fluid (id int primary key, v bigint not null default 0, note text);
insert into chaos.fluid select i, 0 from generate_series(0, 9) i on conflict do nothing;
create or replace view chaos.fluid_state as select id, v, 100 / (1 + v * 0) as q from chaos.fluid;
select rowcast.define_channel('fluid:{id}', kind => 'state', view => 'chaos.fluid_state');
select rowcast.watch('chaos.fluid', 'fluid:{id}')
