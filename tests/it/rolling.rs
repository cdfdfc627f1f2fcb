//! One instance after the other is restarted, behind a load balancer that asks `/readyz`, while everything goes on.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::kit::ws::Client;
use crate::kit::{Binary, Running, TestDb, http_client, patiently, wait_until};

/// Passes each connection to one that is ready, in turn; asks them ten times a second.
struct Balancer {
    address: SocketAddr,
    /// Backends, and whether they said to be ready.
    backends: Arc<Mutex<Vec<(SocketAddr, bool)>>>,
    _tasks: JoinSet<()>,
}

impl Balancer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let backends = Arc::new(Mutex::new(Vec::<(SocketAddr, bool)>::new()));
        let mut tasks = JoinSet::new();
        let asked = backends.clone();
        tasks.spawn(async move {
            let client = http_client();
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            loop {
                ticks.tick().await;
                let all: Vec<SocketAddr> = asked.lock().expect("whole").iter().map(|(a, _)| *a).collect();
                for address in all {
                    let answer = client.get(format!("http://{address}/readyz")).send().await;
                    let ready = answer.is_ok_and(|a| a.status().is_success());
                    asked.lock().expect("whole").iter_mut().filter(|b| b.0 == address).for_each(|b| b.1 = ready);
                }
            }
        });
        let chosen = backends.clone();
        tasks.spawn(async move {
            let mut turn = 0;
            while let Ok((mut from, _)) = listener.accept().await {
                let ready: Vec<SocketAddr> =
                    chosen.lock().expect("whole").iter().filter(|b| b.1).map(|b| b.0).collect();
                turn += 1;
                let Some(to) = ready.get(turn % ready.len().max(1)).copied() else { continue };
                tokio::spawn(async move {
                    let Ok(mut to) = TcpStream::connect(to).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await; // who ends it, ends it
                });
            }
        });
        Self { address, backends, _tasks: tasks }
    }

    fn add(&self, server: &Running) -> SocketAddr {
        let address = server.url.trim_start_matches("http://").parse().expect("an address");
        self.backends.lock().expect("whole").push((address, false));
        address
    }

    fn remove(&self, address: SocketAddr) {
        self.backends.lock().expect("whole").retain(|b| b.0 != address);
    }

    async fn wait_ready(&self, address: SocketAddr) {
        let is = || self.backends.lock().expect("whole").contains(&(address, true));
        wait_until("the balancer sends somebody there", async || is()).await;
    }
}

