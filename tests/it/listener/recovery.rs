//! Outages. The same stream goes on where nothing was lost; where something may have been, it begins anew.

use rowcast::domain::Drains;
use rowcast::embedded::Mode;
use rowcast::listener::{Config, Status};

use super::{NEVER_MS, Tap, beltless, make_notes, notes};
use crate::kit::{OwnCluster, TestDb, patiently, wait_until};

fn quick() -> Config {
    Config { reconnect_ms_min: 5, reconnect_ms_max: 50, ..beltless() }
}

async fn until_down(tap: &Tap) {
    let mut status = tap.handle.status();
    let down = status.wait_for(|status| matches!(status, Status::Connecting { .. }));
    patiently("the loss to be noticed", down).await.expect("the listener runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_passes_and_a_crash_resets() {
    let cluster = OwnCluster::start();
    let db = TestDb::on(&cluster).await;
    make_notes(&db).await;
    let mut tap = Tap::live(quick(), &db.url()).await;
    db.exec("insert into note values ('1')").await;
    tap.until("the first", |stream| stream.has("\"1\"")).await;

    tokio::task::block_in_place(|| cluster.restart(Mode::Fast)).expect("comes back");
    db.exec("insert into note values ('2')").await;
    tap.until("the second", |stream| stream.has("\"2\"")).await;
    assert_eq!(tap.stream.begins.len(), 1, "a clean restart is no reset");

    for (i, mode) in [Mode::Immediate, Mode::Kill9].into_iter().enumerate() {
        tokio::task::block_in_place(|| cluster.restart(mode)).expect("comes back");
        tap.until("another stream", |stream| stream.begins.len() == i + 2).await;
        db.exec(&format!("insert into note values ('after {i}')")).await;
        tap.until("the next", |stream| stream.has(&format!("\"after {i}\""))).await;
    }
    let [first, second, third] = tap.stream.begins[..] else { panic!("{:?}", tap.stream.begins) };
    assert!(first != second && second != third && first != third);
}

#[tokio::test]
async fn a_drain_cut_off_half_way_goes_on_where_it_was() {
    let db = notes().await;
    let proxy = db.proxy().await;
    let config = Config { drain_rows_max: 100, feed_stall_ms: NEVER_MS, ..quick() };
    let mut tap = Tap::with_room(config, &db.url_through(&proxy), 2);
    tap.until("the stream to begin", |stream| !stream.begins.is_empty()).await;
    let mut late = db.connect().await;
    super::run(&mut late, "begin; insert into note values ('low id, late commit')").await;
    // 5 kB each: far more than sockets and channels hold, so that the server is in the middle of it.
    db.exec("insert into note select i || repeat('x', 5000) from generate_series(1, 5000) i").await;
    tap.until("the first pieces", |stream| stream.rows.len() >= 300).await;
    proxy.cut().await;
    // Now visible, with an id below those that were sent: it must not come within the drain that was cut.
    super::run(&mut late, "commit").await;
    tap.until("everything", |stream| stream.rows.len() == 5_001).await;
    tap.caught_up().await;
    assert_eq!(tap.stream.rows.len(), 5_001);
    for (i, new) in tap.stream.news()[..5_000].iter().enumerate() {
        assert!(new.starts_with(&format!("\"{}x", i + 1)), "{}", &new[..12]);
    }
    assert_eq!(tap.stream.news()[5_000], "\"low id, late commit\"");
    assert!(tap.stream.rows[5_000].id < tap.stream.rows[0].id);
    assert!(tap.stats().drains_resumed >= 1);
    assert_eq!(tap.stream.begins.len(), 1);
}

#[tokio::test]
async fn a_dead_network_is_noticed_and_what_was_missed_is_caught_up() {
    let db = notes().await;
    let proxy = db.proxy().await;
    let config = Config { ping_interval_ms: 50, reply_timeout_ms: 300, connect_timeout_ms: 300, ..quick() };
    let mut tap = Tap::live(config, &db.url_through(&proxy)).await;
    tap.armed().await;
    proxy.blackhole();
    db.exec("insert into note values ('unheard')").await;
    until_down(&tap).await;
    // The next tries hang in the hole as well; each is given up.
    let failures = tap.stats().failures;
    wait_until("it has tried again", async || tap.stats().failures > failures + 1).await;
    assert!(!tap.stream.has("\"unheard\""));
    proxy.restore().await;
    tap.until("the note", |stream| stream.has("\"unheard\"")).await;
    assert_eq!(tap.stream.begins.len(), 1);
}

/// As rotation does it; `horizon` is moved to the greatest xid dropped.
const ROTATE: &str = "update rowcast.state set horizon = (select xid from rowcast.event order by xid desc limit 1);
                      truncate rowcast.event_0, rowcast.event_1, rowcast.event_2, rowcast.event_3";

#[tokio::test]
async fn rows_rotated_away_while_it_was_gone_reset_the_stream() {
    let db = notes().await;
    let proxy = db.proxy().await;
    let mut tap = Tap::live(quick(), &db.url_through(&proxy)).await;
    db.exec("insert into note values ('before')").await;
    tap.until("the note", |stream| stream.has("\"before\"")).await;
    proxy.refuse().await;
    proxy.cut().await;
    db.exec("insert into note values ('lost')").await;
    db.exec(ROTATE).await;
    db.exec("insert into note values ('kept')").await;
    proxy.restore().await;
    tap.until("another beginning", |stream| stream.begins.len() == 2).await;
    db.exec("insert into note values ('after')").await;
    tap.until("the note", |stream| stream.has("\"after\"")).await;
    assert_eq!(tap.stream.begins[0], tap.stream.begins[1], "the same incarnation: only we have lost something");
    assert_eq!(tap.stream.news(), ["\"before\"", "\"after\""], "the beginning is past 'kept': clients read anew");
}

#[tokio::test]
async fn rotation_of_what_was_delivered_is_no_loss() {
    let db = notes().await;
    let mut tap = Tap::live(quick(), &db.url()).await;
    // An old transaction, below the horizon soon: of another application, say. It must not look like a loss.
    let mut old = db.connect().await;
    super::run(&mut old, "begin; select pg_current_xact_id()").await;
    for i in 0..5 {
        db.exec(&format!("insert into note values ('{i}')")).await;
        tap.until("the note", |stream| stream.has(&format!("\"{i}\""))).await;
        tap.caught_up().await;
        db.exec(ROTATE).await;
        tap.caught_up().await;
    }
    super::run(&mut old, "insert into note values ('old'); commit").await;
    tap.until("the old one's note", |stream| stream.has("\"old\"")).await;
    assert_eq!((tap.stream.begins.len(), tap.stream.rows.len()), (1, 6));
}

#[tokio::test]
async fn a_reset_by_hand_begins_another_stream() {
    let db = notes().await;
    let mut tap = Tap::live(quick(), &db.url()).await;
    tap.caught_up().await;
    db.exec("update rowcast.incarnation set token = gen_random_uuid()").await;
    assert!(db.text("select count(*)::text from rowcast.incarnation").await == "1");
    let handle = tap.handle.clone();
    let barrier = tokio::spawn(async move { handle.barrier().await });
    tap.until("another stream", |stream| stream.begins.len() == 2).await;
    db.exec("insert into note values ('x')").await;
    tap.until("the note", |stream| stream.has("\"x\"")).await;
    tap.caught_up().await;
    assert!(barrier.await.expect("no panic"));
    assert_ne!(tap.stream.begins[0], tap.stream.begins[1]);
    assert_eq!(tap.stream.begins.len(), 2);
}
