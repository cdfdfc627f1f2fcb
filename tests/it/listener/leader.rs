//! Several listeners of one database: one owns the bell, all deliver everything.

use rowcast::listener::Config;

use super::{NEVER_MS, Tap, beltless, notes};
use crate::kit::{patiently, wait_until};

/// Looks often enough for a test whether there is a leader.
fn brisk() -> Config {
    Config { safety_poll_ms: 100, ..beltless() }
}

#[tokio::test]
async fn one_leads_and_all_deliver() {
    let db = notes().await;
    let mut a = Tap::live(beltless(), &db.url()).await;
    let mut b = Tap::live(beltless(), &db.url()).await;
    assert!(a.armed().await.leader);
    assert!(!b.status("live", |_| true).await.leader);
    a.status("to hear of the other", |live| live.peers == 1).await;
    for i in 0..100 {
        // Sometimes rung by the writer, sometimes, from silent writers, by the leader.
        if i % 10 == 0 {
            a.armed().await;
        }
        db.exec(&format!("insert into note values ('{i}')")).await;
        a.until("the note", |stream| stream.has(&format!("\"{i}\""))).await;
        b.until("the note", |stream| stream.has(&format!("\"{i}\""))).await;
    }
    assert_eq!(a.stream.ids(), b.stream.ids());
    let finds = |tap: &Tap| tap.stats().rows_found_by_safety_poll;
    assert_eq!((finds(&a), finds(&b)), (0, 0));
}

#[tokio::test]
async fn silent_commits_reach_followers_through_the_leader() {
    let db = notes().await;
    let mut a = Tap::live(Config { wake_rings_per_s: 0, ..beltless() }, &db.url()).await;
    let mut b = Tap::live(beltless(), &db.url()).await;
    a.status("to hear of the other", |live| live.peers == 1).await;
    // K shall be held shared: nobody is asleep, and writers ring nothing. Asked for before the leader lets go of it, or
    // the leader might be asleep again first.
    a.armed().await;
    let mut holder = db.connect().await;
    let held = tokio::spawn(async move {
        super::run(&mut holder, "select pg_advisory_lock_shared(1381257, 1)").await;
        holder
    });
    let queued = "select count(*)::text from pg_locks where locktype = 'advisory' and objid = 1 and not granted
                  and database = (select oid from pg_database where datname = current_database())";
    wait_until("the lock is waited for", async || db.text(queued).await == "1").await;
    db.exec("insert into note values ('wake')").await;
    let _holder = patiently("the lock", held).await.expect("no panic");
    a.status("to wake", |live| !live.asleep).await;
    let own_rings = a.stats().rings;
    for i in 0..50 {
        db.exec(&format!("insert into note values ('{i}')")).await;
        a.until("the note", |stream| stream.has(&format!("\"{i}\""))).await;
        b.until("the note", |stream| stream.has(&format!("\"{i}\""))).await;
    }
    assert_eq!(a.stats().rings, own_rings, "it does not hear itself ring");
    assert!(b.stats().rings >= 50);
}

#[tokio::test]
async fn when_the_leaders_backend_is_ended_another_leads_and_nothing_is_lost() {
    let db = notes().await;
    let slow = Config { reconnect_ms_min: 500, reconnect_ms_max: 500, ..brisk() };
    let mut a = Tap::live(slow, &db.url()).await;
    let pid = a.armed().await.backend_pid;
    let mut b = Tap::live(brisk(), &db.url()).await;
    assert!(!b.status("live", |_| true).await.leader);
    db.exec(&format!("select pg_terminate_backend({pid}); insert into note values ('orphan')")).await;
    db.exec("insert into note values ('second')").await;
    b.status("to lead", |live| live.leader).await;
    b.until("both", |stream| stream.has("\"orphan\"") && stream.has("\"second\"")).await;
    b.armed().await;
    db.exec("insert into note values ('third')").await;
    b.until("the third", |stream| stream.has("\"third\"")).await;
    a.until("all three", |stream| stream.rows.len() == 3).await;
    assert!(!a.status("back", |live| live.backend_pid != pid).await.leader);
    assert_eq!((a.stream.ids(), a.stream.begins.len()), (b.stream.ids(), 1));
}

