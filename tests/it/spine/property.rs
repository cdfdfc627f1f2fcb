//! A seeded load of interleaving writers against subscribers that come, go, resume and start over: nothing is
//! missing, nothing comes twice, each row's versions come in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::*;
use crate::kit::wait_until;

const ROWS: usize = 12;

/// xorshift64*: the same numbers for the same seed.
#[derive(Clone)]
struct Seeded(u64);

impl Seeded {
    fn pick(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }
}

/// Transactions of one to three rows; savepoints, rollbacks, and now and then one that stays open while others commit.
async fn writer(url: String, seed: u64, transactions: usize) {
    let mut seed = Seeded(seed);
    let mut connection = PgConnection::connect(&url).await.expect("the test's database");
    let mut run = async |sql: String| {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("no writer is refused");
    };
    for _ in 0..transactions {
        // An early xid and a late change: sequence order, xid order and commit order all differ.
        run(if seed.pick(2) == 0 { "begin; select pg_current_xact_id()".into() } else { "begin".into() }).await;
        let mut rows: Vec<usize> = (0..1 + seed.pick(3)).map(|_| seed.pick(ROWS)).collect();
        rows.sort_unstable(); // no deadlocks
        rows.dedup();
        for row in rows {
            if seed.pick(5) == 0 {
                run(format!("savepoint s; update counter set v = v + 1 where id = {row}; rollback to s")).await;
            }
            run(format!("update counter set v = v + 1 where id = {row}")).await;
            if seed.pick(4) == 0 {
                run(format!("select pg_sleep({})", seed.pick(4) as f64 / 1000.0)).await;
            }
        }
        run(if seed.pick(7) == 0 { "rollback".into() } else { "commit".into() }).await;
    }
}

/// What a follower knows: the newest version of each row, and where it stands.
#[derive(Default)]
struct Known {
    versions: HashMap<i64, i64>,
    cursor: Option<String>,
    /// How the present connection began, for the failure's message.
    joined: String,
    resumed: usize,
    fresh: usize,
}

impl Known {
    fn event(&mut self, frame: &Frame) {
        let (id, v) = (frame["data"]["id"].as_i64().expect("an id"), frame["data"]["v"].as_i64().expect("a version"));
        let before = self.versions.insert(id, v).unwrap_or(0);
        assert_eq!(v, before + 1, "row {id}: version {v} after {before}; {}; {}", self.joined, frame.raw);
        self.cursor = Some(frame.str_of("cursor").to_owned());
    }
}

/// Follows with one connection after the other: resumes by cursor, or now and then starts over with a snapshot.
async fn follower(servers: Arc<[String]>, seed: u64, done: Arc<AtomicBool>) -> Known {
    let mut seed = Seeded(seed);
    let mut known = Known::default();
    let mut last_round = false;
    while !last_round {
        last_round = done.load(Ordering::Acquire);
        let server = &servers[seed.pick(servers.len())];
        let mut ws = Client::connect(server).await;
        ws.next_of("welcome").await;
        let resume = known.cursor.clone().filter(|_| seed.pick(4) != 0);
        ws.send(json!({"type": "subscribe", "channel": "counters", "cursor": resume})).await;
        let subscribed = ws.next_of("subscribed").await;
        known.joined = format!("{server}: {} from {resume:?}", subscribed.raw);
        if subscribed["resumed"] == true {
            known.resumed += 1;
        } else {
            assert!(resume.is_none(), "a cursor was not honoured");
            known.fresh += 1;
            let snapshot = ws.next_of("snapshot").await;
            known.versions.clear();
            for row in snapshot["data"].as_array().expect("rows") {
                known.versions.insert(row["id"].as_i64().expect("an id"), row["v"].as_i64().expect("a version"));
            }
            known.cursor = Some(snapshot.str_of("cursor").to_owned());
        }
        // To the end in the last round; else cut after some events, at whatever place in a transaction.
        let mut left = if last_round { usize::MAX } else { seed.pick(40) };
        while left > 0 {
            let frame = ws.next_of("event").await;
            if frame["event"] == "mark" {
                return known;
            }
            known.event(&frame);
            left -= 1;
        }
    }
    known
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_miss_nothing_and_get_nothing_twice() {
    let db = TestDb::new().await;
    db.exec(&format!(
        "create table counter (id int primary key, v int not null); insert into counter select g, 0 from generate_series(0, {}) g;
         select rowcast.define_channel('counters', view => 'counter'); select rowcast.watch('counter', 'counters')",
        ROWS - 1
    ))
    .await;
    // Two instances whose drains begin and end at different places; the second reads in small pieces and remembers
    // little, so that clients resume from the log as well.
    let first = Server::start(&db).await;
    let second = Server::with(&db.url(), |c| {
        c.listener.drain_rows_max = 2;
        c.hub.recent_items_max = 5;
    })
    .await;
    let servers: Arc<[String]> = [first.ws(), second.ws()].into();
    let done = Arc::new(AtomicBool::new(false));
    let followers: Vec<_> = (0..6).map(|i| tokio::spawn(follower(servers.clone(), 1000 + i, done.clone()))).collect();
    let writers: Vec<_> = (0..6).map(|i| tokio::spawn(writer(db.url(), 7 + i, 60))).collect();
    for writer in writers {
        writer.await.expect("a writer");
    }
    done.store(true, Ordering::Release);
    // More than one: who begins afresh after a mark has missed it.
    wait_until("the followers to reach the end", async || {
        mark(&db, "counters", "end").await;
        followers.iter().all(|f| f.is_finished())
    })
    .await;
    let truth = db.texts("select id || '=' || v from counter order by id").await;
    let (mut resumed, mut fresh) = (0, 0);
    for follower in followers {
        let known = follower.await.expect("a follower");
        let mut got: Vec<_> = known.versions.iter().collect();
        got.sort();
        let got: Vec<_> = got.iter().map(|(id, v)| Some(format!("{id}={v}"))).collect();
        assert_eq!(got, truth);
        resumed += known.resumed;
        fresh += known.fresh;
    }
    assert!(resumed > 10 && fresh > 10, "{resumed} resumed, {fresh} fresh: the load was too light to prove anything");
    first.stop().await;
    second.stop().await;
}
