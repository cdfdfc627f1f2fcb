-- The demo's accounts, and a little of everything in the reference tables. Repeatable; rows that are there stay as they are.

-- Two instances that start together would race for the same rows.
select pg_advisory_xact_lock(1381257, 4);
select set_config('search_path', format('%I, pg_temp', rowcast_reference.home()), true);

do $$
begin
  if exists (select from auth_user)
     and not exists (select from auth_user where id = 1 and username = 'alice' and email = 'alice@demo.invalid') then
    raise exception 'this database has users that are not the demo''s'
      using hint = 'Run the demo on another database, or without DATABASE_URL on an embedded one.';
  end if;
end $$;

-- No password fits: they are signed in by `rowcast token`.
insert into auth_user (id, password, username, first_name, last_name, email, is_staff)
  select id, '!rowcast-demo-' || username, username, first_name, last_name, username || '@demo.invalid', username = 'ada'
    from (values (1, 'alice', 'Alice', 'Ahlgren'), (2, 'bob', 'Bob', 'Brandt'), (3, 'mia', 'Mia', 'Moreau'),
                 (4, 'max', 'Max', 'Mahler'), (5, 'carl', 'Carl', 'Castellan'), (6, 'ada', 'Ada', 'Adeyemi')) u (id, username, first_name, last_name)
  on conflict do nothing;

insert into user_profile (user_id, role, assigned_mentor_id)
  values (1, 'STUDENT', 3), (2, 'STUDENT', 3), (3, 'MENTOR', null), (6, 'ADMIN', null)
  on conflict do nothing;

-- An order in each status; number 2 is the one that moves.
insert into game_order (id, customer_id, booster_id, manager_id, status, price, actual_price, booster_price, progress, is_done, message)
  values (1, 5, null, 6, 'New',      120.00, 100.00, null,  null, false, null),
         (2, 5, 4,    6, 'Continue', 110.00, 100.00, 85.50, 20,   false, null),
         (3, 5, 4,    6, 'Extend',   60.00,  55.25,  40.00, 90,   false, 'One day more'),
         (4, 5, 4,    6, 'Droped',   80.00,  80.00,  0.00,  35,   false, 'Looking for another booster'),
         (5, 5, 4,    6, 'Done',     45.00,  45.00,  36.00, 100,  true,  'Enjoy your new rank')
  on conflict do nothing;
insert into lol_division_order (order_id, current_rank_id, current_division, current_marks, reached_rank_id, reached_division, reached_marks, desired_rank_id, desired_division)
  values (1, 3, 4, 0, null, null, null, 4, 4), (2, 4, 4, 0, 4, 4, 0, 6, 4), (3, 2, 2, 1, 3, 2, 2, 3, 1), (4, 5, 1, 0, 5, 1, 1, 6, 3),
         (5, 1, 4, 0, 2, 4, 0, 2, 4)
  on conflict do nothing;
insert into order_transaction (id, user_id, order_id, amount, type, status)
  values (1, 5, 2, 100.00, 'DEPOSIT', 'Done'), (2, 5, 3, 55.25, 'DEPOSIT', 'Done'), (3, 4, 5, 36.00, 'WITHDRAWAL', 'New')
  on conflict do nothing;

insert into leaderboard_entry (user_id, points) values (1, 120), (2, 115) on conflict do nothing;
insert into submission (id, student_id, assignment_title, grade, feedback, graded_by_id, submitted_at)
  values (1, 1, 'Essay on triggers', 92.5, 'Well argued.', 3, now() - interval '2 days'),
         (2, 2, 'Essay on triggers', 78, 'Say why.', 3, now() - interval '2 days'),
         (3, 1, 'Snapshots and cursors', null, null, null, now() - interval '3 hours'),
         (4, 2, 'Snapshots and cursors', null, null, null, now() - interval '1 hour')
  on conflict do nothing;
insert into achievement (id, user_id, title, description, points, badge_url)
  values (1, 1, 'First steps', 'Handed in the first assignment', 10, '/badges/first.svg')
  on conflict do nothing;
insert into notification (id, recipient_id, sender_id, type, title, message)
  values (1, 1, 3, 'grade', 'Essay on triggers', 'Your essay was graded: 92.5'),
         (2, 1, null, 'general', 'Welcome', 'Everything on this page is live.'),
         (3, 2, 3, 'grade', 'Essay on triggers', 'Your essay was graded: 78')
  on conflict do nothing;

insert into asset_price (symbol, name, price, previous_close)
  values ('AAPL', 'Apple Inc.', 175.50, 173.00), ('MSFT', 'Microsoft Corporation', 412.30, 410.10), ('GOOGL', 'Alphabet Inc.', 168.20, 169.00),
         ('AMZN', 'Amazon.com, Inc.', 185.90, 184.00), ('NVDA', 'NVIDIA Corporation', 128.75, 126.40), ('TSLA', 'Tesla, Inc.', 242.10, 245.30),
         ('BTC', 'Bitcoin', 64250.00, 63800.00), ('ETH', 'Ether', 3420.00, 3391.50)
  on conflict do nothing;
insert into portfolio (id, user_id, name) values (1, null, 'Sample Portfolio'), (2, 1, 'Alice''s savings') on conflict do nothing;
insert into investment (id, portfolio_id, symbol, quantity, purchase_price)
  values (1, 1, 'AAPL', 100, 150.00), (2, 1, 'MSFT', 20, 380.00), (3, 1, 'NVDA', 60, 95.00), (4, 1, 'TSLA', 30, 210.00),
         (5, 2, 'BTC', 0.125, 41000.00), (6, 2, 'ETH', 2.5, 2900.00), (7, 2, 'GOOGL', 15, 140.00)
  on conflict do nothing;
-- An hour to look back on.
insert into portfolio_value (portfolio_id, at, value)
  select h.portfolio_id, now() - m * interval '1 minute', round(sum(h.quantity * h.price) * (1 - 0.002 * sin(m / 7.0) - 0.0001 * m)::numeric, 2)
    from rowcast_reference.holding h cross join generate_series(1, 60) m
   where not exists (select from portfolio_value v where v.portfolio_id = h.portfolio_id)
   group by h.portfolio_id, m;

-- The rows above brought their numbers.
select setval(pg_get_serial_sequence(t, 'id'), m)
  from (select 'auth_user' as t, max(id)::bigint as m from auth_user union all select 'game_order', max(id) from game_order
        union all select 'order_transaction', max(id) from order_transaction union all select 'submission', max(id) from submission
        union all select 'achievement', max(id) from achievement union all select 'notification', max(id) from notification
        union all select 'portfolio', max(id) from portfolio union all select 'investment', max(id) from investment) x
 where m is not null;

-- The demo shows itself to whoever looks; its endpoints keep their doors.
select rowcast.undefine_access(pattern, 'listen')
  from (values ('order:{id}'), ('portfolio:{id}'), ('notifications:{user_id}'), ('student:{id}'), ('mentor:{id}'), ('dashboard'), ('leaderboard')) r (pattern);
