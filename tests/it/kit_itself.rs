//! The kit is what the other tests trust: does it do what it says?

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::kit::{Proxy, TestDb, patiently, sse, wait_until, ws};

/// Sends back what comes.
async fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut s, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut r, mut w) = s.split();
                tokio::io::copy(&mut r, &mut w).await
            });
        }
    });
    addr
}

async fn round_trip(s: &mut TcpStream) -> std::io::Result<()> {
    s.write_all(b"hello").await?;
    let mut back = [0; 5];
    patiently("the echo", s.read_exact(&mut back)).await?;
    assert_eq!(&back, b"hello");
    Ok(())
}

#[tokio::test]
async fn databases_are_apart_and_belong_to_an_ordinary_role() {
    let (a, b) = tokio::join!(TestDb::bare(), TestDb::bare());
    a.exec("create table only_here (i int); insert into only_here values (1)").await;
    assert_eq!(a.text("select count(*)::text from only_here").await, "1");
    assert!(b.try_exec("select * from only_here").await.is_err());
    assert_eq!(a.text("select rolsuper::text from pg_roles where rolname = current_user").await, "false");
}

#[tokio::test]
async fn new_databases_have_the_migrations_that_there_are() {
    let (a, b) = tokio::join!(TestDb::new(), TestDb::new());
    let applied = "select to_regclass('rowcast._migration')::text";
    let there = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).exists();
    for db in [a, b] {
        assert_eq!(db.texts(applied).await, [there.then(|| "rowcast._migration".to_owned())]);
    }
}

#[tokio::test]
async fn a_proxy_passes_delays_cuts_and_counts() {
    let proxy = Proxy::to_tcp(echo().await).await;
    let mut s = TcpStream::connect(proxy.addr()).await.expect("open");
    round_trip(&mut s).await.expect("passes");
    assert_eq!((proxy.accepted(), proxy.open(), proxy.bytes_up(), proxy.bytes_down()), (1, 1, 5, 5));

    proxy.delay(30);
    let t = Instant::now();
    round_trip(&mut s).await.expect("passes late");
    assert!(t.elapsed() >= Duration::from_millis(60), "{:?}", t.elapsed());

    proxy.cut().await;
    let e = patiently("the reset", s.read(&mut [0; 1])).await.expect_err("cut is a reset, not an end");
    assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset);
    proxy.restore().await;
    let mut s = TcpStream::connect(proxy.addr()).await.expect("open again");
    round_trip(&mut s).await.expect("passes again");
}

#[tokio::test]
async fn a_blackhole_holds_both_ways_and_loses_nothing() {
    let proxy = Proxy::to_tcp(echo().await).await;
    let mut old = TcpStream::connect(proxy.addr()).await.expect("open");
    round_trip(&mut old).await.expect("passes");
    proxy.blackhole();
    let mut new = TcpStream::connect(proxy.addr()).await.expect("a blackhole takes connections");
    for s in [&mut old, &mut new] {
        s.write_all(b"into the dark").await.expect("the kernel takes it");
        let silence = tokio::time::timeout(Duration::from_millis(60), s.read(&mut [0; 1])).await;
        assert!(silence.is_err(), "{silence:?}");
    }
    assert_eq!(proxy.bytes_up(), 5);
    proxy.restore().await;
    for s in [&mut old, &mut new] {
        let mut back = [0; 13];
        patiently("what was held", s.read_exact(&mut back)).await.expect("held, not lost");
        assert_eq!(&back, b"into the dark");
    }
}

#[tokio::test]
async fn a_refusing_proxy_has_no_port() {
    let proxy = Proxy::to_tcp(echo().await).await;
    let mut old = TcpStream::connect(proxy.addr()).await.expect("open");
    round_trip(&mut old).await.expect("passes");
    proxy.refuse().await;
    let e = TcpStream::connect(proxy.addr()).await.expect_err("closed");
    assert_eq!(e.kind(), std::io::ErrorKind::ConnectionRefused);
    round_trip(&mut old).await.expect("standing connections go on");
    proxy.restore().await;
    TcpStream::connect(proxy.addr()).await.expect("open again");
}

#[tokio::test]
async fn postgres_is_reached_through_a_proxy() {
    let db = TestDb::bare().await;
    let proxy = db.proxy().await;
    let mut c = PgConnection::connect(&db.url_through(&proxy)).await.expect("passes");
    sqlx::raw_sql("select 1").execute(&mut c).await.expect("passes");
    proxy.cut().await;
    assert!(patiently("the error", sqlx::raw_sql("select 1").execute(&mut c)).await.is_err());
    drop(c);
    let others = "select count(*)::text from pg_stat_activity where backend_type = 'client backend'
                  and datname = current_database() and pid <> pg_backend_pid()";
    wait_until("the backend has noticed", async || db.text(others).await == "0").await;
}

#[tokio::test]
async fn the_websocket_client_keeps_numbers_and_tells_how_it_ended() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("bound");
    let server = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.expect("a client");
        let mut ws = tokio_tungstenite::accept_async(tcp).await.expect("a handshake");
        let text = r#"{"type":"event","data":{"n":10.50,"big":9007199254740993.0001}}"#;
        ws.send(Message::text(r#"{"type":"heartbeat"}"#)).await.expect("sent");
        ws.send(Message::text(text)).await.expect("sent");
        let seen = ws.next().await.expect("a frame");
        let close = CloseFrame { code: 4001.into(), reason: "enough".into() };
        let _ = ws.close(Some(close)).await;
        seen
    });
    let mut client = ws::Client::connect(&format!("ws://{addr}/ws")).await;
    let frame = client.next_of("event").await;
    assert_eq!(frame.raw_of("data"), r#"{"n":10.50,"big":9007199254740993.0001}"#);
    // RSV1 without an extension: no library would send it.
    client.send_raw_bytes(&[0xc1, 0x80, 0, 0, 0, 0]).await;
    let closed = client.expect_close().await;
    assert_eq!((closed.code, closed.reason.as_str()), (4001, "enough"));
    assert!(server.await.expect("no panic").is_err(), "the server saw the reserved bit");
}

#[tokio::test]
async fn the_event_stream_client_reads_blocks() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a client");
        let mut head = [0; 2000];
        let n = tcp.read(&mut head).await.expect("a request");
        let resumed = String::from_utf8_lossy(&head[..n]).contains("last-event-id: c7");
        for part in [
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n",
            ": hello\n\nid: c8\n\nid: c9\nevent: row\ndata: {\"a\":\ndata: 1",
            &format!("}}\n\ndata: {resumed}\n\n"),
        ] {
            tcp.write_all(part.as_bytes()).await.expect("sent");
        }
    });
    let mut client = sse::Client::connect(&format!("http://{addr}/sse"), Some("c7")).await;
    assert_eq!(client.status, 200);
    assert_eq!(client.next_block().await.expect("a block").comments, ["hello"]);
    let block = client.next().await;
    assert_eq!((block.id.as_deref(), block.event.as_deref()), (Some("c9"), Some("row")));
    assert_eq!(block.data.as_deref(), Some("{\"a\":\n1}"));
    assert_eq!(client.next().await.data.as_deref(), Some("true"));
    assert_eq!(client.next_block().await, None);
}
