-- So that `rates` finds rowcast_fx.rates in this database's new sessions; unless another table is called so. Behind public, where
-- what somebody creates shall go.
do $$ begin
  execute format('alter database %I set search_path = "$user", public, rowcast_fx', current_database());
end $$
