-- A little of what goes on in three applications: ordinary statements of any program, rowcast does not know them.
select set_config('search_path', format('%I, pg_temp', rowcast_reference.home()), true);

-- Prices take a small step, and are drawn back to where they were.
update asset_price a
   set price = round((a.price * (1 + 0.006 * (random() - 0.5))::numeric + (a.previous_close - a.price) * 0.01), 2)
  from (select symbol from asset_price order by random() limit 3) m
 where a.symbol = m.symbol;
select rowcast_reference.record_portfolio_values('6 hours');

-- Order 2 goes on about every five seconds: a transaction of its own would not be worth it, order and division are one message.
with step as (
  update game_order o
     set progress = case when o.status = 'Done' then 0 else least(o.progress + 5, 100) end,
         status = case when o.status <> 'Done' and o.progress >= 95 then 'Done' else 'Continue' end,
         is_done = o.status <> 'Done' and o.progress >= 95,
         message = case when o.status = 'Done' then 'And once more' when o.progress >= 95 then 'Enjoy your new rank' end
   where o.id = 2 and random() < 0.4
  returning o.id, o.progress)
update lol_division_order l
   set reached_rank_id = 4 + s.progress / 50, reached_division = 4 - s.progress % 50 / 15, reached_marks = s.progress % 15 / 5
  from step s where l.order_id = s.id;
select rowcast_reference.trim_order_history('1 hour');

-- Somebody hands in, somebody is graded.
insert into submission (student_id, assignment_title)
  select 1 + (random() < 0.5)::int, (array['Locks and latches', 'Write-ahead logging', 'Vacuum', 'Join orders', 'Isolation'])[1 + floor(random() * 5)::int]
   where random() < 0.12;
update submission s
   set grade = round((60 + random() * 40)::numeric, 1), graded_by_id = 3,
       feedback = (array['Well argued.', 'Say why.', 'Measure it.', 'Good sources.'])[1 + floor(random() * 4)::int]
  from (select id from submission where grade is null order by id limit 1) u
 where s.id = u.id and random() < 0.1;
delete from submission where id <= (select id from submission order by id desc offset 40 limit 1);

insert into notification (recipient_id, sender_id, type, title, message)
  select 1 + (random() < 0.3)::int, 3, 'reminder', 'Office hour', 'Mia is there from ' || to_char(now() + interval '1 hour', 'HH24:00') || '.'
   where random() < 0.07;
delete from notification n
 where n.id <= (select m.id from notification m where m.recipient_id = n.recipient_id order by m.id desc offset 20 limit 1);

-- Points come with achievements, and go with the oldest of them.
insert into achievement (user_id, title, description, points)
  select 1 + (random() < 0.5)::int, (array['Streak', 'Early bird', 'Night owl', 'Reviewer'])[1 + floor(random() * 4)::int], 'Seen in the demo', 5 * (1 + floor(random() * 4)::int)
   where random() < 0.06;
delete from achievement a
 where a.id <= (select m.id from achievement m where m.user_id = a.user_id order by m.id desc offset 12 limit 1);
