-- How many events were committed on event channels.
select ((select sum(v) from chaos.item_0) + (select sum(v) from chaos.wide) + (select sum(v + deleted) from chaos.slot))::bigint as committed
