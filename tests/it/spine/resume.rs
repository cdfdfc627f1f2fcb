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

/// What may not travel leaves an error at its place: to whoever listens, and to whoever comes back for it.
#[tokio::test]
async fn an_event_that_is_too_large_is_told_live_and_when_resuming() {
    let db = TestDb::new().await;
    db.exec("create table doc (id int primary key, text text); select rowcast.watch('doc', 'docs')").await;
    let small = |c: &mut rowcast::app::Config| c.router.message_bytes_max = 1000;
    let server = Server::with(&db.url(), small).await;
    let mut ws = client(&server).await;
    let cursor = subscribe(&mut ws, "docs").await.str_of("cursor").to_owned();
    db.exec("insert into doc values (1, 'a'), (2, repeat('b', 1000)), (3, 'c')").await;
    let restarted = Server::with(&db.url(), small).await;
    let mut resumed = resume(&server, "docs", &cursor).await;
    for ws in [&mut ws, &mut resumed, &mut resume(&restarted, "docs", &cursor).await] {
        assert_eq!(ws.next_of("event").await["data"]["id"], 1);
        let error = ws.next().await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("message_too_large")), "{}", error.raw);
        assert_eq!(ws.next_of("event").await["data"]["id"], 3);
    }
    restarted.stop().await;
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

/// One row may lead to several messages: a place in the stream counts messages, not rows.
#[tokio::test]
async fn a_cut_between_two_messages_of_one_row_loses_neither() {
    let db = TestDb::new().await;
    db.exec(
        "create table task (id int primary key, owner text);
         select rowcast.watch('task', 'tasks', event => 'first'), rowcast.watch('task', 'tasks', event => 'second');
         select rowcast.watch('task', 'of:{owner}')",
    )
    .await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    subscribe(&mut ws, "tasks").await;
    db.exec("insert into task values (1, 'ann'), (2, 'ann')").await;
    let mut frames = Vec::new();
    for _ in 0..4 {
        let frame = ws.next_of("event").await;
        frames.push((format!("{} {}", frame.str_of("event"), frame["data"]["id"]), frame.str_of("cursor").to_owned()));
    }
    assert_eq!(frames.iter().map(|f| f.0.as_str()).collect::<Vec<_>>(), ["first 1", "second 1", "first 2", "second 2"]);
    mark(&db, "tasks", "end").await;
    let other = Server::start(&db).await;
    for server in [&server, &other] {
        for (n, (_, cursor)) in frames.iter().enumerate() {
            let mut ws = resume(server, "tasks", cursor).await;
            for (expected, _) in &frames[n + 1..] {
                let frame = ws.next_of("event").await;
                assert_eq!(
                    &format!("{} {}", frame.str_of("event"), frame["data"]["id"]),
                    expected,
                    "after message {n}"
                );
            }
            assert_eq!(ws.next_of("event").await["event"], "mark");
        }
    }
    // The same over REST, a message a page.
    let cursor = frames[0].1.clone();
    let (mut cursor, mut seen) = (cursor, Vec::new());
    loop {
        let url = other.http(&format!("/api/channels/tasks/events?limit=1&cursor={cursor}"));
        let page: serde_json::Value =
            crate::kit::http_client().get(url).send().await.expect("served").json().await.expect("JSON");
        let events = page["events"].as_array().unwrap_or_else(|| panic!("events in {page}"));
        seen.extend(events.iter().map(|e| e["event"].as_str().expect("a name").to_owned()));
        cursor = page["cursor"].as_str().expect("a cursor").to_owned();
        if page["more"] != true {
            break;
        }
    }
    assert_eq!(seen, ["second", "first", "second", "mark"]);
    server.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_page_loads_by_rest_and_streams_from_there() {
    let db = TestDb::new().await;
    db.exec(ITEMS).await;
    let server = Server::start(&db).await;
    let snapshot =
        crate::kit::http_client().get(server.http("/api/channels/items/snapshot")).send().await.expect("served");
    assert_eq!(snapshot.status(), 200);
    let snapshot: serde_json::Value = snapshot.json().await.expect("JSON");
    assert_eq!(snapshot["data"], json!([]));
    db.exec("insert into item values (1)").await;
    let mut ws = resume(&server, "items", snapshot["cursor"].as_str().expect("a cursor")).await;
    assert_eq!(ws.next_of("event").await["data"]["id"], 1);
    let body = json!({"event": "hello", "data": {"n": 1}});
    let sent = crate::kit::http_client()
        .post(server.http("/api/channels/items/events"))
        .json(&body)
        .send()
        .await
        .expect("served");
    assert_eq!(sent.status(), 202);
    assert_eq!(ws.next_of("event").await["event"], "hello");
    server.stop().await;
}
