//! Statement-level capture, whose rows of the log hold many changes: every change is an event of its own all the same.

use super::*;

const BULK: &str =
    "create table item (id int primary key, v int default 0); select rowcast.watch('item', 'items', bulk => true);
                    create table other (id int primary key, v int default 0); select rowcast.watch('other', 'items')";

/// Events up to the mark, with their cursors.
async fn with_cursors(client: &mut Client) -> (Vec<String>, Vec<String>) {
    let (mut events, mut cursors) = (Vec::new(), Vec::new());
    loop {
        let frame = client.next_of("event").await;
        if frame["event"] == "mark" {
            return (events, cursors);
        }
        events.push(format!("{} {}", frame.str_of("event"), frame.raw_of("data")));
        cursors.push(frame.str_of("cursor").to_owned());
    }
}

/// What comes after a cursor, up to the mark.
async fn resumed(server: &Server, channel: &str, cursor: &str) -> Vec<String> {
    let mut ws = client(server).await;
    ws.send(json!({"type": "subscribe", "channel": channel, "cursor": cursor})).await;
    let subscribed = ws.next_of("subscribed").await;
    assert_eq!(subscribed["resumed"], true, "{}", subscribed.raw);
    until_mark(&mut ws).await
}

#[tokio::test]
async fn a_cursor_within_a_batch_resumes_exactly_there() {
    let db = TestDb::new().await;
    db.exec(BULK).await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    subscribe(&mut ws, "items").await;
    db.exec(
        "insert into item select g from generate_series(1, 9) g; insert into other values (1); update item set v = id",
    )
    .await;
    db.exec("update item set v = 0 where id = 3; delete from item where id > 4; truncate item").await;
    mark(&db, "items", "end").await;
    let (events, cursors) = with_cursors(&mut ws).await;
    let mut expected: Vec<String> = (1..=9).map(|id| format!(r#"insert {{"id":{id},"v":0}}"#)).collect();
    expected.push(r#"insert {"id":1,"v":0}"#.into());
    expected.extend((1..=9).map(|id| format!(r#"update {{"id":{id},"v":{id}}}"#)));
    expected.push(r#"update {"id":3,"v":0}"#.into());
    expected.extend((5..=9).map(|id| format!(r#"delete {{"id":{id},"v":{id}}}"#)));
    expected.push("truncate null".into());
    assert_eq!(events, expected);
    let distinct: std::collections::HashSet<_> = cursors.iter().collect();
    assert_eq!(distinct.len(), cursors.len(), "each event has a cursor of its own");
    for from in ["memory", "log"] {
        let other = Server::start(&db).await;
        let server = if from == "log" { &other } else { &server };
        for (n, cursor) in cursors.iter().enumerate() {
            assert_eq!(resumed(server, "items", cursor).await, events[n + 1..], "from the {from}, behind event {n}");
        }
        other.stop().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn pieces_and_pages_smaller_than_a_batch_lose_nothing() {
    let db = TestDb::new().await;
    db.exec(BULK).await;
    let server = Server::with(&db.url(), |config| {
        config.listener.drain_rows_max = 7;
        config.listener.drain_bytes_max = 1024;
    })
    .await;
    let mut ws = client(&server).await;
    let cursor = subscribe(&mut ws, "items").await.str_of("cursor").to_owned();
    db.exec(
        "insert into item select g from generate_series(1, 1500) g; insert into other values (1), (2);
         update item set v = -id",
    )
    .await;
    mark(&db, "items", "end").await;
    let live = until_mark(&mut ws).await;
    assert_eq!(live.len(), 3002);
    for id in 1..=1500 {
        assert_eq!(live[id - 1], format!(r#"insert {{"id":{id},"v":0}}"#));
        assert_eq!(live[id + 1501], format!(r#"update {{"id":{id},"v":-{id}}}"#));
    }
    assert_eq!(resumed(&server, "items", &cursor).await, live);
    server.stop().await;
}

#[tokio::test]
async fn rows_that_a_statement_moves_leave_one_channel_and_enter_another() {
    let db = TestDb::new().await;
    db.exec(
        "create table item (id int primary key, owner text, v int); select rowcast.watch('item', 'of:{owner}', bulk => true);
         insert into item select g, 'a', 0 from generate_series(1, 4) g",
    )
    .await;
    let server = Server::start(&db).await;
    let (mut a, mut b) = (client(&server).await, client(&server).await);
    subscribe(&mut a, "of:a").await;
    subscribe(&mut b, "of:b").await;
    db.exec("update item set v = 1, owner = case when id % 2 = 0 then 'b' else 'a' end").await;
    db.exec("begin; savepoint s; update item set v = 9; rollback to s; update item set v = 2 where id < 3; commit")
        .await;
    for channel in ["of:a", "of:b"] {
        mark(&db, channel, "end").await;
    }
    let expected_a = [
        r#"update {"id":1,"owner":"a","v":1}"#,
        r#"delete {"id":2,"owner":"a","v":0}"#,
        r#"update {"id":3,"owner":"a","v":1}"#,
        r#"delete {"id":4,"owner":"a","v":0}"#,
        r#"update {"id":1,"owner":"a","v":2}"#,
    ];
    let expected_b = [
        r#"insert {"id":2,"owner":"b","v":1}"#,
        r#"insert {"id":4,"owner":"b","v":1}"#,
        r#"update {"id":2,"owner":"b","v":2}"#,
    ];
    assert_eq!(until_mark(&mut a).await, expected_a);
    assert_eq!(until_mark(&mut b).await, expected_b);
    server.stop().await;
}

#[tokio::test]
async fn each_route_of_each_change_of_a_batch_has_its_own_cursor() {
    let db = TestDb::new().await;
    db.exec(
        "create table item (id int primary key, k int); insert into item select g, 0 from generate_series(1, 30) g",
    )
    .await;
    for event in 1..=40 {
        db.exec(&format!("select rowcast.watch('item', 'of:{{k}}', 'e{event}', bulk => true)")).await;
    }
    db.exec("select rowcast.watch('item', 'all')").await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    subscribe(&mut ws, "of:0").await;
    db.exec("update item set k = 1 where id <= 20").await;
    mark(&db, "of:0", "end").await;
    let (events, cursors) = with_cursors(&mut ws).await;
    assert_eq!(events.len(), 20 * 40);
    for at in [0, 39, 40, 411, 798, 799] {
        assert_eq!(resumed(&server, "of:0", &cursors[at]).await, events[at + 1..], "behind event {at}");
    }
    server.stop().await;
}
