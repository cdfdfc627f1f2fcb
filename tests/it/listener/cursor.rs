//! Every committed row exactly once, in the order in which its table's rows were changed.

use std::collections::HashMap;
use std::sync::Arc;

use rowcast::listener::Config;
use sqlx::PgConnection;
use tokio::sync::watch;

use super::{Tap, ask, beltless, notes, run};
use crate::kit::{Proxy, TestDb};

/// Small, seeded, enough to make workloads differ.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

const ROWS: u64 = 12;
const WRITERS: u64 = 6;
const TRANSACTIONS: u64 = 60;

/// `acct`: each update raises `v` by one, so a right feed shows each row's versions without gap.
async fn accounts() -> TestDb<'static> {
    let db = notes().await;
    db.exec(&format!(
        "create function log_acct() returns trigger language plpgsql as $$
         begin
           insert into rowcast.event (slot, source, op, new)
           values ((date_part('epoch', clock_timestamp())::bigint / 900) % 4, 2, 'u', to_json(new.id || ' ' || new.v));
           if not pg_try_advisory_xact_lock_shared(1381257, 1) then perform pg_notify('rowcast', ''); end if;
           return null;
         end $$;
         create table acct (id int primary key, v int not null);
         insert into acct select i, 0 from generate_series(1, {ROWS}) i;
         create trigger log after update on acct for each row execute function log_acct()"
    ))
    .await;
    db
}

/// One writer's transactions: savepoints, rollbacks, xids taken early, and now and then one that stays open until
/// others have committed twenty times.
async fn write(mut connection: PgConnection, seed: u64, commits: Arc<watch::Sender<u64>>) {
    let mut random = Random(seed * 7_919 + 1);
    for _ in 0..TRANSACTIONS {
        run(&mut connection, "begin").await;
        if random.chance(50) {
            run(&mut connection, "select pg_current_xact_id()").await;
        }
        if random.chance(8) {
            let mut others = commits.subscribe();
            let enough = *others.borrow() + 20;
            // Open, with an xid, but without the rows' locks: the others must get on. The last writers end alone.
            let waited = others.wait_for(|n| *n >= enough);
            let _ = tokio::time::timeout(std::time::Duration::from_millis(200), waited).await;
        }
        // In ascending order, so that writers wait for each other and never deadlock.
        let first = 1 + random.below(ROWS);
        for id in (first..=ROWS).take(1 + random.below(3) as usize) {
            let raise = format!("update acct set v = v + 1 where id = {id}");
            if random.chance(20) {
                run(&mut connection, &format!("savepoint s; {raise}; {raise}; rollback to s")).await;
            }
            for _ in 0..1 + random.below(2) {
                run(&mut connection, &raise).await;
            }
        }
        if random.chance(15) {
            run(&mut connection, "rollback").await;
        } else {
            run(&mut connection, "commit").await;
            commits.send_modify(|n| *n += 1);
        }
    }
}