#[tokio::test]
async fn a_half_open_leader_is_ended_by_its_successor() {
    let db = notes().await;
    let proxy = db.proxy().await;
    // The leader's network dies. It would not notice for an hour, and holds bell and leadership.
    let dying = Config { reply_timeout_ms: NEVER_MS, heartbeat_ms: 50, leader_stale_ms: 400, ..beltless() };
    let mut a = Tap::live(dying.clone(), &db.url_through(&proxy)).await;
    let pid = a.armed().await.backend_pid;
    let heir = Config { reply_timeout_ms: 5_000, safety_poll_ms: 50, ..dying };
    let mut b = Tap::live(heir, &db.url()).await;
    // A healthy leader is left alone, however often the other looks.
    let drains = b.stats().drains;
    wait_until("it has looked many times", async || b.stats().drains > drains + 20).await;
    assert_eq!((b.stats().leaders_ended, b.stats().elections), (0, 0));
    proxy.blackhole();
    db.exec("insert into note values ('meanwhile')").await;
    b.status("to lead", |live| live.leader).await;
    assert_eq!((b.stats().leaders_ended, b.stats().elections), (1, 1));
    let gone = format!("select count(*)::text from pg_stat_activity where pid = {pid}");
    wait_until("its backend is gone", async || db.text(&gone).await == "0").await;
    b.until("the note", |stream| stream.has("\"meanwhile\"")).await;
    b.armed().await;
    db.exec("insert into note values ('after')").await;
    b.until("the note", |stream| stream.has("\"after\"")).await;
    // The network comes back: the old leader finds its session ended, reconnects, follows, and catches up.
    proxy.restore().await;
    a.until("both", |stream| stream.rows.len() == 2).await;
    assert!(!a.status("back", |live| live.backend_pid != pid).await.leader);
    assert_eq!((a.stream.ids(), a.stream.begins.len()), (b.stream.ids(), 1));
}

#[tokio::test]
async fn a_stranger_with_the_leaders_lock_is_not_ended() {
    let db = notes().await;
    let mut stranger = db.connect().await;
    super::run(&mut stranger, "select pg_advisory_lock(1381257, 2)").await;
    let config = Config { heartbeat_ms: 1, leader_stale_ms: 2, safety_poll_ms: 10, ..beltless() };
    let mut tap = Tap::live(config, &db.url()).await;
    let drains = tap.stats().drains;
    wait_until("it has looked many times", async || tap.stats().drains > drains + 20).await;
    assert_eq!(tap.stats().leaders_ended, 0);
    super::run(&mut stranger, "select pg_advisory_unlock(1381257, 2)").await;
    tap.status("to lead", |live| live.leader).await;
}

#[tokio::test]
async fn a_leader_whose_consumer_stalls_steps_down() {
    let db = notes().await;
    let config = Config { feed_stall_ms: 20, drain_rows_max: 1, ..brisk() };
    let mut a = Tap::with_room(config, &db.url(), 2);
    a.until("the stream to begin", |stream| !stream.begins.is_empty()).await;
    a.armed().await;
    let mut b = Tap::live(brisk(), &db.url()).await;
    a.status("to hear of the other", |live| live.peers == 1).await;
    db.exec("insert into note select i::text from generate_series(1, 50) i").await;
    b.status("to lead", |live| live.leader).await; // a's feed is not read meanwhile
    db.exec("insert into note values ('more')").await;
    b.until("51 notes", |stream| stream.rows.len() == 51).await;
    a.until("51 notes", |stream| stream.rows.len() == 51).await;
    assert_eq!(a.stream.ids(), b.stream.ids());
}
