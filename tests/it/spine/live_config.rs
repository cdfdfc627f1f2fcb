//! `watch`, `unwatch` and `define_channel` take effect when they commit, at their place in the stream.

use super::*;

#[tokio::test]
async fn routes_come_and_go_without_a_restart() {
    let db = TestDb::new().await;
    db.exec("create table t (id int primary key)").await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    subscribe(&mut ws, "t").await;
    let sql = "insert into t values (1); select rowcast.watch('t', 't'); insert into t values (2)";
    assert_eq!(heard(&db, &mut ws, "t", sql).await, [r#"insert {"id":2}"#]);
    let sql = "insert into t values (3); select rowcast.unwatch('t', 't'); insert into t values (4)";
    assert_eq!(heard(&db, &mut ws, "t", sql).await, [r#"insert {"id":3}"#]);
    let sql = "select rowcast.watch('t', 't', event => 'renamed'); insert into t values (5)";
    assert_eq!(heard(&db, &mut ws, "t", sql).await, [r#"renamed {"id":5}"#]);
    server.stop().await;
}

#[tokio::test]
async fn a_row_is_routed_as_it_was_captured_also_when_it_is_replayed() {
    let db = TestDb::new().await;
    db.exec("create table t (id int primary key); select rowcast.watch('t', 't', event => 'before')").await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    let cursor = subscribe(&mut ws, "t").await.str_of("cursor").to_owned();
    db.exec("insert into t values (1)").await;
    db.exec(
        "select rowcast.unwatch('t', 't'); select rowcast.watch('t', 't', event => 'after'); insert into t values (2)",
    )
    .await;
    let expected = [r#"before {"id":1}"#, r#"after {"id":2}"#];
    mark(&db, "t", "end").await;
    assert_eq!(until_mark(&mut ws).await, expected);
    server.stop().await;
    // Another process has nothing in memory: the log, and the routes as they were.
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    ws.send(json!({"type": "subscribe", "channel": "t", "cursor": cursor})).await;
    assert_eq!(ws.next_of("subscribed").await["resumed"], true);
    assert_eq!(until_mark(&mut ws).await, expected);
    server.stop().await;
}

#[tokio::test]
async fn a_redefined_view_is_read_anew() {
    let db = TestDb::new().await;
    db.exec(
        "create table t (id int primary key, v text); insert into t values (1, 'x');
         create view one as select id, v from t; create view two as select id, upper(v) as v from t;
         select rowcast.define_channel('t:{id}', kind => 'state', view => 'one'); select rowcast.watch('t', 't:{id}')",
    )
    .await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    assert_eq!(subscribe(&mut ws, "t:1").await["data"]["v"], "x");
    db.exec("select rowcast.define_channel('t:{id}', kind => 'state', view => 'two')").await;
    assert_eq!(ws.next_of("event").await["data"]["v"], "X");
    db.exec("update t set v = 'y'").await;
    assert_eq!(ws.next_of("event").await["data"]["v"], "Y");
    server.stop().await;
}

/// An event channel replays, a state channel has its newest state: a client must know that it listens to the other now.
#[tokio::test]
async fn a_channel_that_changes_its_kind_starts_its_listeners_over() {
    let db = TestDb::new().await;
    db.exec(
        "create table t (id int primary key, v int); insert into t values (1, 1); create view tv as select id, v from t;
         select rowcast.watch('t', 't:{id}')",
    )
    .await;
    let server = Server::start(&db).await;
    let (mut ws, mut other) = (client(&server).await, client(&server).await);
    assert_eq!(subscribe(&mut ws, "t:1").await.raw_of("data"), "[]");
    subscribe(&mut ws, "quiet").await;
    subscribe(&mut other, "quiet").await;
    db.exec("update t set v = 2").await;
    assert_eq!(ws.next_of("event").await["event"], "update");
    for (sql, kind, shown, event, v) in [
        (
            "select rowcast.define_channel('t:{id}', kind => 'state', view => 'tv')",
            "state",
            r#"{"id":1,"v":2}"#,
            "state",
            3,
        ),
        ("select rowcast.undefine_channel('t:{id}')", "event", "[]", "update", 4),
    ] {
        db.exec(sql).await;
        let mut channels = Vec::new();
        for _ in 0..2 {
            let reset = ws.next_of("reset").await;
            assert_eq!(reset["code"], "stream_restarted", "{}", reset.raw);
            let (subscribed, snapshot) = (ws.next_of("subscribed").await, ws.next_of("snapshot").await);
            let channel = subscribed.str_of("channel").to_owned();
            if channel == "t:1" {
                assert_eq!((subscribed["kind"].as_str(), snapshot.raw_of("data").as_str()), (Some(kind), shown));
            }
            channels.push(channel);
        }
        channels.sort();
        assert_eq!(channels, ["quiet", "t:1"], "all of the connection, once");
        db.exec("update t set v = v + 1").await;
        let frame = ws.next_of("event").await;
        assert_eq!((&frame["event"], &frame["data"]["v"]), (&json!(event), &json!(v)), "{}", frame.raw);
    }
    // Who listens to nothing of it notices nothing.
    assert_eq!(heard(&db, &mut other, "quiet", "select 1").await, [""; 0]);
    server.stop().await;
}
