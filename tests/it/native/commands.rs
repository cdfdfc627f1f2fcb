//! Subscribe, stream, unsubscribe: order, echo, cancellation, floods.

use std::sync::atomic::Ordering;

use rowcast::domain::ReadError;
use rowcast::{connection, hub};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::server::{Server, Settings};
use super::world::{all_of, distinct};
use crate::kit::wait_until;

#[tokio::test]
async fn events_come_with_their_own_digits_and_cursor() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.send(json!({ "type": "subscribe", "channel": "a" })).await;
    let subscribed = client.next_of("subscribed").await;
    assert_eq!((&subscribed["kind"], &subscribed["resumed"]), (&json!("event"), &json!(false)));
    let snapshot = client.next_of("snapshot").await;
    assert_eq!(snapshot.raw_of("data"), "[]");
    assert_eq!(snapshot["cursor"], subscribed["cursor"]);
    server.world.say("a", r#"{"n": 10.50, "big": 9007199254740993}"#);
    let event = client.next_of("event").await;
    assert_eq!(event.raw_of("data"), r#"{"n": 10.50, "big": 9007199254740993}"#);
    assert_eq!((&event["channel"], &event["event"]), (&json!("a"), &json!("insert")));
    assert_eq!(event["at"], "2023-11-14T22:13:20.000001Z");
    assert_ne!(event["cursor"], snapshot["cursor"]);
}

/// The view is read while one commit is not drained yet, and another comes after it: the first is in the snapshot and
/// nowhere else, the second is an event and nowhere else.
#[tokio::test]
async fn a_snapshot_and_its_stream_meet_exactly() {
    let server = Server::start().await;
    server.world.event_view("a", all_of("a"));
    server.world.say("a", "1");
    let mut client = server.client().await;
    server.world.hold_snapshots();
    client.send(json!({ "type": "subscribe", "channel": "a" })).await;
    server.snapshot_began().await;
    server.world.say("a", "2");
    server.world.commit(&[("a", "3")]);
    server.world.let_snapshots_go();
    client.next_of("subscribed").await;
    assert_eq!(client.next_of("snapshot").await.raw_of("data"), "[1,2,3]");
    server.world.say("a", "4");
    assert_eq!(client.next_of("event").await.raw_of("data"), "4");
}

#[tokio::test]
async fn a_state_channel_sends_states_newer_than_its_snapshot() {
    let server = Server::start().await;
    server.world.state_view("s", |rows| Ok(format!("{}", rows.len())));
    let mut client = server.client().await;
    server.world.hold_snapshots();
    client.send(json!({ "type": "subscribe", "channel": "s" })).await;
    server.snapshot_began().await;
    server.world.say("x", "0");
    server.world.publish_state("s", "1");
    server.world.let_snapshots_go();
    assert_eq!(client.next_of("subscribed").await["kind"], "state");
    assert_eq!(client.next_of("snapshot").await.raw_of("data"), "1");
    server.world.say("x", "0");
    server.world.publish_state("s", "2");
    assert_eq!(client.next_of("event").await.raw_of("data"), "2");
}

#[tokio::test]
async fn subscribe_then_unsubscribe_ends_unsubscribed() {
    let server = Server::start().await;
    server.world.event_view("slow", all_of("slow"));
    let mut client = server.client().await;
    server.world.hold_snapshots();
    client.send(json!({ "type": "subscribe", "channel": "slow" })).await;
    client.send(json!({ "type": "unsubscribe", "channel": "slow", "id": 1 })).await;
    client.send(json!({ "type": "ping" })).await;
    // Answered although the snapshot still waits.
    assert_eq!(client.next_of("unsubscribed").await["id"], 1);
    client.next_of("pong").await;
    server.world.let_snapshots_go();
    server.world.say("slow", "1");
    client.send(json!({ "type": "subscribe", "channel": "slow" })).await;
    client.next_of("subscribed").await;
    assert_eq!(client.next_of("snapshot").await.raw_of("data"), "[1]");
    server.world.say("slow", "2");
    assert_eq!(client.next_of("event").await.raw_of("data"), "2");
}

#[tokio::test]
async fn several_channels_in_one_frame() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.send(json!({ "type": "subscribe", "channels": ["a", "b", "a"], "id": 9 })).await;
    let (mut subscribed, mut snapshots, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        let frame = client.next().await;
        let channel = frame.str_of("channel").to_owned();
        match frame.str_of("type") {
            "subscribed" => subscribed.push(channel),
            "snapshot" => snapshots.push(channel),
            _ => errors.push(frame.str_of("code").to_owned()),
        }
    }
    assert_eq!((distinct(&subscribed), distinct(&snapshots)), (2, 2));
    assert_eq!(errors, ["already_subscribed"]);
    client.send(json!({ "type": "unsubscribe", "channels": ["a", "b"] })).await;
    client.next_of("unsubscribed").await;
    client.next_of("unsubscribed").await;
    server.world.say("a", "1");
    client.send(json!({ "type": "ping" })).await;
    client.next_of("pong").await;
}

