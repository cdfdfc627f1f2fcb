from django.db import migrations

SHOW = """
-- What a client of order:<id> gets: one JSON value per order, read after the commit.
create or replace function order_update(order_id bigint) returns json
  language sql stable security definer set search_path = public, pg_temp as $$
    select json_build_object(
      'type', 'order.update',
      'order_id', o.id,
      'status', o.status,
      'actual_price', to_char(o.actual_price::numeric, 'FM999999990.00'),
      'booster_username', u.username,
      'reached_rank', r.rank_name,
      'reached_division', l.reached_division,
      'matches', p.number_of_match,
      'paid', (select to_char(sum(t.amount)::numeric, 'FM999999990.00') from accounts_transaction t where t.order_id = o.id),
      'message', o.message)
    from accounts_baseorder o
    left join accounts_baseuser u on u.id = o.booster_id
    left join "leagueOfLegends_leagueoflegendsdivisionorder" l on l.order_id = o.id
    left join "leagueOfLegends_leagueoflegendsrank" r on r.id = l.reached_rank_id
    left join "leagueOfLegends_leagueoflegendsplacementorder" p on p.baseorder_ptr_id = o.id
    where o.id = order_update.order_id
  $$;
revoke all on function order_update from public;
"""

ATTACH = """
do $$
begin
  -- `manage.py test` makes databases of its own, without rowcast. Anywhere else its absence is an error.
  if to_regproc('rowcast.watch') is null and current_database() like 'test\\_%' then
    return;
  elsif to_regnamespace('rowcast') is null then
    raise exception 'there is no schema rowcast here: run rowcast migrate first';
  end if;

  -- rowcast reads as its own role: it may call the function, and look up whose orders a user's are.
  execute format('grant execute on function order_update to %1$I; grant select (id, booster_id) on accounts_baseorder to %1$I',
                 (select nspowner::regrole::text from pg_namespace where nspname = 'rowcast'));

  -- The newest state of an order, whichever of its tables changed: one message per order and transaction.
  perform rowcast.define_channel('order:{id}', kind => 'state', view => 'order_update');
  perform rowcast.watch('accounts_baseorder', 'order:{id}');
  perform rowcast.watch('"leagueOfLegends_leagueoflegendsdivisionorder"', 'order:{order_id}');
  perform rowcast.watch('"leagueOfLegends_leagueoflegendsplacementorder"', 'order:{baseorder_ptr_id}');
  perform rowcast.watch('accounts_transaction', 'order:{order_id}');
  -- A name in the message: only a rename counts, and no other column of the user is ever recorded.
  perform rowcast.watch('accounts_baseuser', 'order:{id}', columns => '{id,username}', operations => '{update}',
    "when" => 'new.username is distinct from old.username',
    keys => 'select id from accounts_baseorder where booster_id = {id}');

  -- Every change as it happened: what a dashboard or an audit wants.
  perform rowcast.watch('accounts_baseorder', 'orders', columns => '{id,name,status,price}');
  perform rowcast.watch('accounts_baseorder_tags', 'order-tags:{baseorder_id}');
  perform rowcast.watch('accounts_receipt', 'receipt:{id}');

  -- Who may listen; nobody else. An order that changes its booster is taken from the old one before the change is shown.
  perform rowcast.define_access('order:{id}', reads => '{accounts_baseorder}', allow =>
    'rowcast.is_staff() or exists (select from accounts_baseorder where id = {id}::bigint and booster_id::text = rowcast.user_id())');
  perform rowcast.define_access(channel, allow => 'rowcast.is_staff()')
    from unnest(array['orders', 'order-tags:{baseorder_id}', 'receipt:{id}']) channel;
end $$;
"""

DETACH = """
do $$
begin
  if to_regproc('rowcast.watch') is null then
    return;
  end if;
  perform rowcast.unwatch('accounts_baseorder');
  perform rowcast.unwatch('"leagueOfLegends_leagueoflegendsdivisionorder"');
  perform rowcast.unwatch('"leagueOfLegends_leagueoflegendsplacementorder"');
  perform rowcast.unwatch('accounts_transaction');
  perform rowcast.unwatch('accounts_baseuser');
  perform rowcast.unwatch('accounts_baseorder_tags');
  perform rowcast.unwatch('accounts_receipt');
  perform rowcast.undefine_channel('order:{id}');
  perform rowcast.undefine_access(channel)
    from unnest(array['order:{id}', 'orders', 'order-tags:{baseorder_id}', 'receipt:{id}']) channel;
end $$;
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial"), ("leagueOfLegends", "0001_initial")]
    operations = [
        migrations.RunSQL(SHOW, reverse_sql="drop function order_update"),
        migrations.RunSQL(ATTACH, reverse_sql=DETACH),
    ]
