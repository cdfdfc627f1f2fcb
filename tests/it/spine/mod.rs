//! The whole way: a committed row reaches every subscriber.

mod bulk;
mod clocks;
mod events;
mod faults;
mod live_config;
mod outages;
mod property;
mod resume;
mod state;
mod values;

use serde_json::json;

use crate::kit::ws::{Client, Frame};
use crate::kit::{Server, TestDb};

/// Opens a WebSocket and gets past `welcome`.
async fn client(server: &Server) -> Client {
    let mut client = Client::connect(&server.ws()).await;
    client.next_of("welcome").await;
    client
}

/// Subscribes afresh: the snapshot.
async fn subscribe(client: &mut Client, channel: &str) -> Frame {
    client.send(json!({"type": "subscribe", "channel": channel})).await;
    let subscribed = client.next_of("subscribed").await;
    assert_eq!(subscribed["resumed"], false, "{}", subscribed.raw);
    client.next_of("snapshot").await
}

/// Commits a mark behind everything that was written, so that what comes before it on `channel` is all there is.
async fn mark(db: &TestDb<'_>, channel: &str, text: &str) {
    db.exec(&format!("select rowcast.send('{channel}', 'mark', '\"{text}\"')")).await;
}

/// The events up to the mark, as `event data`.
async fn until_mark(client: &mut Client) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let frame = client.next_of("event").await;
        if frame["event"] == "mark" {
            return seen;
        }
        seen.push(format!("{} {}", frame.str_of("event"), frame.raw_of("data")));
    }
}

/// What `sql` leads to on `channel`, for somebody who listens.
async fn heard(db: &TestDb<'_>, client: &mut Client, channel: &str, sql: &str) -> Vec<String> {
    db.exec(sql).await;
    mark(db, channel, "end").await;
    until_mark(client).await
}