#[tokio::test]
async fn a_failed_view_is_an_error_and_no_subscription() {
    let server = Server::start().await;
    server.world.event_view("bad", |_| Err(ReadError::View { detail: "division by zero".into() }));
    let mut client = server.client().await;
    client.send(json!({ "type": "subscribe", "channel": "bad", "id": 1 })).await;
    let error = client.next_of("error").await;
    assert_eq!((&error["code"], &error["id"]), (&json!("view_failed"), &json!(1)));
    assert!(error.str_of("message").contains("division by zero"));
    client.send(json!({ "type": "unsubscribe", "channel": "bad" })).await;
    assert_eq!(client.next_of("error").await["code"], "not_subscribed");
    server.world.event_view("bad", all_of("bad"));
    client.send(json!({ "type": "subscribe", "channel": "bad" })).await;
    client.next_of("subscribed").await;
    client.next_of("snapshot").await;
}

#[tokio::test]
async fn a_snapshot_that_takes_too_long_is_given_up() {
    let connection = connection::Config { snapshot_timeout_ms: 50, ..Default::default() };
    let server = Server::with(Settings { connection, ..Default::default() }).await;
    server.world.state_view("s", |_| Ok("1".into()));
    server.world.hold_snapshots();
    let mut client = server.client().await;
    client.send(json!({ "type": "subscribe", "channel": "s" })).await;
    assert_eq!(client.next_of("error").await["code"], "view_timeout");
}

#[tokio::test]
async fn before_the_stream_begins_nothing_can_be_subscribed() {
    let server = Server::with(Settings { silent: true, ..Default::default() }).await;
    let mut client = server.client().await;
    client.send(json!({ "type": "subscribe", "channel": "a" })).await;
    assert_eq!(client.next_of("error").await["code"], "not_ready");
    server.world.begin(1);
    client.send(json!({ "type": "subscribe", "channel": "a" })).await;
    client.next_of("subscribed").await;
}

/// Thousands of commands while the first one waits: the server stops reading, forgets none and answers in order.
#[tokio::test]
async fn a_flood_of_commands_waits_in_the_clients_own_socket() {
    let hub = hub::Config { frames_in_per_s_max: 0, ..Default::default() };
    let server = Server::with(Settings { hub, ..Default::default() }).await;
    server.world.state_view("s", |_| Ok("1".into()));
    server.world.hold_snapshots();
    let mut client = server.client().await;
    client.send(json!({ "type": "subscribe", "channel": "s" })).await;
    server.snapshot_began().await;
    for n in 0..3000 {
        client.send_message(Message::text(format!(r#"{{"type":"ping","id":{n}}}"#))).await;
    }
    wait_until("the server has stopped reading", async || server.shared.stats.snapshot().pauses > 0).await;
    let understood = server.shared.stats.snapshot().commands;
    assert!(understood < 3000, "{understood} commands were taken in");
    server.world.let_snapshots_go();
    client.next_of("subscribed").await;
    client.next_of("snapshot").await;
    for n in 0..3000 {
        assert_eq!(client.next_of("pong").await["id"], n);
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_snapshot_with_it() {
    let server = Server::start().await;
    server.world.state_view("s", |_| Ok("1".into()));
    server.world.hold_snapshots();
    let mut client = server.client().await;
    client.send(json!({ "type": "subscribe", "channel": "s" })).await;
    server.snapshot_began().await;
    drop(client);
    let dropped = || server.world.snapshots_dropped.load(Ordering::SeqCst);
    wait_until("the reading is given up", async || dropped() == 1).await;
    wait_until("the hub has forgotten it", async || server.hub.connections() == 0 && server.hub.channels().is_empty())
        .await;
}
