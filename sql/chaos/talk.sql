insert into chaos.talk select room, n from generate_series(0, $1::int - 1) room, generate_series($2::int, $3::int) n order by n, room
