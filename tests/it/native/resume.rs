//! A client that comes back gets exactly what it has missed.

use std::sync::atomic::Ordering;

use rowcast::{connection, hub};
use serde_json::json;

use super::server::{Server, Settings};
use super::world::all_of;
use crate::kit::{patiently, sse, ws};

async fn resume(server: &Server, channel: &str, cursor: &str) -> ws::Client {
    let mut client = server.client().await;
    client.send(json!({ "type": "subscribe", "channel": channel, "cursor": cursor })).await;
    client
}

#[tokio::test]
async fn missed_events_come_from_memory_or_from_the_log() {
    for (recent_items_max, replays) in [(100_000, 0), (0, 1)] {
        let hub = hub::Config { recent_items_max, ..Default::default() };
        let server = Server::with(Settings { hub, ..Default::default() }).await;
        let mut client = server.subscriber("a").await;
        server.world.say("a", "1");
        let cursor = client.next_of("event").await.str_of("cursor").to_owned();
        client.close().await;
        server.world.commit(&[("a", "2"), ("b", "0"), ("a", "3")]);
        server.world.drain();
        server.world.commit(&[("a", "4")]);
        let mut client = resume(&server, "a", &cursor).await;
        let subscribed = client.next_of("subscribed").await;
        assert_eq!((&subscribed["resumed"], subscribed.str_of("cursor")), (&json!(true), &*cursor));
        server.world.drain();
        for want in ["2", "3", "4"] {
            assert_eq!(client.next_of("event").await.raw_of("data"), want);
        }
        assert_eq!(server.world.replays.load(Ordering::SeqCst), replays);
    }
}

#[tokio::test]
async fn what_cannot_be_resumed_is_reset() {
    let hub = hub::Config { recent_items_max: 0, ..Default::default() };
    let connection = connection::Config { replay_events_max: 3, ..Default::default() };
    let server = Server::with(Settings { hub, connection, ..Default::default() }).await;
    server.world.event_view("a", all_of("a"));
    let cursor = server.world.cursor();
    for n in 0..4 {
        server.world.say("a", &n.to_string());
    }
    let mut client = resume(&server, "a", &cursor).await;
    let reset = client.next_of("reset").await;
    assert_eq!((&reset["channel"], &reset["code"]), (&json!("a"), &json!("too_many_events")));
    assert_eq!(client.next_of("subscribed").await["resumed"], false);
    assert_eq!(client.next_of("snapshot").await.raw_of("data"), "[0,1,2,3]");

    server.world.rotate();
    server.world.say("a", "4");
    let mut client = resume(&server, "a", &cursor).await;
    assert_eq!(client.next_of("reset").await["code"], "cursor_expired");
    client.next_of("subscribed").await;
    assert_eq!(client.next_of("snapshot").await.raw_of("data"), "[4]");
}

#[tokio::test]
async fn a_state_channel_resumes_with_its_state_and_no_reset() {
    let server = Server::start().await;
    server.world.state_view("s", |_| Ok("7".into()));
    let mut client = resume(&server, "s", &server.world.cursor()).await;
    let subscribed = client.next_of("subscribed").await;
    assert_eq!((&subscribed["kind"], &subscribed["resumed"]), (&json!("state"), &json!(false)));
    assert_eq!(client.next_of("snapshot").await.raw_of("data"), "7");
}

/// A cursor that another instance gave, whose listener was faster than ours.
#[tokio::test]
async fn a_cursor_ahead_of_this_instance_waits_for_it() {
    let server = Server::start().await;
    let ahead = {
        let other = Server::start().await;
        other.world.say("a", "1");
        other.world.cursor()
    };
    server.world.commit(&[("a", "1")]);
    let mut client = resume(&server, "a", &ahead).await;
    assert_eq!(client.next_of("subscribed").await["resumed"], true);
    server.world.say("a", "2");
    assert_eq!(client.next_of("event").await.raw_of("data"), "2", "and not 1, which it has");

    server.world.listen(false);
    let further = {
        let other = Server::start().await;
        for n in 0..9 {
            other.world.say("a", &n.to_string());
        }
        other.world.cursor()
    };
    let mut client = resume(&server, "a", &further).await;
    assert_eq!(client.next_of("error").await["code"], "database_unavailable");
}

/// As many as are allowed come in one piece, and the client is not cut off as slow for what it asked for.
#[tokio::test]
async fn a_long_absence_is_caught_up_with() {
    let server = Server::start().await;
    let cursor = server.world.cursor();
    let rows: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
    let rows: Vec<(&str, &str)> = rows.iter().map(|n| ("a", &**n)).collect();
    server.world.commit(&rows);
    server.world.drain();
    let mut client = resume(&server, "a", &cursor).await;
    assert_eq!(client.next_of("subscribed").await["resumed"], true);
    for (_, want) in rows {
        assert_eq!(client.next_of("event").await.raw_of("data"), want);
    }
}

/// The client comes while the dispatcher is in the middle of a drain: what was dispatched before it came, what is kept
/// for it and what comes later are all there, once.
#[tokio::test]
async fn a_client_that_comes_in_the_middle_of_a_drain() {
    for recent_items_max in [100_000, 0] {
        let hub = hub::Config { recent_items_max, ..Default::default() };
        let server = Server::with(Settings { hub, ..Default::default() }).await;
        let cursor = server.world.cursor();
        server.world.commit(&[("a", "1"), ("a", "2"), ("a", "3"), ("a", "4")]);
        server.world.commit(&[("a", "5")]);
        server.world.begin_drain(2);
        let mut client = resume(&server, "a", &cursor).await;
        assert_eq!(client.next_of("subscribed").await["resumed"], true);
        server.world.say("a", "6");
        for want in ["1", "2", "3", "4", "5", "6"] {
            assert_eq!(client.next_of("event").await.raw_of("data"), want, "memory of {recent_items_max}");
        }
        client.send(json!({ "type": "ping" })).await;
        client.next_of("pong").await;
    }
}

