insert into game_order (customer_id, booster_id, manager_id, price, actual_price, booster_price, message)
values ($1, $2, $3, $4::text::numeric, coalesce($5::text::numeric, $4::text::numeric), $6::text::numeric, $7)
returning id