/// Runs the writers; meanwhile, if asked, cuts the listener's connection again and again.
async fn every_version_comes_once(config: Config, cuts: bool) {
    let db = accounts().await;
    let proxy: Proxy = db.proxy().await;
    let mut tap = Tap::live(config, &db.url_through(&proxy)).await;
    let commits = Arc::new(watch::Sender::new(0));
    let mut writers = tokio::task::JoinSet::new();
    for seed in 1..=WRITERS {
        writers.spawn(write(db.connect().await, seed, commits.clone()));
    }
    let (mut next_cut, mut made) = (10, 0);
    while !writers.is_empty() {
        tokio::select! {
            done = writers.join_next() => done.expect("not empty").expect("a writer's end"),
            feed = tap.feed.recv() => tap.stream.take(feed.expect("the listener runs")),
        }
        if cuts && tap.stream.rows.len() > next_cut {
            next_cut = tap.stream.rows.len() + 10;
            made += 1;
            // Not to its end: the listener may be back before all are gone.
            let _ = tokio::time::timeout(std::time::Duration::from_millis(1), proxy.cut()).await;
        }
    }
    tap.caught_up().await;
    assert_eq!(tap.stream.begins.len(), 1, "no reset");
    if cuts {
        let failures = tap.stats().failures;
        assert!(made > 5 && failures > 5, "cut {made} times, noticed {failures} times");
    }
    let mut seen: HashMap<u64, u64> = HashMap::new();
    for text in tap.stream.news() {
        let mut numbers = text.trim_matches('"').split(' ').map(|n| n.parse::<u64>().expect("a number"));
        let (id, version) = (numbers.next().expect("id"), numbers.next().expect("version"));
        let before = seen.insert(id, version).unwrap_or(0);
        assert_eq!(version, before + 1, "row {id} after version {before}");
    }
    for id in 1..=ROWS {
        let truth = db.text(&format!("select v::text from acct where id = {id}")).await;
        assert_eq!(seen.get(&id).copied().unwrap_or(0).to_string(), truth, "row {id} ends right");
    }
    assert_eq!(tap.stats().rows_found_by_safety_poll, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_polled_and_rung() {
    every_version_comes_once(beltless(), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_always_rung() {
    every_version_comes_once(Config { wake_rings_per_s: 1_000_000, ..beltless() }, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_while_the_connection_is_cut_again_and_again() {
    let config = Config { reconnect_ms_min: 1, reconnect_ms_max: 5, drain_rows_max: 3, ..beltless() };
    every_version_comes_once(config, true).await;
}

/// What the two simple readers would have delivered, were they to poll at the same moments as ours drained.
struct Naive {
    by_id: Vec<i64>,
    below_xmin: Vec<i64>,
}

impl Naive {
    async fn poll(&mut self, connection: &mut PgConnection) {
        let last = self.by_id.iter().max().copied().unwrap_or(0);
        let by_id = format!("select string_agg(id::text, ' ' order by id) from rowcast.event where id > {last}");
        self.by_id.extend(numbers(&ask(connection, &by_id).await));
        // Ordered by (xid, id), each row once all older transactions of the whole cluster have ended.
        let below = "select string_agg(id::text, ' ' order by xid, id) from rowcast.event
                      where xid < pg_snapshot_xmin(pg_current_snapshot())";
        for id in numbers(&ask(connection, below).await) {
            if !self.below_xmin.contains(&id) {
                self.below_xmin.push(id);
            }
        }
    }
}

fn numbers(text: &str) -> Vec<i64> {
    text.split_whitespace().map(|n| n.parse().expect("an id")).collect()
}

/// The interleaving of reference `10_skip_demo.sh`: B takes the older xid and a low id and stays open; A commits
/// version 1 of the row; then B makes version 2 of it and commits.
#[tokio::test]
async fn simple_readers_skip_or_misorder_what_ours_delivers() {
    let db = accounts().await;
    let mut tap = Tap::live(beltless(), &db.url()).await;
    let (mut a, mut b, mut poller) = (db.connect().await, db.connect().await, db.connect().await);
    let mut naive = Naive { by_id: Vec::new(), below_xmin: Vec::new() };

    run(&mut b, "begin; update acct set v = v + 1 where id = 2").await;
    run(&mut a, "update acct set v = v + 1 where id = 1").await;
    tap.until("A's row", |stream| stream.has("\"1 1\"")).await;
    naive.poll(&mut poller).await;
    assert_eq!(naive.below_xmin, [0i64; 0], "one open transaction holds that reader back");
    run(&mut b, "update acct set v = v + 1 where id = 1; commit").await;
    tap.caught_up().await;
    // Other tests' transactions may be open in this cluster: wait until the slowest reader has it all.
    crate::kit::wait_until("nothing holds the xmin reader back", async || {
        naive.poll(&mut poller).await;
        naive.below_xmin.len() == 3
    })
    .await;

    let [b2, a1, b1]: [i64; 3] = tap.stream.ids().try_into().map(|[a1, b2, b1]: [i64; 3]| [b2, a1, b1]).expect("three");
    assert_eq!(tap.stream.news(), ["\"1 1\"", "\"2 1\"", "\"1 2\""], "each once, row 1 in the order of its versions");
    assert!(b2 < a1 && a1 < b1);
    assert_eq!(naive.by_id, [a1, b1], "'id > last' never sees the late commit with the lower id");
    assert_eq!(naive.below_xmin, [b2, b1, a1], "'(xid, id) below xmin' shows version 2 of row 1 before version 1");
}