/// xorshift64*: a seeded stream of numbers, so that a failure can be replayed.
struct Seeded(u64);

impl Seeded {
    fn pick(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

/// Writers whose transactions overlap and commit in any order, drains in pieces.
fn live_a_little(server: &Server, seed: &mut Seeded, open: &mut Vec<u64>, next: &mut u64) {
    for _ in 0..seed.pick(6) + 1 {
        match seed.pick(5) {
            0 => open.push(server.world.open()),
            1 if !open.is_empty() => server.world.end(open.swap_remove(seed.pick(open.len() as u64) as usize)),
            2 => server.world.begin_drain(seed.pick(3) as usize + 1),
            _ => {
                if open.is_empty() {
                    open.push(server.world.open());
                }
                let xid = open[seed.pick(open.len() as u64) as usize];
                *next += 1;
                server.world.write(xid, ["a", "b"][seed.pick(2) as usize], &next.to_string());
            }
        }
    }
}

fn check(got: &[String], want: Vec<String>, seed: u64) {
    let sorted = |mut items: Vec<String>| {
        items.sort_by_key(|n| n.parse::<u64>().expect("a number"));
        items
    };
    assert_eq!(sorted(got.to_vec()), sorted(want), "seed {seed}");
}

/// The oracle: over many connections that break anywhere, every committed event arrives once.
#[tokio::test]
async fn websockets_that_break_anywhere_lose_and_repeat_nothing() {
    for number in 1..=8u64 {
        let hub = hub::Config { recent_items_max: if number % 2 == 0 { 0 } else { 8 }, ..Default::default() };
        let server = Server::with(Settings { hub, ..Default::default() }).await;
        let mut seed = Seeded(number * 0x9e37_79b9);
        let (mut open, mut next) = (Vec::new(), 0);
        let mut cursor = server.world.cursor();
        let mut got = Vec::new();
        for _ in 0..12 {
            let mut client = resume(&server, "a", &cursor).await;
            live_a_little(&server, &mut seed, &mut open, &mut next);
            assert_eq!(client.next_of("subscribed").await["resumed"], true, "seed {number}");
            live_a_little(&server, &mut seed, &mut open, &mut next);
            server.world.drain();
            // Read some of what is due, then break.
            let due = server.world.committed("a").len() - got.len();
            for _ in 0..if due == 0 { 0 } else { seed.pick(due as u64 + 1) } {
                let event = client.next_of("event").await;
                got.push(event.raw_of("data"));
                cursor = event.str_of("cursor").to_owned();
            }
        }
        for xid in open {
            server.world.end(xid);
        }
        server.world.drain();
        let mut client = resume(&server, "a", &cursor).await;
        client.next_of("subscribed").await;
        while got.len() < server.world.committed("a").len() {
            got.push(client.next_of("event").await.raw_of("data"));
        }
        check(&got, server.world.committed("a"), number);
    }
}

/// The same for event streams over two channels and their one id.
#[tokio::test]
async fn event_streams_that_break_anywhere_lose_and_repeat_nothing() {
    for number in 1..=8u64 {
        let hub = hub::Config { recent_items_max: if number % 2 == 0 { 0 } else { 8 }, ..Default::default() };
        let server = Server::with(Settings { hub, ..Default::default() }).await;
        let mut seed = Seeded(number * 0x51ed_270b);
        let (mut open, mut next) = (Vec::new(), 0);
        let mut id = Some(server.world.cursor());
        let mut got: Vec<String> = Vec::new();
        let url = server.url("/sse?channel=a&channel=b");
        let total = |server: &Server| server.world.committed("a").len() + server.world.committed("b").len();
        for _ in 0..12 {
            live_a_little(&server, &mut seed, &mut open, &mut next);
            let mut stream = sse::Client::connect(&url, id.as_deref()).await;
            live_a_little(&server, &mut seed, &mut open, &mut next);
            server.world.drain();
            let due = total(&server) - got.len();
            let mut left = if due == 0 { 0 } else { seed.pick(due as u64 + 1) };
            while left > 0 {
                let block = patiently("a block", stream.next_block()).await.expect("the stream lasts");
                if block.id.is_some() {
                    id = block.id;
                }
                let Some(data) = block.data else { continue };
                let frame: serde_json::Value = serde_json::from_str(&data).expect("JSON");
                if frame["type"] == "event" {
                    got.push(frame["data"].to_string());
                    left -= 1;
                }
            }
        }
        for xid in open {
            server.world.end(xid);
        }
        server.world.drain();
        let mut stream = sse::Client::connect(&url, id.as_deref()).await;
        while got.len() < total(&server) {
            let data = stream.next().await.data.expect("data");
            let frame: serde_json::Value = serde_json::from_str(&data).expect("JSON");
            if frame["type"] == "event" {
                got.push(frame["data"].to_string());
            }
        }
        let want = [server.world.committed("a"), server.world.committed("b")].concat();
        check(&got, want, number);
    }
}
