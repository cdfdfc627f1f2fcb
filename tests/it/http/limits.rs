//! Who takes more than is allowed is told so, with a code; and is counted.

use rowcast::connection::Limit;
use rowcast::{http, hub};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::kit::{http_client, patiently, sse, wait_until, ws};
use crate::native::server::{Server, Settings};

/// A server for which this machine is an address like others.
async fn server(http: http::Config) -> Server {
    let http = http::Config { unlimited_addresses: Vec::new(), ..http };
    Server::with(Settings { http, ..Default::default() }).await
}

async fn connect(server: &Server) -> TcpStream {
    patiently("a connection", TcpStream::connect(server.address)).await.expect("open")
}

/// What the server says of its own accord, to the connection's end.
async fn last_words(tcp: &mut TcpStream) -> String {
    let mut all = Vec::new();
    // A reset is an end, too.
    let _ = patiently("the end", tcp.read_to_end(&mut all)).await;
    String::from_utf8_lossy(&all).into_owned()
}

fn told(answer: &str, status: u16, code: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    let problem: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}"));
    assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(status)));
    assert!(problem["detail"].as_str().expect("a sentence").ends_with('.'));
}

fn counted(server: &Server, limit: Limit) -> u64 {
    server.shared.stats.refusals.of(limit)
}

/// A handshake as a proxy passes it on.
async fn through(server: &Server, client: &str) -> Result<ws::Client, u16> {
    let mut request = format!("ws://{}/ws", server.address).into_client_request().expect("a request");
    request.headers_mut().insert("x-forwarded-for", client.parse().expect("a value"));
    match ws::Client::try_connect(request).await {
        Ok(client) => Ok(client),
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn an_address_has_so_many_connections_whatever_for() {
    let server = server(http::Config { connections_per_address_max: 2, ..Default::default() }).await;
    let silent = connect(&server).await;
    let mut socket = server.client().await;
    told(&last_words(&mut connect(&server).await).await, 429, "connection_limit");
    drop(silent);
    let mut second = None;
    wait_until("its place is free", async || {
        let url = format!("ws://{}/ws", server.address);
        second = ws::Client::try_connect(url).await.ok();
        second.is_some()
    })
    .await;
    // A WebSocket keeps the place of its connection until it ends.
    told(&last_words(&mut connect(&server).await).await, 429, "connection_limit");
    socket.send(json!({ "type": "ping" })).await;
    socket.next_of("pong").await;
    socket.close().await;
    wait_until("its place is free", async || {
        ws::Client::try_connect(format!("ws://{}/ws", server.address)).await.is_ok()
    })
    .await;
    assert!(counted(&server, Limit::ConnectionsPerAddress) >= 2);
}

#[tokio::test]
async fn there_are_never_more_connections_than_the_server_takes() {
    let server = server(http::Config { connections_max: 5, ..Default::default() }).await;
    let url = format!("ws://{}/ws", server.address);
    let all = futures_util::future::join_all((0..40).map(|_| ws::Client::try_connect(&*url))).await;
    let mut inside: Vec<_> = all.into_iter().filter_map(Result::ok).collect();
    assert_eq!(inside.len(), 5);
    let stream = http_client().get(server.url("/sse?channel=a")).send().await.expect("an answer");
    assert_eq!(stream.status().as_u16(), 503);
    // Who leaves makes room, also by way of a stream.
    inside.pop().expect("one").close().await;
    let streams = async || sse::Client::connect(&server.url("/sse?channel=a"), None).await;
    let mut stream = streams().await;
    wait_until("there is room", async || {
        if stream.status.as_u16() != 200 {
            stream = streams().await;
        }
        stream.status.as_u16() == 200
    })
    .await;
    assert!(ws::Client::try_connect(&*url).await.is_err());
    drop(stream);
    wait_until("there is room again", async || ws::Client::try_connect(&*url).await.is_ok()).await;
}

#[tokio::test]
async fn behind_a_proxy_of_ours_each_client_counts_for_itself() {
    let config = || http::Config { connections_per_address_max: 1, ..Default::default() };
    let trusting = server(http::Config { trusted_proxies: vec!["127.0.0.0/8".into()], ..config() }).await;
    let one = through(&trusting, "6.6.6.6, 203.0.113.1").await.expect("the first of its address");
    assert_eq!(through(&trusting, "203.0.113.1").await.err(), Some(429));
    let _other = through(&trusting, "203.0.113.2").await.expect("another address");
    let _v6 = through(&trusting, "2001:db8:1:2::1").await.expect("the first of its network");
    assert_eq!(through(&trusting, "2001:db8:1:2:ffff::9").await.err(), Some(429), "the same /64");
    let _other_v6 = through(&trusting, "2001:db8:1:3::1").await.expect("another /64");
    let stream = |client: &'static str| {
        let url = trusting.url("/sse?channel=a");
        async move { http_client().get(url).header("x-forwarded-for", client).send().await.expect("an answer") }
    };
    assert_eq!(stream("203.0.113.1").await.status(), 429);
    let reading = stream("203.0.113.4").await;
    assert_eq!((reading.status().as_u16(), stream("203.0.113.4").await.status().as_u16()), (200, 429));
    drop(reading);
    wait_until("a stream that ended gives its place back", async || stream("203.0.113.4").await.status() == 200).await;
    drop(one);
    wait_until("a socket that ended gives its place back", async || through(&trusting, "203.0.113.1").await.is_ok())
        .await;

    // Whom nobody trusts is who it is, whatever it says.
    let server = server(config()).await;
    let _held = through(&server, "203.0.113.1").await.expect("the first");
    told(&last_words(&mut connect(&server).await).await, 429, "connection_limit");
}

#[tokio::test]
async fn new_connections_have_a_rate() {
    let per_address = http::Config { new_connections_per_address_per_s_max: 1, ..Default::default() };
    let all = http::Config { new_connections_per_s_max: 1, ..Default::default() };
    for (config, limit, status, code) in [
        (per_address, Limit::NewConnectionsPerAddress, 429, "too_many_requests"),
        (all, Limit::NewConnections, 503, "too_many_connections"),
    ] {
        let server = server(config).await;
        let mut open = Vec::new();
        for _ in 0..8 {
            open.push(connect(&server).await);
        }
        wait_until("somebody is refused", async || counted(&server, limit) > 0).await;
        told(&last_words(open.last_mut().expect("some")).await, status, code);
    }
}

#[tokio::test]
async fn requests_and_publishing_have_a_rate() {
    let server = server(http::Config { requests_per_address_per_s_max: 2, ..Default::default() }).await;
    let ask = || async { http_client().get(server.url("/healthz")).send().await.expect("an answer") };
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(ask().await);
    }
    let refused = answers.iter().find(|a| a.status() == 429).expect("20 at once are too many");
    assert_eq!(refused.headers()["retry-after"], "1");
    assert!(answers[..4].iter().all(|a| a.status() == 200), "two seconds' worth at once");
    wait_until("it may ask again", async || ask().await.status() == 200).await;
    assert!(counted(&server, Limit::Requests) > 0);

    let server = self::server(http::Config { publishes_per_s_max: 1, ..Default::default() }).await;
    let publish = || async {
        let request =
            http_client().post(server.url("/api/channels/a/events")).header("content-type", "application/json");
        request.body(r#"{"event":"e","data":1}"#).send().await.expect("an answer").status().as_u16()
    };
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(publish().await);
    }
    assert!(statuses[..2] == [202, 202] && statuses.contains(&429), "{statuses:?}");
    assert!(counted(&server, Limit::Publishes) > 0 && http_client().get(server.url("/healthz")).send().await.is_ok());
}

