//! Cursors: what a client missed comes, once, from memory or from the log; or it is told `reset`.

use super::*;
use crate::kit::sse;

const ITEMS: &str = "create table item (id int primary key, v int default 0); select rowcast.watch('item', 'items')";

/// Subscribes with a cursor that must be honoured.
async fn resume(server: &Server, channel: &str, cursor: &str) -> Client {
    let mut ws = client(server).await;
    ws.send(json!({"type": "subscribe", "channel": channel, "cursor": cursor})).await;
    let subscribed = ws.next_of("subscribed").await;
    assert_eq!(subscribed["resumed"], true, "{}", subscribed.raw);
    ws
}

#[tokio::test]
async fn every_cursor_of_a_stream_resumes_exactly_from_memory_and_from_the_log() {
    let db = TestDb::new().await;
    db.exec(ITEMS).await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    let mut cursors = vec![subscribe(&mut ws, "items").await.str_of("cursor").to_owned()];
    for sql in ["insert into item values (1)", "insert into item select generate_series(2, 6)", "update item set v = 1"]
    {
        db.exec(sql).await;
    }
    mark(&db, "items", "end").await;
    let mut all = Vec::new();
    while all.last().is_none_or(|e: &String| !e.starts_with("mark")) {
        let frame = ws.next_of("event").await;
        all.push(format!("{} {}", frame.str_of("event"), frame.raw_of("data")));
        cursors.push(frame.str_of("cursor").to_owned());
    }
    cursors.pop();
    for from in ["memory", "log"] {
        let other = Server::start(&db).await;
        let server = if from == "log" { &other } else { &server };
        for (missed, cursor) in cursors.iter().enumerate() {
            let mut ws = resume(server, "items", cursor).await;
            let got = until_mark(&mut ws).await;
            assert_eq!(got, all[missed..all.len() - 1], "from the {from}, cursor {missed}");
        }
        other.stop().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn event_streams_resume_by_last_event_id() {
    let db = TestDb::new().await;
    db.exec(ITEMS).await;
    let server = Server::start(&db).await;
    let url = server.http("/sse?channel=items&channel=other");
    let mut stream = sse::Client::connect(&url, None).await;
    let mut last = None;
    // The joining phase ends with the first id.
    while last.is_none() {
        last = stream.next_block().await.expect("the stream goes on").id;
    }
    drop(stream);
    db.exec("insert into item values (1), (2)").await;
    mark(&db, "other", "end").await;
    let mut stream = sse::Client::connect(&url, last.as_deref()).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let block = stream.next().await;
        let frame: serde_json::Value = serde_json::from_str(&block.data.expect("next gives data")).expect("JSON");
        if frame["type"] == "event" {
            seen.push(format!("{} {}", frame["channel"].as_str().unwrap_or("?"), frame["data"]));
        }
    }
    seen.sort();
    assert_eq!(seen, [r#"items {"id":1,"v":0}"#, r#"items {"id":2,"v":0}"#, r#"other "end""#]);
    server.stop().await;
}

#[tokio::test]
async fn what_rotation_dropped_is_told_by_a_reset() {
    let db = TestDb::new().await;
    db.exec(ITEMS).await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    let cursor = subscribe(&mut ws, "items").await.str_of("cursor").to_owned();
    db.exec("insert into item values (1)").await;
    ws.next_of("event").await;
    server.stop().await;
    // As if an hour had passed: every slot emptied, the horizon moved.
    db.exec("do $$ begin for s in 0..3 loop perform rowcast.empty_slot(s); end loop; end $$").await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    ws.send(json!({"type": "subscribe", "channel": "items", "cursor": cursor})).await;
    let reset = ws.next_of("reset").await;
    assert_eq!(reset["channel"], "items");
    assert_eq!(ws.next_of("subscribed").await["resumed"], false);
    ws.next_of("snapshot").await;
    server.stop().await;
}

#[tokio::test]
async fn a_new_incarnation_resets_whoever_listens_and_whoever_resumes() {
    let db = TestDb::new().await;
    db.exec(ITEMS).await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    let cursor = subscribe(&mut ws, "items").await.str_of("cursor").to_owned();
    db.exec("select rowcast.reset()").await;
    mark(&db, "items", "wakes the listener").await;
    assert_eq!(ws.next_of("reset").await["channel"], "items");
    ws.next_of("subscribed").await;
    ws.next_of("snapshot").await;
    db.exec("insert into item values (1)").await;
    while ws.next_of("event").await["event"] != "insert" {}
    let mut other = client(&server).await;
    other.send(json!({"type": "subscribe", "channel": "items", "cursor": cursor})).await;
    other.next_of("reset").await;
    server.stop().await;
}

#[tokio::test]
async fn a_state_channel_resumes_with_its_present_state() {
    let db = TestDb::new().await;
    db.exec(
        "create table t (id int primary key, v text); insert into t values (1, 'a');
         select rowcast.define_channel('t:{id}', kind => 'state'); select rowcast.watch('t', 't:{id}')",
    )
    .await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    let cursor = subscribe(&mut ws, "t:1").await.str_of("cursor").to_owned();
    drop(ws);
    db.exec("update t set v = 'b'; update t set v = 'c'").await;
    let mut ws = client(&server).await;
    ws.send(json!({"type": "subscribe", "channel": "t:1", "cursor": cursor})).await;
    ws.next_of("subscribed").await;
    assert_eq!(ws.next_of("snapshot").await["data"]["v"], "c");
    server.stop().await;
}
