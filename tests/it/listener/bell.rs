//! The doorbell: no wake-up is lost, and none is needed while awake. Without a belt: the safety poll is far away.

use rowcast::domain::Snapshot;
use rowcast::listener::Config;
use sqlx::postgres::PgListener;
use tokio::task::JoinSet;

use super::{Tap, ask, beltless, make_notes, notes, run};
use crate::kit::{OwnCluster, TestDb, patiently, wait_until};

const ARM: &str = "select pg_try_advisory_lock(1381257, 1)::text";

#[tokio::test]
async fn a_sleeper_is_rung_for_every_commit() {
    let db = notes().await;
    let mut tap = Tap::live(Config { wake_rings_per_s: 1_000_000, ..beltless() }, &db.url()).await;
    let first = tap.armed().await;
    for i in 0..200 {
        db.exec(&format!("insert into note values ('{i}')")).await;
        tap.until("the note", |stream| stream.rows.len() == i + 1).await;
    }
    let stats = tap.stats();
    assert_eq!((stats.rings, stats.bell_releases, stats.arms), (200, 0, 1), "it stayed armed all the while");
    assert_eq!(tap.armed().await.since, first.since);
}

#[tokio::test]
async fn rung_too_often_it_lets_go_and_writers_ring_no_more() {
    let db = notes().await;
    let mut tap = Tap::live(Config { wake_rings_per_s: 0, ..beltless() }, &db.url()).await;
    for round in 1..=5 {
        tap.armed().await;
        db.exec("insert into note values ('x')").await;
        tap.until("the note", |stream| stream.rows.len() == round).await;
        wait_until("it lets go", async || tap.stats().bell_releases == round as u64).await;
    }
    assert_eq!(tap.stats().rings, 5);
}

/// Each commit takes 20 ms, and those that ring take turns: at fifty a second no limit of the rate is ever reached.
#[tokio::test]
async fn writers_that_wait_for_each_other_are_let_go() {
    let pg = OwnCluster::with(&[("fsync", "on"), ("commit_siblings", "0"), ("commit_delay", "20000")]);
    let db = TestDb::on(&pg).await;
    make_notes(&db).await;
    let mut tap = Tap::live(Config { wake_rings_per_s: 1_000_000, ..beltless() }, &db.url()).await;
    tap.armed().await;
    let mut writers = JoinSet::new();
    for _ in 0..4 {
        let mut writer = db.connect().await;
        writers.spawn(async move {
            loop {
                run(&mut writer, "insert into note values ('x')").await;
            }
        });
    }
    tap.until("notes that were not rung for", |stream| stream.rows.len() > 50).await;
    wait_until("it lets go", async || tap.stats().bell_releases > 0).await;
    writers.shutdown().await;
}

#[tokio::test]
async fn it_does_not_fall_asleep_over_a_silent_writer_in_flight() {
    let db = notes().await;
    // Somebody holds K shared, as a silent writer does: the listener must stay awake.
    let mut holder = db.connect().await;
    run(&mut holder, "select pg_advisory_lock_shared(1381257, 1)").await;
    let mut tap = Tap::live(beltless(), &db.url()).await;
    let mut writer = db.connect().await;
    run(&mut writer, "begin; insert into note values ('silent')").await;
    let silent = "select count(*)::text from pg_locks where locktype = 'advisory' and classid = 1381257 and objid = 1
                  and mode = 'ShareLock' and pid = pg_backend_pid()";
    assert_eq!(ask(&mut writer, silent).await, "1", "it has taken K and will ring nothing");
    run(&mut holder, "select pg_advisory_unlock_shared(1381257, 1)").await;
    let refused = tap.stats().arms_refused;
    wait_until("arming was refused again and again", async || tap.stats().arms_refused > refused + 5).await;
    assert_eq!(tap.stats().arms, 0);
    run(&mut writer, "commit").await;
    tap.until("the silent note", |stream| stream.has("\"silent\"")).await;
    tap.armed().await;
    let stats = tap.stats();
    assert_eq!((stats.rings, stats.rows_found_by_safety_poll), (0, 0));
}

/// Commits fall into the gap between the last empty drain and the grant of K, which a slow network makes wide.
/// Without the drain after the grant, the first of them would hang this test.
#[tokio::test]
async fn what_is_committed_while_it_falls_asleep_is_not_lost() {
    let db = notes().await;
    let proxy = db.proxy().await;
    let mut tap = Tap::live(Config { wake_rings_per_s: 0, ..beltless() }, &db.url_through(&proxy)).await;
    let mut writer = db.connect().await;
    proxy.delay(3);
    let mut silent = 0;
    for i in 0..80 {
        let (drains, rings) = (tap.stats().drains, tap.stats().rings);
        // Three empty drains and the try: the commit comes during one of them, a little later each time.
        run(&mut writer, &format!("select pg_sleep({}); insert into note values ('{i}')", f64::from(i % 40) * 0.001))
            .await;
        tap.until("the note", |stream| stream.has(&format!("\"{i}\""))).await;
        wait_until("it has drained since", async || tap.stats().drains > drains).await;
        silent += u32::from(tap.stats().rings == rings);
    }
    assert_eq!(tap.stats().rows_found_by_safety_poll, 0);
    assert!(silent > 0, "some of them rang nothing");
}

