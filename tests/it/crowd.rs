//! Many clients: some that never read, and all that come back at once.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::kit::ws::Client;
use crate::kit::{Proxy, Server, TestDb, patiently, wait_until};

const READERS: usize = 180;
const DEAD: usize = 20;

async fn metric(server: &Server, name: &str) -> u64 {
    let text = crate::kit::http_client().get(server.http("/metrics")).send().await.expect("an answer");
    let text = text.text().await.expect("text");
    let line = text.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("no metric {name}"));
    line.rsplit(' ').next().and_then(|n| n.parse::<f64>().ok()).expect("a number") as u64
}

async fn subscriber(url: &str, channel: &str) -> Client {
    let mut client = Client::connect(url).await;
    client.next_of("welcome").await;
    client.send(json!({"type": "subscribe", "channel": channel})).await;
    client.next_of("subscribed").await;
    client.next_of("snapshot").await;
    client
}

/// A subscriber with a small window that then reads nothing more, nor answers a ping.
async fn dead(server: &Server, channel: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small window");
    let address = server.url.trim_start_matches("http://").parse().expect("an address");
    let mut stream = patiently("a connection", socket.connect(address)).await.expect("open");
    let ask = "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
               sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.expect("sent");
    let payload = json!({"type": "subscribe", "channel": channel}).to_string();
    // Masked with zeros: the payload stays as it is.
    let mut frame = vec![0x81, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(payload.as_bytes());
    stream.write_all(&frame).await.expect("sent");
    let mut seen = Vec::new();
    while !seen.windows(10).any(|w| w == b"\"snapshot\"") {
        let mut piece = [0; 512];
        let n = patiently("the snapshot", stream.read(&mut piece)).await.expect("readable");
        assert!(n > 0, "closed instead of a snapshot");
        seen.extend_from_slice(&piece[..n]);
    }
    stream
}

/// One in ten never reads. The others get everything; of a state the dead keep only the newest, of events they are cut off; what
/// waits for them is bounded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_read_cost_the_others_nothing() {
    let db = TestDb::new().await;
    db.exec(
        "create table news (id int primary key, body text); select rowcast.watch('news', 'news');
         create table live (id int primary key, n int not null, body text not null); insert into live values (1, 0, '');
         select rowcast.define_channel('live:{id}', kind => 'state', conflate => '{id}'); select rowcast.watch('live', 'live:{id}')",
    )
    .await;
    let server = Server::with(&db.url(), |c| {
        c.hub.backlog_bytes_max = 256 * 1024;
        c.hub.close_grace_ms = 200;
    })
    .await;
    // Far more than kernel buffers and the backlog hold together.
    const EVENTS: usize = 120;
    let read = tokio::sync::watch::Sender::new([0; READERS]);
    let mut readers = JoinSet::new();
    for reader in 0..READERS {
        let mut client = subscriber(&server.ws(), if reader % 2 == 0 { "news" } else { "live:1" }).await;
        let read = read.clone();
        readers.spawn(async move {
            let mut last = 0;
            while last < EVENTS {
                let event = client.next_of("event").await;
                if reader % 2 == 0 {
                    assert_eq!(event["data"]["id"], last, "every event, once and in order");
                    last += 1;
                } else {
                    last = event["data"]["n"].as_u64().expect("a number") as usize;
                }
                read.send_modify(|read| read[reader] = last);
            }
        });
    }
    let mut stalled = Vec::new();
    for n in 0..DEAD {
        stalled.push(dead(&server, if n % 2 == 0 { "news" } else { "live:1" }).await);
    }
    // However slow the machine, who reads is never further behind than a backlog holds; that the dead read nothing holds up nobody.
    const AHEAD_MAX: usize = 8;
    let mut seen = read.subscribe();
    for n in 0..EVENTS {
        let caught_up = seen.wait_for(|read| read.iter().all(|read| read + AHEAD_MAX > n));
        patiently("everyone who reads", caught_up).await.expect("the sender lives here");
        db.exec(&format!(
            "insert into news values ({n}, repeat('x', 20000)); update live set n = {n} + 1, body = repeat('y', 20000)"
        ))
        .await;
    }
    while let Some(reader) = readers.join_next().await {
        reader.expect("a reader saw everything");
    }
    // Events cannot be left out: those who do not read them are cut off. A state can: its dead keep their place.
    wait_until("the dead listeners of events to be closed", async || {
        metric(&server, "rowcast_hub_slow_closed_total").await == (DEAD / 2) as u64
    })
    .await;
    assert!(metric(&server, "rowcast_hub_conflated_total").await > 0, "states were left out for those who do not read");
    // Read at last, the newest state is what the end of the line holds.
    let mut late = stalled.swap_remove(1);
    let newest = format!("\"n\":{EVENTS},");
    let mut seen = Vec::new();
    patiently("the newest state", async {
        let mut piece = vec![0; 65536];
        while !seen.windows(newest.len()).any(|w: &[u8]| w == newest.as_bytes()) {
            let n = late.read(&mut piece).await.expect("readable");
            assert!(n > 0, "closed instead of the newest state");
            seen.drain(..seen.len().saturating_sub(64));
            seen.extend_from_slice(&piece[..n]);
        }
    })
    .await;
    server.stop().await;
}

/// Everybody is cut at once and resumes: nothing is lost, and Postgres is asked a handful of times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_reconnections_costs_a_handful_of_queries() {
    const CLIENTS: usize = 300;
    let db = TestDb::new().await;
    db.exec("create table item (id int primary key); select rowcast.watch('item', 'items')").await;
    let server = Server::start(&db).await;
    let address = server.url.trim_start_matches("http://").parse().expect("an address");
    let proxy = Proxy::to_tcp(address).await;
    let url = format!("ws://{}/ws", proxy.addr());
    let mut cursors = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = Client::connect(&url).await;
        client.next_of("welcome").await;
        client.send(json!({"type": "subscribe", "channel": "items"})).await;
        cursors.push(client.next_of("subscribed").await.str_of("cursor").to_owned());
        clients.push(client);
    }
    tokio::time::timeout(Duration::from_secs(10), proxy.cut()).await.expect("cut");
    drop(clients);
    db.exec("insert into item select generate_series(1, 50)").await;
    let (joined, replays) = (metric(&server, r#"rowcast_joins_total{how="resumed"}"#).await, db_calls(&db).await);
    let tasks: Vec<_> = cursors
        .into_iter()
        .map(|cursor| {
            let url = url.clone();
            tokio::spawn(async move {
                let mut client = Client::connect(&url).await;
                client.next_of("welcome").await;
                client.send(json!({"type": "subscribe", "channel": "items", "cursor": cursor})).await;
                assert_eq!(client.next_of("subscribed").await["resumed"], true);
                for id in 1..=50 {
                    assert_eq!(client.next_of("event").await["data"]["id"], id);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("resumed");
    }
    assert_eq!(metric(&server, r#"rowcast_joins_total{how="resumed"}"#).await - joined, CLIENTS as u64);
    let asked = db_calls(&db).await - replays;
    assert!(asked < 60, "{asked} transactions for {CLIENTS} clients");
    server.stop().await;
}

/// Transactions of this database so far, our own question included.
async fn db_calls(db: &TestDb<'_>) -> i64 {
    let sql = "select (xact_commit + xact_rollback)::text from pg_stat_database where datname = current_database()";
    db.text(sql).await.parse().expect("a number")
}
