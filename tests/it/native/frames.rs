//! What a client may send, and what it is told otherwise.

use rowcast::connection;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::server::{Server, Settings};
use crate::kit::ws;

#[tokio::test]
async fn the_welcome_says_the_limits() {
    let server = Server::start().await;
    let mut client = ws::Client::connect(&format!("ws://{}/ws", server.address)).await;
    let welcome = client.next().await;
    assert_eq!(welcome["type"], "welcome");
    assert!(welcome.str_of("connection").starts_with('c'), "{}", welcome.raw);
    assert_eq!(welcome["heartbeat_ms"], 25_000);
    let limits = json!({ "subscriptions_max": 100, "channel_bytes_max": 255, "frame_bytes_max": 65_536 });
    assert_eq!(welcome["limits"], limits);
}

#[tokio::test]
async fn every_malformed_frame_has_its_code_and_the_connection_lives_on() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let long = format!(r#"{{"type":"subscribe","channel":"{}"}}"#, "x".repeat(256));
    let deep = format!(r#"{{"type":"subscribe","channel":{}1{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    let many: Vec<String> = (0..101).map(|i| format!("c{i}")).collect();
    let many = json!({ "type": "subscribe", "channels": many }).to_string();
    let cases = [
        ("", "bad_json"),
        ("hello", "bad_json"),
        (r#"{"type":"ping""#, "bad_json"),
        (r#"{"type":"ping"}{}"#, "bad_json"),
        ("[1]", "bad_frame"),
        ("{}", "bad_frame"),
        (r#"{"type":7}"#, "bad_frame"),
        (r#"{"type":"subscribe","channel":7}"#, "bad_frame"),
        (&deep, "bad_frame"),
        (r#"{"type":"subscribe","channel":"a","cursor":7}"#, "bad_frame"),
        (r#"{"type":"publish"}"#, "unknown_type"),
        (r#"{"type":"subscribe"}"#, "bad_channel"),
        (r#"{"type":"subscribe","channel":""}"#, "bad_channel"),
        (&long, "bad_channel"),
        (r#"{"type":"subscribe","channel":"a\u0007"}"#, "bad_channel"),
        (r#"{"type":"subscribe","channel":"a","cursor":"AAAA"}"#, "bad_cursor"),
        (&many, "too_many_subscriptions"),
        (r#"{"type":"unsubscribe","channel":"a"}"#, "not_subscribed"),
    ];
    for (text, code) in cases {
        client.send_message(Message::text(text)).await;
        let error = client.next_of("error").await;
        assert_eq!(error["code"], code, "{}", &text[..text.len().min(60)]);
        assert!(error.str_of("message").len() > 10);
    }
    client.send_message(Message::binary(vec![1, 2, 3])).await;
    assert_eq!(client.next_of("error").await["code"], "binary_unsupported");
    client.send(json!({ "type": "ping", "id": { "n": 1 } })).await;
    assert_eq!(client.next_of("pong").await.raw, r#"{"type":"pong","id":{"n":1}}"#);
    assert_eq!(server.shared.stats.snapshot().refused_frames, 18);
}

#[tokio::test]
async fn errors_and_answers_give_the_id_back() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.send(json!({ "type": "subscribe", "channel": "a", "id": 1 })).await;
    assert_eq!(client.next_of("subscribed").await["id"], 1);
    assert_eq!(client.next_of("snapshot").await["id"], Value::Null);
    client.send(json!({ "type": "subscribe", "channel": "a", "id": [2] })).await;
    let error = client.next_of("error").await;
    assert_eq!(
        (&error["code"], &error["channel"], &error["id"]),
        (&json!("already_subscribed"), &json!("a"), &json!([2]))
    );
    client.send(json!({ "type": "unsubscribe", "channel": "a", "id": "x" })).await;
    assert_eq!(client.next_of("unsubscribed").await["id"], "x");
}

#[tokio::test]
async fn limits_are_the_configured_ones() {
    let connection = connection::Config {
        subscriptions_per_connection_max: 2,
        channel_bytes_max: 5,
        channels: vec!["a".into(), "b".into(), "c".into(), "long:{x}".into()],
        ..Default::default()
    };
    let server = Server::with(Settings { connection, ..Default::default() }).await;
    let mut client = server.client().await;
    let cases = [
        ("long:1", "bad_channel"),
        ("other", "forbidden"),
        ("a", "subscribed"),
        ("b", "subscribed"),
        ("c", "too_many_subscriptions"),
    ];
    for (channel, want) in cases {
        client.send(json!({ "type": "subscribe", "channel": channel })).await;
        let answer = client.next().await;
        let got = if answer["type"] == "error" { &answer["code"] } else { &answer["type"] };
        assert_eq!(got, want, "{channel}");
        if want == "subscribed" {
            client.next_of("snapshot").await;
        }
    }
    client.send(json!({ "type": "unsubscribe", "channel": "a" })).await;
    client.next_of("unsubscribed").await;
    client.send(json!({ "type": "subscribe", "channel": "c" })).await;
    client.next_of("subscribed").await;
}
