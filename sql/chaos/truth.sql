-- What a follower of each channel must know in the end.
select 'item_0' as channel, id, v from chaos.item_0
union all select 'item_1', id, v from chaos.item_1
union all select 'item_2', id, v from chaos.item_2
union all select 'wide', id, v from chaos.wide
union all select 'sum:' || g, 0, v::bigint from chaos.sum
