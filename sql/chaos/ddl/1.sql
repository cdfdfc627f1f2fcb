alter table chaos.item_2 drop column if exists extra