/// Follows until it has seen `last`, over as many connections as it takes; how often it was told to come back.
async fn follow(balancer: SocketAddr, begun: Arc<AtomicU64>, last: Arc<AtomicU64>) -> usize {
    let (mut seen, mut told) = (0, 0);
    let mut cursor = None;
    loop {
        let Ok(mut ws) = Client::try_connect(format!("ws://{balancer}/ws")).await else { continue };
        ws.send_raw(json!({"type": "subscribe", "channel": "items", "cursor": cursor}).to_string()).await;
        loop {
            match ws.next_or_close().await {
                Err(closed) => {
                    if closed.code == 1012 {
                        let (wait_ms, _) = closed
                            .reason
                            .split_once("connect again in ")
                            .expect("advice")
                            .1
                            .split_once(" ms")
                            .expect("ms");
                        assert!(wait_ms.parse::<u64>().expect("a number") < 1_000, "{closed:?}");
                        told += 1;
                    }
                    break;
                }
                Ok(frame) => {
                    assert_ne!(frame["type"], "reset", "{}", frame.raw);
                    assert_ne!(frame["type"], "error", "{}", frame.raw);
                    if frame["type"] == "snapshot" {
                        begun.fetch_add(1, Ordering::AcqRel);
                    }
                    if let Some(newer) = frame["cursor"].as_str() {
                        cursor = Some(newer.to_owned());
                    }
                    if frame["type"] == "event" {
                        seen += 1;
                        assert_eq!(frame["data"]["id"], seen, "every event, once and in order");
                    }
                    if seen == last.load(Ordering::Acquire) {
                        return told;
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_nothing_and_refuses_nobody() {
    let db = TestDb::new().await;
    db.exec(
        "create table item (id int primary key); select rowcast.watch('item', 'items');
         create view lengthy as select 1 as id, pg_sleep(3)::text as slept;
         select rowcast.define_channel('lengthy', view => 'lengthy')",
    )
    .await;
    let serve = || Binary::new(&["serve", "--listen", "127.0.0.1:0"]).env("DATABASE_URL", &db.url()).start();
    let balancer = Balancer::start().await;
    let mut running = Vec::new();
    for _ in 0..2 {
        let server = serve().ready().await;
        let address = balancer.add(&server);
        balancer.wait_ready(address).await;
        running.push((server, address));
    }
    let last = Arc::new(AtomicU64::new(u64::MAX));
    let begun = Arc::new(AtomicU64::new(0));
    let followers: Vec<_> =
        (0..6).map(|_| tokio::spawn(follow(balancer.address, begun.clone(), last.clone()))).collect();
    wait_until("all follow", async || begun.load(Ordering::Acquire) == 6).await;
    // Requests go on all the time, each over a connection of its own: not one may fail.
    let done = Arc::new(AtomicBool::new(false));
    let asking = tokio::spawn({
        let (done, url) = (done.clone(), format!("http://{}/api/channels/items/snapshot", balancer.address));
        async move {
            let mut answered = 0;
            while !done.load(Ordering::Acquire) {
                let answer = http_client().get(&url).send().await.expect("nobody is refused");
                assert_eq!(answer.status(), 200);
                answered += 1;
            }
            answered
        }
    });
    let mut id = 0;
    for turn in 0..2 {
        id += 20;
        db.exec(&format!("insert into item select generate_series({}, {id})", id - 19)).await;
        let (mut old, address) = running.remove(0);
        let pid = old.pid();
        let slow = tokio::spawn({
            let url = old.http("/api/channels/lengthy/snapshot");
            async move { http_client().get(url).send().await.expect("it is finished").status() }
        });
        wait_until("the slow request runs", async || {
            db.text("select count(*)::text from pg_stat_activity where query like '%lengthy%' and state = 'active' and pid <> pg_backend_pid()").await != "0"
        })
        .await;
        old.signal(libc::SIGTERM);
        // Not ready, and still there for everybody who does not know it yet.
        wait_until("it is not ready any more", async || {
            http_client().get(old.http("/readyz")).send().await.is_ok_and(|a| a.status() == 503)
        })
        .await;
        assert_eq!(http_client().get(old.http("/healthz")).send().await.expect("it listens").status(), 200);
        id += 1;
        db.exec(&format!("insert into item values ({id})")).await;
        assert_eq!(slow.await.expect("no panic"), 200, "what was being answered is answered");
        assert_eq!(old.ended().await.code(), Some(0));
        balancer.remove(address);
        // Its locks went with it, and the other leads.
        let held = "select count(*)::text from pg_locks l join pg_stat_activity a using (pid) where l.locktype = 'advisory'
                    and a.datname = current_database() and a.application_name like 'rowcast%' and l.classid = 1381257 and l.objid = 2 and l.granted";
        wait_until("one leads", async || db.text(held).await == "1").await;
        let server = serve().ready().await;
        let address = balancer.add(&server);
        balancer.wait_ready(address).await;
        assert_ne!(server.pid(), pid, "turn {turn}");
        running.push((server, address));
    }
    id += 1;
    last.store(id, Ordering::Release);
    db.exec(&format!("insert into item values ({id})")).await;
    let mut told = 0;
    for follower in followers {
        told += patiently("a follower sees the last", follower).await.expect("nothing lost");
    }
    assert!(told >= 6, "everybody was told to come back at least once: {told}");
    done.store(true, Ordering::Release);
    assert!(asking.await.expect("no request failed") > 5);
}
