select rowcast_fx.open_channels()::text
