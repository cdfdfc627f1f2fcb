//! Event streams: their beginning, their ids, their end.

use rowcast::domain::ReadError;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::kit::sse::{Block, Client};
use crate::kit::{patiently, wait_until};
use crate::native::server::Server;
use crate::native::world::all_of;

fn frame(block: &Block) -> Value {
    serde_json::from_str(block.data.as_deref().expect("a block with data")).expect("JSON")
}

/// What a stream says until the first id: the frames, and that id.
async fn beginning(stream: &mut Client) -> (Vec<Value>, String) {
    let mut frames = Vec::new();
    loop {
        let block = patiently("a block", stream.next_block()).await.expect("the stream lasts");
        if let Some(id) = &block.id {
            assert!(block.data.is_none(), "the first id comes alone: {block:?}");
            return (frames, id.clone());
        }
        if block.data.is_some() {
            frames.push(frame(&block));
        }
    }
}

fn kinds(frames: &[Value]) -> Vec<String> {
    let kind = |f: &Value| match f["channel"].as_str() {
        Some(channel) => format!("{} {channel}", f["type"].as_str().expect("a type")),
        None => f["type"].as_str().expect("a type").to_owned(),
    };
    frames.iter().map(kind).collect()
}

#[tokio::test]
async fn a_stream_begins_with_retry_welcome_and_its_snapshots() {
    let server = Server::start().await;
    server.world.event_view("v", all_of("v"));
    server.world.state_view("s", |_| Ok("{\n  \"price\": 10.50\r\n}".into()));
    server.world.say("v", "1");
    let mut stream = Client::connect(&server.url("/sse?channel=v&channel=s&channel=a&channel=v"), None).await;
    assert_eq!(stream.status, 200);
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    assert_eq!(stream.headers["cache-control"], "no-store");
    let retry = stream.next_block().await.expect("a block").retry.expect("retry first");
    assert!((2000..4000).contains(&retry), "{retry}");
    let (frames, _) = beginning(&mut stream).await;
    let want = ["welcome", "subscribed v", "snapshot v", "subscribed s", "snapshot s", "subscribed a", "snapshot a"];
    assert_eq!(kinds(&frames), want);
    assert_eq!(frames[2]["data"].to_string(), "[1]");
    assert_eq!(frames[4]["data"]["price"].to_string(), "10.5");

    server.world.say("a", "{\"x\":\n2}");
    let block = stream.next().await;
    assert_eq!(block.id.as_deref(), frame(&block)["cursor"].as_str());
    assert_eq!(frame(&block)["data"]["x"], 2);
}

/// Everything that happens while the channels are being read: shown by a snapshot, or sent after it, never both, and
/// resuming from the first id brings all that came after it and nothing else.
#[tokio::test]
async fn channels_begin_together() {
    let server = Server::start().await;
    server.world.event_view("v", all_of("v"));
    server.world.state_view("s", |rows| Ok(rows.len().to_string()));
    server.world.hold_snapshots();
    let mut stream = Client::connect(&server.url("/sse?channel=a&channel=v&channel=s"), None).await;
    server.snapshot_began().await;
    server.world.commit(&[("a", "1"), ("v", "1")]);
    server.world.drain();
    server.world.commit(&[("v", "2")]);
    server.world.let_snapshots_go();
    let (frames, id) = beginning(&mut stream).await;
    let shown = |channel: &str| {
        let of = |f: &&Value| f["type"] == "snapshot" && f["channel"] == channel;
        frames.iter().find(of).expect("a snapshot")["data"].to_string()
    };
    assert_eq!((shown("v"), shown("a"), shown("s")), ("[1,2]".into(), "[]".into(), "3".into()));
    assert!(frames.iter().all(|f| f["type"] != "event"), "{frames:?}");
    server.world.commit(&[("v", "3"), ("a", "3")]);
    server.world.drain();
    for channel in ["v", "a"] {
        let block = stream.next().await;
        assert_eq!((&frame(&block)["channel"], &frame(&block)["data"]), (&channel.into(), &3.into()));
    }

    let mut again = Client::connect(&server.url("/sse?channel=a&channel=v&channel=s"), Some(&id)).await;
    let mut events = Vec::new();
    while events.len() < 2 {
        let block = again.next().await;
        if frame(&block)["type"] == "event" {
            assert!(block.id.is_some(), "{block:?}");
            events.push((frame(&block)["channel"].to_string(), frame(&block)["data"].to_string()));
        } else if frame(&block)["type"] == "subscribed" {
            assert_eq!(frame(&block)["resumed"], frame(&block)["channel"] != "s");
        }
    }
    assert_eq!(events, [("\"v\"".into(), "3".into()), ("\"a\"".into(), "3".to_owned())]);
}

