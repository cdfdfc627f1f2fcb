-- A symbol that is renamed moves whoever holds the old one, and whoever holds the new one.

select set_config('search_path', format('%I, pg_temp', rowcast_reference.home()), true);

select rowcast.watch('asset_price', 'portfolio:{id}', columns => '{symbol}', bulk => true,
  "when" => '(new.symbol, new.price, new.previous_close, new.name) is distinct from (old.symbol, old.price, old.previous_close, old.name)',
  keys => 'select portfolio_id as id from investment where symbol = {symbol}');
