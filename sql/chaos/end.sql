select rowcast.send(c, 'end', '{}') from unnest(array['item_0', 'item_1', 'item_2', 'wide']) c
