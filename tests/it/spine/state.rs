//! State channels: the newest state of a key, however many rows and tables it is made of.

use super::*;

const ORDERS: &str = "
    create table orders (id int primary key, status text); create table line (id int primary key, order_id int, amount numeric);
    create function order_state(id int) returns json stable language sql as $$
      select json_build_object('id', o.id, 'status', o.status, 'total', (select sum(amount) from line where order_id = o.id))
        from orders o where o.id = order_state.id $$;
    insert into orders values (1, 'new'), (2, 'new');
    select rowcast.define_channel('order:{id}', kind => 'state', view => 'order_state');
    select rowcast.watch('orders', 'order:{id}'), rowcast.watch('line', 'order:{order_id}')";

async fn state(client: &mut Client) -> String {
    let frame = client.next_of("event").await;
    assert_eq!(frame["event"], "state", "{}", frame.raw);
    frame.raw_of("data")
}

#[tokio::test]
async fn three_changes_of_one_transaction_are_one_message() {
    let db = TestDb::new().await;
    db.exec(ORDERS).await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    assert_eq!(subscribe(&mut ws, "order:1").await.raw_of("data"), r#"{"id" : 1, "status" : "new", "total" : null}"#);
    db.exec("update orders set status = 'paid' where id = 1; insert into line values (1, 1, 2.50), (2, 1, 1.00)").await;
    assert_eq!(state(&mut ws).await, r#"{"id" : 1, "status" : "paid", "total" : 3.50}"#);
    // A line that moves: both orders. What leaves the view as it was is no message.
    let mut other = client(&server).await;
    subscribe(&mut other, "order:2").await;
    db.exec("update line set id = 3 where id = 2").await;
    db.exec("update line set order_id = 2 where id = 3").await;
    assert_eq!(state(&mut ws).await, r#"{"id" : 1, "status" : "paid", "total" : 2.50}"#);
    assert_eq!(state(&mut other).await, r#"{"id" : 2, "status" : "new", "total" : 1.00}"#);
    db.exec("delete from orders where id = 1").await;
    assert_eq!(state(&mut ws).await, "null");
    db.exec("truncate line").await;
    assert_eq!(state(&mut other).await, r#"{"id" : 2, "status" : "new", "total" : null}"#);
    server.stop().await;
}

#[tokio::test]
async fn keys_are_found_by_sql_and_only_those_with_a_listener_are_read() {
    let db = TestDb::new().await;
    db.exec(
        "create table price (symbol text primary key, v numeric); create table holding (portfolio int, symbol text);
         create table asked (portfolio int);
         insert into holding select p, s from generate_series(1, 50) p, unnest('{A,B}'::text[]) s where s = 'A' or p % 2 = 0;
         insert into price values ('A', 1), ('B', 1);
         create view portfolio as select portfolio, sum(v) as worth from holding join price using (symbol) group by 1;
         select rowcast.define_channel('portfolio:{portfolio}', kind => 'state', view => 'portfolio');
         select rowcast.watch('price', 'portfolio:{portfolio}', keys => 'select portfolio from holding where symbol = {symbol}')",
    )
    .await;
    let server = Server::start(&db).await;
    let (mut odd, mut even) = (client(&server).await, client(&server).await);
    assert_eq!(subscribe(&mut odd, "portfolio:1").await.raw_of("data"), r#"{"portfolio":1,"worth":1}"#);
    assert_eq!(subscribe(&mut even, "portfolio:2").await.raw_of("data"), r#"{"portfolio":2,"worth":2}"#);
    db.exec("update price set v = 5 where symbol = 'B'").await;
    assert_eq!(state(&mut even).await, r#"{"portfolio":2,"worth":6}"#);
    db.exec("update price set v = 7 where symbol = 'A'").await;
    assert_eq!(state(&mut even).await, r#"{"portfolio":2,"worth":12}"#);
    // B meant nothing to it: this is its first.
    assert_eq!(state(&mut odd).await, r#"{"portfolio":1,"worth":7}"#);
    server.stop().await;
}

#[tokio::test]
async fn a_whole_view_is_read_again_within_its_throttle_and_sent_when_it_changed() {
    let db = TestDb::new().await;
    db.exec(
        "create table score (player text primary key, points int);
         create view board as select player, points from score order by points desc limit 2;
         insert into score values ('ann', 3), ('bob', 2), ('cy', 1);
         select rowcast.define_channel('board', kind => 'state', view => 'board', throttle_ms => 200);
         select rowcast.watch('score', 'board')",
    )
    .await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    let snapshot = subscribe(&mut ws, "board").await;
    assert_eq!(snapshot["data"], json!([{"player": "ann", "points": 3}, {"player": "bob", "points": 2}]));
    db.exec("update score set points = 0 where player = 'cy'").await; // not on the board
    for points in 10..60 {
        db.exec(&format!("update score set points = {points} where player = 'bob'")).await;
    }
    let mut messages = 0;
    loop {
        messages += 1;
        let frame = ws.next_of("event").await;
        if frame["data"][0] == json!({"player": "bob", "points": 59}) {
            break;
        }
        assert_eq!(frame["data"][0]["player"], "bob", "only changes of the board are sent: {}", frame.raw);
    }
    assert!(messages < 25, "50 changes within a throttle of 200 ms made {messages} messages");
    server.stop().await;
}

#[tokio::test]
async fn where_the_row_is_the_message_no_view_is_read() {
    let db = TestDb::new().await;
    db.exec(
        "create table rate (pair text primary key, v numeric); insert into rate values ('A', 1.0), ('B', 2.0);
         select rowcast.define_channel('rates', kind => 'state', conflate => '{pair}'), rowcast.define_channel('rate:{pair}', kind => 'state');
         select rowcast.watch('rate', 'rates'), rowcast.watch('rate', 'rate:{pair}')",
    )
    .await;
    let server = Server::start(&db).await;
    let (mut all, mut one) = (client(&server).await, client(&server).await);
    assert_eq!(subscribe(&mut all, "rates").await["data"], json!([{"pair": "A", "v": 1.0}, {"pair": "B", "v": 2.0}]));
    assert_eq!(subscribe(&mut one, "rate:A").await.raw_of("data"), r#"{"pair":"A","v":1.0}"#);
    let reads = metric(&server, "rowcast_router_view_reads_total").await;
    db.exec("update rate set v = v + 0.5; delete from rate where pair = 'A'").await;
    for expected in [r#"{"pair":"A","v":1.5}"#, r#"{"pair":"B","v":2.5}"#, r#"{"pair":"A","v":1.5}"#] {
        assert_eq!(all.next_of("event").await.raw_of("data"), expected);
    }
    for expected in [r#"{"pair":"A","v":1.5}"#, "null"] {
        assert_eq!(one.next_of("event").await.raw_of("data"), expected);
    }
    assert_eq!(metric(&server, "rowcast_router_view_reads_total").await, reads);
    server.stop().await;
}

#[tokio::test]
async fn a_row_whose_key_another_has_taken_is_not_told_as_gone() {
    // What is done, all at once, to the rows 1 a, 2 b and 3 c; and what 1 to 4 have heard of last.
    let cases = [
        ("update T set id = id + 1", ["null", "a", "b", "c"]),
        ("update T set id = id + 1; update T set id = id + 1", ["null", "null", "a", "b"]),
        ("update T set id = 3 - id where id < 3", ["b", "a", "", ""]),
        ("insert into T values (2, 'new'); delete from T where v = 'b'", ["", "new", "", ""]),
        (
            "update T set id = 4 where id = 1; update T set v = 'x' where id = 4; delete from T where id = 4",
            ["null", "", "", "null"],
        ),
        ("insert into T values (4, 'd'); update T set id = 5 where id = 4", ["", "", "", "null"]),
    ];
    let cases = [false, true].into_iter().flat_map(|bulk| cases.map(|case| (bulk, case))).enumerate();
    let db = TestDb::new().await;
    for (n, (bulk, _)) in cases.clone() {
        db.exec(&format!(
            "create table t{n} (id int, v text, unique (id) deferrable initially deferred); insert into t{n} values (1, 'a'), (2, 'b'), (3, 'c');
             select rowcast.define_channel('t{n}:{{id}}', 'state'); select rowcast.watch('t{n}', 't{n}:{{id}}', bulk => {bulk})"
        ))
        .await;
    }
    let server = Server::start(&db).await;
    for (n, (bulk, (sql, expected))) in cases {
        let channel = |id: usize| format!("t{n}:{id}");
        let mut ws = client(&server).await;
        for id in 1..=4 {
            subscribe(&mut ws, &channel(id)).await;
        }
        db.exec(&format!("begin; {}; commit", sql.replace('T', &format!("t{n}")))).await;
        mark(&db, &channel(4), "end").await;
        let mut last = [const { String::new() }; 4];
        loop {
            let frame = ws.next_of("event").await;
            if frame["event"] == "mark" {
                break;
            }
            let id = (1..=4).find(|id| frame["channel"] == channel(*id).as_str()).expect("one of ours");
            last[id - 1] = frame["data"]["v"].as_str().unwrap_or("null").to_owned();
        }
        assert_eq!(last, expected, "{sql}, bulk {bulk}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_failing_key_is_told_and_its_neighbours_are_unharmed() {
    let db = TestDb::new().await;
    db.exec(
        "create table n (id int primary key, d int); insert into n values (1, 1), (2, 2);
         create function inverse(id int) returns json stable language sql as $$ select to_json(10 / d) from n where n.id = inverse.id $$;
         select rowcast.define_channel('inverse:{id}', kind => 'state', view => 'inverse'); select rowcast.watch('n', 'inverse:{id}')",
    )
    .await;
    for tell in [true, false] {
        db.exec("update n set d = id").await;
        let server = Server::with(&db.url(), |c| c.router.tell_view_errors = tell).await;
        let (mut one, mut two) = (client(&server).await, client(&server).await);
        subscribe(&mut one, "inverse:1").await;
        subscribe(&mut two, "inverse:2").await;
        db.exec("update n set d = case id when 1 then 0 else 5 end").await;
        assert_eq!(state(&mut two).await, "2");
        let error = one.next_of("error").await;
        assert_eq!((error["code"].as_str(), error["channel"].as_str()), (Some("view_failed"), Some("inverse:1")));
        // What Postgres said may quote data: it is for the log, unless the settings say otherwise.
        assert_eq!(error.str_of("message").contains("division by zero"), tell, "{}", error.raw);
        db.exec("update n set d = 2 where id = 1").await;
        assert_eq!(state(&mut one).await, "5");
        server.stop().await;
    }
}

/// A thousand subscribers at once share reads: how many is told by the metric.
#[tokio::test]
async fn many_subscribers_of_one_channel_cost_few_queries() {
    let db = TestDb::new().await;
    db.exec(ORDERS).await;
    let server = Server::start(&db).await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(client(&server).await);
    }
    let before = metric(&server, "rowcast_router_view_reads_total").await;
    for client in &mut clients {
        client.send(json!({"type": "subscribe", "channel": "order:1"})).await;
    }
    for client in &mut clients {
        client.next_of("subscribed").await;
        client.next_of("snapshot").await;
    }
    let reads = metric(&server, "rowcast_router_view_reads_total").await - before;
    assert!((1..100).contains(&reads), "{reads} queries for 200 subscribers");
    server.stop().await;
}

async fn metric(server: &Server, name: &str) -> i64 {
    let text = crate::kit::http_client().get(server.http("/metrics")).send().await.expect("served");
    let text = text.text().await.expect("text");
    let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
    line.trim().parse::<f64>().expect("a number") as i64
}

/// The slow view is one that waits for a lock of the test: it is slow for exactly as long as the test wants.
#[tokio::test]
async fn a_slow_view_delays_nobody_else_and_is_cut_off() {
    let db = TestDb::new().await;
    db.exec(
        "create table gate (); create table t (id int primary key, v int); insert into t values (1, 0);
         create function slow(id int) returns json stable language sql as $$ select to_json(v) from t, (select count(*) from gate) g where t.id = slow.id $$;
         create view quick as select id, v from t;
         select rowcast.define_channel('slow:{id}', kind => 'state', view => 'slow'),
                rowcast.define_channel('quick:{id}', kind => 'state', view => 'quick');
         select rowcast.watch('t', 'slow:{id}'), rowcast.watch('t', 'quick:{id}'), rowcast.watch('t', 'events')",
    )
    .await;
    let server = Server::with(&db.url(), |c| c.store.statement_timeout_ms = 1_000).await;
    let (mut slow, mut quick, mut events) = (client(&server).await, client(&server).await, client(&server).await);
    assert_eq!(subscribe(&mut slow, "slow:1").await["data"], 0);
    subscribe(&mut quick, "quick:1").await;
    subscribe(&mut events, "events").await;
    let mut holder = db.connect().await;
    sqlx::raw_sql("begin; lock table gate in access exclusive mode").execute(&mut holder).await.expect("locked");
    for v in 1..=3 {
        db.exec(&format!("update t set v = {v}")).await;
        assert_eq!(events.next_of("event").await["data"]["v"], v, "while the slow view waits");
        assert_eq!(quick.next_of("event").await["data"]["v"], v, "while the slow view waits");
    }
    assert_eq!(slow.next_of("error").await["code"], "view_timeout");
    sqlx::raw_sql("rollback").execute(&mut holder).await.expect("released");
    db.exec("update t set v = 4").await;
    while slow.next().await["data"] != 4 {}
    server.stop().await;
}

/// `student:5:grades` also has the shape of `student:{id}`, but it is another family's.
#[tokio::test]
async fn families_that_overlap_keep_apart() {
    let db = TestDb::new().await;
    db.exec(
        "create table student (id text primary key, name text); create table grade (student text, g int);
         insert into student values ('5', 'ann'); insert into grade values ('5', 1);
         create view grades as select student, count(*) as n from grade group by 1;
         select rowcast.define_channel('student:{id}', kind => 'state', view => 'student'),
                rowcast.define_channel('student:{student}:grades', kind => 'state', view => 'grades');
         select rowcast.watch('student', 'student:{id}'), rowcast.watch('grade', 'student:{student}:grades')",
    )
    .await;
    let server = Server::start(&db).await;
    let (mut student, mut grades) = (client(&server).await, client(&server).await);
    subscribe(&mut student, "student:5").await;
    assert_eq!(subscribe(&mut grades, "student:5:grades").await["data"]["n"], 1);
    // Everything subscribed of the wider family is read again: the narrower one is not its own.
    db.exec("truncate student").await;
    assert_eq!(state(&mut student).await, "null");
    // Nor does a row whose key was chosen so come out there.
    db.exec("insert into student values ('5:grades', 'eve')").await;
    db.exec("insert into grade values ('5', 2)").await;
    assert_eq!(state(&mut grades).await, r#"{"student":"5","n":2}"#);
    db.exec("create table told (who text, what text); select rowcast.watch('told', 'ann:{who}'), rowcast.watch('told', 'ann:{what}:own', operations => '{delete}')").await;
    let mut own = client(&server).await;
    subscribe(&mut own, "ann:1:own").await;
    db.exec("insert into told values ('1:own', 'not for her'); insert into told values (null, '1'); delete from told where who is null").await;
    let event = own.next_of("event").await;
    assert_eq!((event.str_of("event"), &event["data"]["what"]), ("delete", &json!("1")), "{}", event.raw);
    server.stop().await;
}

#[tokio::test]
async fn one_keys_throttle_does_not_hold_up_another() {
    let db = TestDb::new().await;
    db.exec(
        "create table t (id int primary key, v int); insert into t values (1, 0), (2, 0); create view tv as select * from t;
         select rowcast.define_channel('t:{id}', kind => 'state', view => 'tv', throttle_ms => 3600000); select rowcast.watch('t', 't:{id}')",
    )
    .await;
    let server = Server::start(&db).await;
    let (mut one, mut two) = (client(&server).await, client(&server).await);
    subscribe(&mut one, "t:1").await;
    subscribe(&mut two, "t:2").await;
    db.exec("update t set v = 1 where id = 1").await;
    assert_eq!(state(&mut one).await, r#"{"id":1,"v":1}"#);
    db.exec("update t set v = 2 where id = 1").await; // sits out an hour
    db.exec("update t set v = 1 where id = 2").await;
    assert_eq!(state(&mut two).await, r#"{"id":2,"v":1}"#);
    server.stop().await;
}

/// Another spelling would have a snapshot, and no change would ever reach it.
#[tokio::test]
async fn a_key_has_one_spelling() {
    let db = TestDb::new().await;
    db.exec(
        "create table item (id bigint primary key, ref uuid, day date, flag bool); create view items as select * from item;
         insert into item values (42, '6f1c9a52-3f0e-4a39-9d0b-0c9a54a0b7de', '2026-01-02', true);
         create function item_at(small smallint, kind text) returns json stable language sql as
           $$ select json_build_object('id', id, 'kind', kind) from item where id = small $$;
         select rowcast.define_channel('item:{id}', kind => 'state', view => 'items'),
                rowcast.define_channel('row:{id}', kind => 'state'),
                rowcast.define_channel('seen:{id}', view => 'items'),
                rowcast.define_channel('ref:{ref}', kind => 'state', view => 'items'),
                rowcast.define_channel('day:{day}/{flag}', kind => 'state', view => 'items'),
                rowcast.define_channel('at:{small}:{kind}', kind => 'state', view => 'item_at');
         select rowcast.watch('item', 'item:{id}'), rowcast.watch('item', 'row:{id}')",
    )
    .await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    for right in [
        "item:42",
        "row:42",
        "seen:42",
        "ref:6f1c9a52-3f0e-4a39-9d0b-0c9a54a0b7de",
        "day:2026-01-02/true",
        "at:42:any thing",
        "item:999999999999999999",
        "item:-7",
    ] {
        subscribe(&mut ws, right).await;
    }
    let no = |pattern: &str| format!("no channel has this name: its key cannot be one of {pattern}");
    let it_is = |name: &str| format!("no channel has this name: it is {name}");
    for (wrong, said) in [
        ("item:042", it_is("item:42")),
        ("item: 42", it_is("item:42")),
        ("row:042", it_is("row:42")),
        ("seen:+42", it_is("seen:42")),
        ("item:abc", no("item:{id}")),
        ("item:99999999999999999999", no("item:{id}")),
        ("row:abc", no("row:{id}")),
        ("ref:6F1C9A52-3F0E-4A39-9D0B-0C9A54A0B7DE", it_is("ref:6f1c9a52-3f0e-4a39-9d0b-0c9a54a0b7de")),
        ("day:2026-1-2/t", it_is("day:2026-01-02/true")),
        ("day:2026-02-31/t", no("day:{day}/{flag}")),
        ("at:40000:x", no("at:{small}:{kind}")),
    ] {
        ws.send(json!({"type": "subscribe", "channel": wrong})).await;
        let error = ws.next_of("error").await;
        assert_eq!((&error["code"], &error["channel"]), (&json!("bad_channel"), &json!(wrong)), "{}", error.raw);
        assert_eq!(error.str_of("message"), said);
    }
    // Not subscribed, and no failure of the view.
    ws.send(json!({"type": "unsubscribe", "channel": "item:042"})).await;
    assert_eq!(ws.next_of("error").await["code"], "not_subscribed");
    assert_eq!(metric(&server, "rowcast_router_view_errors_total").await, 0);
    let answer =
        crate::kit::http_client().get(server.http("/api/channels/item%3Aabc/snapshot")).send().await.expect("served");
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.json::<serde_json::Value>().await.expect("a problem")["code"], "bad_channel");
    server.stop().await;
}
