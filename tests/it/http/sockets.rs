//! Raw TCP: handshakes, what comes with them, clients that dawdle, the end of the server.

use std::time::Duration;

use rowcast::{http, hub};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kit::{patiently, ws};
use crate::native::server::{Server, Settings};

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

async fn connect(server: &Server) -> TcpStream {
    patiently("a connection", TcpStream::connect(server.address)).await.expect("open")
}

/// Reads until `end` is there.
async fn read_to(tcp: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut got = Vec::new();
    let found = async {
        while !got.windows(end.len()).any(|w| w == end) {
            let mut piece = [0; 4096];
            let n = tcp.read(&mut piece).await.expect("readable");
            assert!(n > 0, "ended before {:?}: {}", String::from_utf8_lossy(end), String::from_utf8_lossy(&got));
            got.extend_from_slice(&piece[..n]);
        }
    };
    patiently("the answer", found).await;
    got
}

/// A client's text frame, masked with zeros.
fn text_frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        n if n < 126 => frame.push(0x80 | n as u8),
        n => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(n as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

#[tokio::test]
async fn handshakes_are_answered_as_the_standard_says() {
    let server = Server::start().await;
    let cases = [
        (HANDSHAKE.to_owned(), 101, "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        (HANDSHAKE.replace("/ws", "/ws/"), 101, "upgrade: websocket"),
        (format!("{HANDSHAKE}Sec-WebSocket-Protocol: x, rowcast.v1\r\n"), 101, "sec-websocket-protocol: rowcast.v1"),
        (HANDSHAKE.replace("Version: 13", "Version: 12"), 426, "sec-websocket-version: 13"),
        (HANDSHAKE.replace("Upgrade: websocket\r\n", ""), 426, "upgrade: websocket"),
        (HANDSHAKE.replace("dGhlIHNhbXBsZSBub25jZQ==", "short"), 400, "bad_handshake"),
        (HANDSHAKE.replace("GET", "POST"), 405, "allow: GET"),
        (HANDSHAKE.replace("/ws", "/nowhere"), 404, "not_found"),
    ];
    for (request, status, says) in cases {
        let mut tcp = connect(&server).await;
        tcp.write_all(format!("{request}\r\n").as_bytes()).await.expect("sent");
        let end: &[u8] = if status == 101 { b"\r\n\r\n" } else { b"}" };
        let answer = String::from_utf8_lossy(&read_to(&mut tcp, end).await).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n{answer}");
        assert!(answer.contains(says), "{says} in\n{answer}");
        let offered = request.contains("Protocol");
        assert_eq!(answer.contains("sec-websocket-protocol"), offered && status == 101);
    }
}

/// What comes with the handshake reaches the shard, cut anywhere, and however much hyper had read ahead.
#[tokio::test]
async fn frames_that_come_with_the_handshake_are_not_lost() {
    let server = Server::start().await;
    let long = format!(r#"{{"type":"ping","id":"1","x":"{}"}}"#, "x".repeat(60_000));
    let pings = [text_frame(&long), text_frame(r#"{"type":"ping","id":"2"}"#)].concat();
    for cut in [0, 1, 5, 4000, 9000, 60_050, pings.len()] {
        let mut tcp = connect(&server).await;
        tcp.set_nodelay(true).expect("set");
        let mut first = format!("{HANDSHAKE}\r\n").into_bytes();
        first.extend_from_slice(&pings[..cut]);
        tcp.write_all(&first).await.expect("sent");
        let head = read_to(&mut tcp, b"\r\n\r\n").await;
        assert!(head.starts_with(b"HTTP/1.1 101"), "cut {cut}");
        tcp.write_all(&pings[cut..]).await.expect("sent");
        let want: &[u8] = br#"{"type":"pong","id":"2"}"#;
        if !head.windows(want.len()).any(|w| w == want) {
            read_to(&mut tcp, want).await;
        }
    }
}

#[tokio::test]
async fn clients_that_dawdle_with_their_headers_are_cut_off() {
    let config = http::Config { header_timeout_ms: 100, idle_timeout_ms: 100, ..Default::default() };
    let server = Server::with(Settings { http: config, ..Default::default() }).await;
    let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    for first in [&b""[..], b"GET /healthz HTTP/1.1\r\nHo", request] {
        let mut tcp = connect(&server).await;
        tcp.write_all(first).await.expect("sent");
        let mut all = Vec::new();
        // The answer, if there was a request; then the end.
        let _ = patiently("the end of the connection", tcp.read_to_end(&mut all)).await;
        assert_eq!(all.starts_with(b"HTTP/1.1 200"), first == request, "{}", String::from_utf8_lossy(&all));
    }
    // A stream is not idle, however quiet.
    let mut stream = crate::kit::sse::Client::connect(&server.url("/sse?channel=a"), None).await;
    while stream.next_block().await.expect("a block").id.is_none() {}
    let mut idle = connect(&server).await;
    let _ = patiently("the end of the idle one", idle.read(&mut [0; 1])).await;
    server.world.say("a", "1");
    stream.next().await;
}

#[tokio::test]
async fn there_is_room_for_so_many_and_no_more() {
    let config = http::Config { connections_max: 1, ..Default::default() };
    let server = Server::with(Settings { http: config, ..Default::default() }).await;
    let _first = server.client().await;
    let refused = ws::Client::try_connect(format!("ws://{}/ws", server.address)).await;
    match refused {
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
            assert_eq!(response.status(), 503);
            assert!(response.headers().contains_key("retry-after"));
        }
        other => panic!("{:?}", other.map(|_| "connected")),
    }
    let stream = crate::kit::sse::Client::connect(&server.url("/sse?channel=a"), None).await;
    assert_eq!(stream.status, 503);
    assert!(stream.body().await.contains("too_many_connections"));
}

#[tokio::test]
async fn sockets_have_no_nagle_and_a_bounded_buffer_and_outlive_the_http_server() {
    let hub = hub::Config { send_buffer_bytes: 32 * 1024, ..Default::default() };
    let mut server = Server::with(Settings { hub, ..Default::default() }).await;
    let mut client = server.subscriber("a").await;
    let mut stream = crate::kit::sse::Client::connect(&server.url("/sse?channel=a"), None).await;
    while stream.next_block().await.expect("a block").id.is_none() {}
    server.stop.take().expect("not stopped yet").send(()).expect("it runs");
    // Streams are the hub's: they go on until it ends them.
    server.world.say("a", "1");
    assert_eq!(client.next_of("event").await.raw_of("data"), "1");
    stream.next().await;
    let hub = server.hub.clone();
    let shutdown = tokio::spawn(async move { hub.shutdown(1012, "restart", Duration::from_secs(5)).await });
    assert_eq!(client.expect_close().await.code, 1012);
    while patiently("the stream's end", stream.next_block()).await.is_some() {}
    patiently("the hub's end", shutdown).await.expect("no panic");
    patiently("the server's end", server.task).await.expect("no panic").expect("no error");
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn an_address_that_is_taken_says_what_to_do() {
    let taken = Server::start().await;
    let other = Server::start().await;
    let config = http::Config { listen: taken.address.to_string(), ..Default::default() };
    let parts = http::Parts {
        shared: other.shared.clone(),
        database: other.world.clone(),
        readiness: other.readiness.clone(),
        metrics: std::sync::Arc::new(String::new),
        pages: Vec::new(),
        sockets: Vec::new(),
        rates: None,
        mint: None,
        reference: None,
        grace: std::time::Duration::from_secs(2),
    };
    let error = http::serve(config, parts, std::future::pending()).await.expect_err("taken").to_string();
    assert!(error.contains(&taken.address.to_string()) && error.contains("--listen"), "{error}");
}