/// A listener made by hand, with the two steps in our power: the try that may fail, and the drain after it.
struct ByHand {
    ears: PgListener,
    at: String,
}

impl ByHand {
    async fn new(db: &TestDb<'_>) -> Self {
        let mut ears = PgListener::connect(&db.url()).await.expect("connects");
        ears.listen_all(["rowcast", "probe"]).await.expect("listens");
        let at = db.text("select pg_current_snapshot()::text").await;
        Self { ears, at }
    }

    /// How many notes have come since last time.
    async fn drain(&mut self, db: &TestDb<'_>) -> usize {
        let prev: Snapshot = self.at.parse().expect("a snapshot");
        self.at = db.text("select pg_current_snapshot()::text").await;
        let cur: Snapshot = self.at.parse().expect("a snapshot");
        let xids = db.texts("select xid::text from rowcast.event").await;
        let xids = xids.iter().flatten().map(|xid| xid.parse().expect("an xid"));
        xids.filter(|xid| cur.sees(*xid) && !prev.sees(*xid)).count()
    }

    /// Was there a ring? A probe is sent behind whatever was committed before, so no waiting is needed to say no.
    async fn rung(&mut self, db: &TestDb<'_>) -> bool {
        db.exec("select pg_notify('probe', '')").await;
        let mut rung = false;
        loop {
            let heard = patiently("the probe", self.ears.recv()).await.expect("listens");
            match heard.channel() {
                "rowcast" => rung = true,
                _ => return rung,
            }
        }
    }
}

#[tokio::test]
async fn naive_sleepers_lose_what_ours_does_not() {
    let db = notes().await;
    let (mut lock, mut writer) = (db.connect().await, db.connect().await);

    // One that goes to sleep although the try was refused, while a silent writer is in flight.
    let mut naive = ByHand::new(&db).await;
    run(&mut writer, "begin; insert into note values ('a')").await;
    assert_eq!(ask(&mut lock, ARM).await, "false", "refused: ours stays awake");
    assert_eq!(naive.drain(&db).await, 0, "not even a drain after the refusal helps");
    run(&mut writer, "commit").await;
    assert!(!naive.rung(&db).await, "asleep, and nobody rang: lost");
    assert_eq!(naive.drain(&db).await, 1, "there it was");

    // One that sleeps as soon as the try is granted, without another drain.
    let mut naive = ByHand::new(&db).await;
    assert_eq!(naive.drain(&db).await, 0);
    run(&mut writer, "insert into note values ('b')").await;
    assert_eq!(ask(&mut lock, ARM).await, "true", "the writer has ended");
    assert!(!naive.rung(&db).await, "asleep, and nobody rang: lost");
    assert_eq!(naive.drain(&db).await, 1, "ours drains here, once more, and then sleeps");

    // From here on, armed: every writer rings.
    run(&mut writer, "insert into note values ('c')").await;
    assert!(naive.rung(&db).await);
    assert_eq!(naive.drain(&db).await, 1);
}

#[tokio::test]
async fn the_safety_poll_finds_what_nobody_rang_for() {
    let db = notes().await;
    let config = Config { safety_poll_ms: 50, ..beltless() };
    let mut tap = Tap::live(config, &db.url()).await;
    tap.armed().await;
    // PREPARE TRANSACTION fails after a ring: `bell => false` tables ring nothing and go by the belt.
    let mut writer = db.connect().await;
    run(&mut writer, "begin; insert into note values ('x')").await;
    let refused = sqlx::raw_sql("prepare transaction 'p'").execute(&mut writer).await.expect_err("it has rung");
    assert!(refused.to_string().contains("NOTIFY"), "{refused}");
    run(&mut writer, "rollback").await;
    run(&mut writer, "begin; insert into quiet_note values ('prepared')").await;
    run(&mut writer, "prepare transaction 'p'").await;
    run(&mut writer, "commit prepared 'p'").await;
    tap.until("the note", |stream| stream.has("\"prepared\"")).await;
    wait_until("it is counted", async || tap.stats().rows_found_by_safety_poll == 1).await;
    // A ring that comes with its row is no find of the belt.
    db.exec("insert into note values ('rung')").await;
    tap.until("the note", |stream| stream.has("\"rung\"")).await;
    assert_eq!(tap.stats().rows_found_by_safety_poll, 1);
}
