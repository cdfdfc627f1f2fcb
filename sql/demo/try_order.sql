update game_order set status = 'Extend', progress = 42, message = 'One more night' where id = 2;
