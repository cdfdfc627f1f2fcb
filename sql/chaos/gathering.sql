-- What many clients follow: events, a state, rooms, and what only those get who never read.
create table chaos.news (id bigint primary key, body text not null);
create table chaos.live (id int primary key, n bigint not null default 0, body text not null default '');
create table chaos.flood (id int primary key, n bigint not null default 0, body text not null default '');
create table chaos.talk (room int not null, n int not null, primary key (room, n));
insert into chaos.live values (1);
insert into chaos.flood values (1);
select rowcast.define_channel('live:{id}', kind => 'state', conflate => '{id}');
select rowcast.define_channel('surge:{id}', kind => 'state', conflate => '{id}');
select rowcast.watch('chaos.news', 'news');
select rowcast.watch('chaos.live', 'live:{id}');
select rowcast.watch('chaos.flood', 'flood');
select rowcast.watch('chaos.flood', 'surge:{id}');
select rowcast.watch('chaos.talk', 'room:{room}');
