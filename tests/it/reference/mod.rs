//! The reference applications at the level of SQL: what a statement leads to on their channels, through the real server.

mod access;
mod catalog;
mod demo;
mod game;
mod history;
mod learning;
mod orders;
mod portfolios;
mod values;

use serde_json::json;

use crate::kit::ws::Client;
use crate::kit::{Server, TestDb, http_client};

/// Somebody who listens to these channels from now on, in the native dialect, and what the channels showed at first.
async fn listen(server: &Server, channels: &[&str]) -> (Client, Vec<String>) {
    let mut client = Client::connect(&server.ws()).await;
    client.next_of("welcome").await;
    let mut shown = Vec::new();
    for channel in channels {
        client.send(json!({"type": "subscribe", "channel": channel})).await;
        client.next_of("subscribed").await;
        shown.push(client.next_of("snapshot").await.raw_of("data"));
    }
    (client, shown)
}

/// What `sql` (one transaction) leads to, each line `channel event data`. A marker is sent behind it to `channel`, an event channel
/// of the listener's.
async fn told(db: &TestDb<'_>, client: &mut Client, channel: &str, sql: &str) -> Vec<String> {
    db.exec(sql).await;
    db.exec(&format!("select rowcast.send('{channel}', 'mark')")).await;
    let mut seen = Vec::new();
    loop {
        let frame = client.next_of("event").await;
        if frame["event"] == "mark" {
            return seen;
        }
        seen.push(format!("{} {} {}", frame.str_of("channel"), frame.str_of("event"), untimed(&frame.raw_of("data"))));
    }
}

/// With every time of UTC in it as `T`.
fn untimed(text: &str) -> String {
    let mut parts = text.split('"').map(|part| if is_time(part) { "T" } else { part });
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "\"" + part)
}

/// `2026-11-21T10:30:00Z`, with up to six digits of a second where there are any.
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    match shape.strip_prefix("0000-00-00T00:00:00").and_then(|rest| rest.strip_suffix('Z')) {
        Some("") => true,
        Some(fraction) => fraction == ".000000",
        None => false,
    }
}

async fn metric(server: &Server, name: &str) -> i64 {
    let text = http_client().get(server.http("/metrics")).send().await.expect("served").text().await.expect("text");
    let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
    line.trim().parse::<f64>().expect("a number") as i64
}
