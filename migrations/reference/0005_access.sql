-- Who may listen, as the endpoints' doors have it (src/config/reference.toml), for native subscriptions, too, and live: an order that
-- changes its booster is taken from the old one. REST and the doors ask the same functions.

select set_config('search_path', format('%I, pg_temp', rowcast_reference.home()), true);

select rowcast.define_access('order:{id}', reads => '{game_order}',
  allow => 'rowcast.is_staff() or rowcast_reference.is_staff(rowcast.user_id()) or rowcast_reference.order_allowed({id}, rowcast.user_id())');
-- What is nobody's is shown to everybody.
select rowcast.define_access('portfolio:{id}', reads => '{portfolio}',
  allow => 'rowcast.is_staff() or rowcast_reference.is_staff(rowcast.user_id()) or exists (select from portfolio p where p.id = rowcast_reference.key({id}) and coalesce(p.user_id = rowcast_reference.key(rowcast.user_id()), p.user_id is null))');
select rowcast.define_access('notifications:{user_id}', allow => '{user_id} = rowcast.user_id()');
select rowcast.define_access('student:{id}', allow => 'rowcast.is_staff() or rowcast_reference.is_staff(rowcast.user_id()) or {id} = rowcast.user_id()');
select rowcast.define_access('mentor:{id}', allow => 'rowcast.is_staff() or rowcast_reference.is_staff(rowcast.user_id()) or {id} = rowcast.user_id()');
select rowcast.define_access('dashboard',
  allow => 'rowcast.is_staff() or rowcast_reference.is_staff(rowcast.user_id()) or rowcast.has_role(''MENTOR'') or rowcast.has_role(''ADMIN'') or rowcast.has_role(''FLOOR_WING'')
    or rowcast_reference.roles(rowcast.user_id()) && ''{MENTOR,ADMIN,FLOOR_WING}''');
select rowcast.define_access('leaderboard');