#[tokio::test]
async fn who_has_not_asked_for_anything_yet_takes_no_more_room_than_is_set_aside() {
    let server = server(http::Config { handshakes_max: 2, ..Default::default() }).await;
    let mut socket = server.client().await;
    let (first, second) = (connect(&server).await, connect(&server).await);
    told(&last_words(&mut connect(&server).await).await, 503, "too_many_connections");
    socket.send(json!({ "type": "ping" })).await;
    socket.next_of("pong").await;
    drop((first, second));
    wait_until("there is room again", async || http_client().get(server.url("/healthz")).send().await.is_ok()).await;
    // Whoever has asked is no handshake any more.
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut tcp = connect(&server).await;
        tcp.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
        let mut piece = [0; 12];
        patiently("an answer", tcp.read_exact(&mut piece)).await.expect("open");
        assert_eq!(&piece, b"HTTP/1.1 200");
        open.push(tcp);
    }
    assert!(counted(&server, Limit::Handshakes) >= 1);
}

#[tokio::test]
async fn headers_have_a_size_and_a_time() {
    let config = http::Config { header_bytes_max: 8 * 1024, header_timeout_ms: 300, ..Default::default() };
    let server = server(config).await;
    let mut large = connect(&server).await;
    let head = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n", "x".repeat(20_000));
    // Only part of it may be taken.
    let _ = large.write_all(head.as_bytes()).await;
    assert!(last_words(&mut large).await.starts_with("HTTP/1.1 431 ") || counted(&server, Limit::HeaderBytes) == 1);
    assert_eq!(counted(&server, Limit::HeaderBytes), 1);

    let mut slow = connect(&server).await;
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHo").await.expect("sent");
    told(&last_words(&mut slow).await, 408, "timed_out");
    assert_eq!(counted(&server, Limit::HeaderTime), 1);

    // Many requests on one connection are not one long header, nor is a body.
    let mut busy = connect(&server).await;
    for _ in 0..100 {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(500));
        busy.write_all(request.as_bytes()).await.expect("sent");
        let mut got = Vec::new();
        while !got.ends_with(b"}") {
            let mut piece = [0; 1024];
            let n = patiently("an answer", busy.read(&mut piece)).await.expect("open");
            assert!(n > 0, "cut off: {}", String::from_utf8_lossy(&got));
            got.extend_from_slice(&piece[..n]);
        }
    }
    let body = format!(r#"{{"event":"e","data":"{}"}}"#, "x".repeat(200_000));
    let request = http_client().post(server.url("/api/channels/a/events")).header("content-type", "application/json");
    assert_eq!(request.body(body).send().await.expect("an answer").status(), 202);
}

