//! Some do their worst, and the others do not notice.

use std::time::Instant;

use rowcast::hub;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::kit::{Binary, http_client, patiently, wait_until, ws};
use crate::native::server::{Server, Settings};

/// 500 connections whose headers never end, and a client that sends 100,000 frames as fast as they are taken, cut off
/// for it or not: a subscriber has each event when it is said, and newcomers come in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_handshakes_and_a_flood_starve_nobody() {
    for frames_in_per_s_max in [200, 0] {
        let hub = hub::Config { frames_in_per_s_max, bytes_in_per_s_max: 0, ..Default::default() };
        let server = Server::with(Settings { hub, ..Default::default() }).await;
        let mut good = server.subscriber("a").await;
        let mut slow = Vec::new();
        for _ in 0..500 {
            let mut tcp = TcpStream::connect(server.address).await.expect("open");
            tcp.write_all(b"GET /ws HTTP/1.1\r\nHost: x\r\nX-A").await.expect("sent");
            slow.push(tcp);
        }
        let flooder = server.client().await;
        let flood = tokio::spawn(async move {
            let began = Instant::now();
            let closed = flooder.flood(r#"{"type":"ping"}"#, 100_000).await;
            (closed, began.elapsed())
        });
        for n in 0..50 {
            server.world.say("a", &n.to_string());
            assert_eq!(good.next_of("event").await["data"], n);
        }
        let mut late = server.subscriber("a").await;
        server.world.say("a", "50");
        assert_eq!(
            (good.next_of("event").await["data"].as_u64(), late.next_of("event").await["data"].as_u64()),
            (Some(50), Some(50))
        );
        assert!(http_client().get(server.url("/healthz")).send().await.expect("an answer").status().is_success());
        let (closed, took) =
            tokio::time::timeout(std::time::Duration::from_secs(60), flood).await.expect("an end").expect("no panic");
        println!("bound {frames_in_per_s_max}: {closed:?} after {took:?}");
        assert_eq!(closed, (frames_in_per_s_max > 0).then_some(4429));
        server.world.say("a", "51");
        assert_eq!(good.next_of("event").await["data"], 51);
        drop(slow);
    }
}

/// Without a descriptor left, the server waits for one instead of spinning, and those who are in stay in.
#[tokio::test]
async fn a_server_out_of_file_descriptors_takes_newcomers_when_it_has_some_again() {
    let db = crate::kit::TestDb::new().await;
    db.exec("create table t (id int); select rowcast.watch('t', 't')").await;
    let server = Binary::new(&["serve"])
        .env("DATABASE_URL", &db.url())
        .env("ROWCAST_LISTEN", "127.0.0.1:0")
        .env("ROWCAST_SHUTDOWN_GRACE_MS", "500");
    let mut server = server.start().ready().await;
    let mut good = ws::Client::connect(&server.ws("/ws")).await;
    good.send(json!({ "type": "subscribe", "channel": "t" })).await;
    good.skip_to("snapshot").await;
    let pid = libc::pid_t::try_from(server.pid()).expect("a pid fits");
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("our child").count() as u64;
    let limit = libc::rlimit { rlim_cur: open + 4, rlim_max: open + 400 };
    // SAFETY: the child is ours and lives; the limit is a valid struct, nothing is written.
    assert_eq!(unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &limit, std::ptr::null_mut()) }, 0);
    let address = server.url.strip_prefix("http://").expect("plain").to_owned();
    let mut crowd = Vec::new();
    for _ in 0..20 {
        crowd.push(patiently("the kernel's backlog", TcpStream::connect(&address)).await.expect("open"));
    }
    db.exec("insert into t values (1)").await;
    assert_eq!(good.next_of("event").await["data"]["id"], 1);
    drop(crowd);
    let url = server.http("/healthz");
    wait_until("newcomers are taken", async || {
        let asked = tokio::time::timeout(std::time::Duration::from_secs(1), http_client().get(&url).send()).await;
        asked.is_ok_and(|answer| answer.is_ok_and(|a| a.status().is_success()))
    })
    .await;
    server.signal(libc::SIGTERM);
    server.ended().await;
    let said = server.errors().await.lines().filter(|line| line.contains("http.accept failed")).count();
    assert!((1..100).contains(&said), "it says so, and does not spin: {said} times");
}