#[tokio::test]
async fn the_header_counts_before_the_query_and_either_resumes() {
    let server = Server::start().await;
    let old = server.world.cursor();
    server.world.say("a", "1");
    let new = server.world.cursor();
    server.world.say("a", "2");
    for (query, header, first) in [(Some(&old), None, 1), (Some(&old), Some(&new), 2), (None, Some(&old), 1)] {
        let query = query.map(|c| format!("&cursor={c}")).unwrap_or_default();
        let url = server.url(&format!("/sse?channel=a{query}"));
        let mut stream = Client::connect(&url, header.map(|h| &**h)).await;
        let event = loop {
            let block = stream.next().await;
            if frame(&block)["type"] == "event" {
                break frame(&block);
            }
        };
        assert_eq!(event["data"], first);
    }
}

#[tokio::test]
async fn where_one_channel_cannot_be_resumed_all_start_fresh() {
    let hub = rowcast::hub::Config { recent_items_max: 0, ..Default::default() };
    let server = Server::with(crate::native::server::Settings { hub, ..Default::default() }).await;
    let old = server.world.cursor();
    server.world.say("a", "1");
    server.world.rotate();
    let mut stream = Client::connect(&server.url("/sse?channel=a&channel=b"), Some(&old)).await;
    let (frames, _) = beginning(&mut stream).await;
    let want = ["welcome", "reset a", "subscribed a", "snapshot a", "reset b", "subscribed b", "snapshot b"];
    assert_eq!(kinds(&frames), want);
    assert_eq!(frames[1]["code"], "cursor_expired");
}

#[tokio::test]
async fn where_one_channel_cannot_be_joined_the_stream_ends_with_the_reason() {
    let server = Server::start().await;
    server.world.event_view("bad", |_| Err(ReadError::View { detail: "division by zero".into() }));
    let mut stream = Client::connect(&server.url("/sse?channel=a&channel=bad"), None).await;
    let mut last = Value::Null;
    while let Some(block) = patiently("a block", stream.next_block()).await {
        assert!(block.id.is_none(), "{block:?}");
        if block.data.is_some() {
            last = frame(&block);
        }
    }
    assert_eq!((&last["code"], &last["channel"]), (&"view_failed".into(), &"bad".into()));
}

#[tokio::test]
async fn a_new_stream_resets_all_channels_of_an_event_stream() {
    let server = Server::start().await;
    let mut stream = Client::connect(&server.url("/sse?channel=a&channel=b"), None).await;
    let (_, old) = beginning(&mut stream).await;
    server.world.begin(2);
    let (frames, new) = beginning(&mut stream).await;
    assert_eq!(kinds(&frames), ["reset a", "subscribed a", "snapshot a", "reset b", "subscribed b", "snapshot b"]);
    assert_ne!(old, new);
    server.world.say("b", "1");
    assert_eq!(frame(&stream.next().await)["data"], 1);
}

#[tokio::test]
async fn a_reader_that_goes_is_forgotten() {
    let server = Server::start().await;
    let mut tcp = tokio::net::TcpStream::connect(server.address).await.expect("open");
    tcp.write_all(b"GET /sse?channel=a HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    wait_until("it is live", async || server.hub.channels().iter().any(|(_, n)| *n == 1)).await;
    drop(tcp);
    wait_until("it is forgotten", async || server.hub.connections() == 0).await;
}