#[tokio::test]
async fn a_client_that_talks_too_much_is_closed_with_a_reason() {
    let frames = hub::Config { frames_in_per_s_max: 10, ..Default::default() };
    let bytes = hub::Config { bytes_in_per_s_max: 10_000, ..Default::default() };
    for (hub, said, size) in [(frames, "frames", 10), (bytes, "bytes", 5_000)] {
        let server = Server::with(Settings { hub, ..Default::default() }).await;
        let mut other = server.subscriber("a").await;
        let mut client = server.client().await;
        for n in 0..10 {
            // Ten small ones at once are fine, and so is none of the large ones after the fourth.
            let text = format!(r#"{{"type":"ping","id":{n},"x":"{}"}}"#, "x".repeat(size));
            client.send_message(Message::text(text)).await;
        }
        for n in 0..100 {
            // It may be closed already.
            client.send_raw(format!(r#"{{"type":"ping","id":{n}}}"#)).await;
        }
        let closed = client.expect_close().await;
        assert_eq!(closed.code, 4429, "{closed:?}");
        assert!(closed.reason.contains("rate_limited") && closed.reason.contains(said), "{closed:?}");
        assert_eq!((server.hub.stats().flood_closed, server.hub.stats().protocol_errors), (1, 0));
        server.world.say("a", "1");
        assert_eq!(other.next_of("event").await["data"], 1);
    }
}

#[tokio::test]
async fn a_reader_that_reads_nothing_or_leaves_gives_its_socket_back() {
    let http = http::Config { write_stall_timeout_ms: 300, ..Default::default() };
    let hub = hub::Config { backlog_bytes_max: 64 * 1024, send_buffer_bytes: 8 * 1024, ..Default::default() };
    let server = Server::with(Settings { http, hub, ..Default::default() }).await;
    let small = TcpSocket::new_v4().expect("a socket");
    small.set_recv_buffer_size(4096).expect("set");
    let mut deaf = patiently("a connection", small.connect(server.address)).await.expect("open");
    deaf.write_all(b"GET /sse?channel=a HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    wait_until("it listens", async || !server.hub.channels().is_empty()).await;
    let large = format!("\"{}\"", "x".repeat(60_000));
    server.world.say("a", &large);
    // More than this at once, and the hub would end the stream before a byte of it is written.
    let mut seen = [0; 2048];
    wait_until("some of it is there", async || deaf.peek(&mut seen).await.expect("open") == seen.len()).await;
    wait_until("its socket is given up", async || {
        server.world.say("a", &large);
        counted(&server, Limit::WriteStall) == 1
    })
    .await;
    wait_until("it is forgotten", async || server.hub.connections() == 0).await;

    // No heartbeat comes for 25 s, nothing is sent: the end of the connection itself is noticed.
    let stream = sse::Client::connect(&server.url("/sse?channel=b"), None).await;
    wait_until("it is there", async || server.hub.connections() == 1).await;
    drop(stream);
    wait_until("it is gone", async || server.hub.connections() == 0).await;
}

#[tokio::test]
async fn a_server_that_is_not_ready_tells_strangers_only_that() {
    let why = |http: http::Config, relayed: Option<&'static str>| async move {
        let server = Server::with(Settings { http, ..Default::default() }).await;
        server.readiness.lower("is stopping, as postgres://host says");
        let mut request = http_client().get(server.url("/readyz"));
        if let Some(header) = relayed {
            request = request.header(header, "203.0.113.9");
        }
        let text = request.send().await.expect("an answer").text().await.expect("a text");
        let body: Value = serde_json::from_str(&text).expect("JSON");
        body["reasons"][0]["why"].as_str().expect("a sentence").contains("postgres://")
    };
    assert!(why(http::Config::default(), None).await, "this machine hears it");
    for header in ["x-forwarded-for", "forwarded", "via", "x-real-ip", "x-forwarded-host", "x-forwarded-proto"] {
        assert!(!why(http::Config::default(), Some(header)).await, "whom a proxy speaks for does not: {header}");
    }
    let everybody = http::Config { readyz_detail: true, ..Default::default() };
    assert!(why(everybody, Some("via")).await, "unless it is wished so");
}
