alter table chaos.item_2 add column extra text default 'x'
