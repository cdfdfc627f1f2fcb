//! The stream begins anew: everybody is told, and has a fresh snapshot.

use serde_json::json;

use super::server::Server;
use super::world::all_of;

#[tokio::test]
async fn every_subscription_starts_over_with_the_new_stream() {
    let server = Server::start().await;
    server.world.event_view("v", all_of("v"));
    let mut client = server.subscriber("v").await;
    client.send(json!({ "type": "subscribe", "channel": "a" })).await;
    client.next_of("subscribed").await;
    let old = client.next_of("snapshot").await.str_of("cursor").to_owned();
    server.world.commit(&[("v", "1")]);
    server.world.begin(2);
    let mut seen = Vec::new();
    for _ in 0..6 {
        let frame = client.next().await;
        seen.push((frame.str_of("channel").to_owned(), frame.str_of("type").to_owned()));
        match frame.str_of("type") {
            "reset" => assert_eq!(frame["code"], "stream_restarted"),
            "snapshot" if frame["channel"] == "v" => assert_eq!(frame.raw_of("data"), "[1]"),
            _ => assert_ne!(frame["cursor"], old),
        }
    }
    for channel in ["v", "a"] {
        let kinds: Vec<&str> = seen.iter().filter(|(c, _)| c == channel).map(|(_, k)| &**k).collect();
        assert_eq!(kinds, ["reset", "subscribed", "snapshot"], "{channel}");
    }
    server.world.say("v", "2");
    assert_eq!(client.next_of("event").await.raw_of("data"), "2");

    // The old cursor means nothing here.
    let mut other = server.client().await;
    other.send(json!({ "type": "subscribe", "channel": "a", "cursor": old })).await;
    assert_eq!(other.next_of("reset").await["code"], "stream_restarted");
    assert_eq!(other.next_of("subscribed").await["resumed"], false);
    other.next_of("snapshot").await;
}

#[tokio::test]
async fn a_stream_that_begins_while_a_snapshot_is_read() {
    let server = Server::start().await;
    server.world.event_view("v", all_of("v"));
    let mut client = server.client().await;
    server.world.hold_snapshots();
    client.send(json!({ "type": "subscribe", "channel": "v" })).await;
    server.snapshot_began().await;
    server.world.say("v", "1");
    server.world.begin(2);
    server.world.say("v", "2");
    server.world.let_snapshots_go();
    // Whether told by a reset or not: the last snapshot and what follows it are complete.
    let mut last = client.skip_to("snapshot").await;
    server.world.say("v", "3");
    let mut events = Vec::new();
    loop {
        let frame = client.next().await;
        match frame.str_of("type") {
            "snapshot" => {
                last = frame;
                events.clear();
            }
            "event" => {
                events.push(frame.raw_of("data"));
                if events.last().is_some_and(|e| e == "3") {
                    break;
                }
            }
            _ => {}
        }
        if last.raw_of("data").ends_with("3]") {
            break;
        }
    }
    let shown = last.raw_of("data");
    let all: Vec<&str> = shown.trim_matches(['[', ']']).split(',').chain(events.iter().map(|e| &**e)).collect();
    assert_eq!(all, ["1", "2", "3"]);
}

#[tokio::test]
async fn who_cannot_start_over_is_sent_away_to_come_again() {
    let server = Server::start().await;
    server.world.event_view("v", all_of("v"));
    let mut client = server.subscriber("v").await;
    server.world.database(false);
    server.world.begin(2);
    assert_eq!(client.next_of("reset").await["channel"], "v");
    assert_eq!(client.next_of("error").await["code"], "database_unavailable");
    let closed = client.expect_close().await;
    assert_eq!((closed.code, &*closed.reason), (1013, "database_unavailable"));
}
