//! What must be right before it can work, and what it says where it is not.

use rowcast::listener::{Config, ListenerError, Status, check};

use super::{Tap, beltless, make_notes, notes, url};
use crate::kit::{TestDb, patiently, wait_until};

#[tokio::test]
async fn a_good_database_passes_and_its_ring_is_timed() {
    let db = notes().await;
    let checked = check(&Config::default(), &url(&db.url())).await.expect("usable");
    assert!(checked.server_version >= 130_000);
    assert_eq!((&*checked.role, &*checked.database, checked.encrypted), ("app", &*db.name, false));
    assert!(checked.ring.as_secs() < 5);
    let sessions = "select count(*)::text from pg_stat_activity where application_name = 'rowcast listener'
                    and datname = current_database()";
    wait_until("it has left", async || db.text(sessions).await == "0").await;
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let bare = TestDb::bare().await;
    let error = check(&Config::default(), &url(&bare.url())).await.expect_err("no schema");
    assert!(matches!(&error, ListenerError::NotInstalled { missing, .. } if missing.len() == 5), "{error}");
    assert!(error.to_string().ends_with("run `rowcast migrate`"), "{error}");

    let db = notes().await;
    db.admin_exec("do $$ begin create role nobody_special login; exception when duplicate_object then end $$").await;
    let error = check(&Config::default(), &url(&db.url_as("nobody_special"))).await.expect_err("no rights");
    let expected = "role nobody_special has no usage on schema rowcast";
    assert!(error.to_string().starts_with(expected), "{error}");

    let error = check(&Config::default(), &url("postgres://x@127.0.0.1:1/x")).await.expect_err("nobody there");
    assert!(error.to_string().starts_with("cannot connect to 127.0.0.1:1: "), "{error}");
}

#[tokio::test]
async fn it_keeps_trying_and_says_why_until_the_schema_comes() {
    let db = TestDb::bare().await;
    let config = Config { reconnect_ms_min: 5, reconnect_ms_max: 10, ..beltless() };
    let mut tap = Tap::start(config, &db.url());
    let mut status = tap.handle.status();
    let told = |status: &Status| match status {
        Status::Connecting { last_error: Some(error), .. } => error.contains("run `rowcast migrate`"),
        _ => false,
    };
    patiently("the reason", status.wait_for(told)).await.expect("runs");
    db.migrate().await;
    make_notes(&db).await;
    tap.until("the stream to begin", |stream| !stream.begins.is_empty()).await;
    assert!(tap.stats().failures > 0);
}

#[tokio::test]
async fn it_ends_with_its_consumer() {
    let db = notes().await;
    let mut tap = Tap::live(beltless(), &db.url()).await;
    tap.armed().await;
    let Tap { handle, feed, .. } = tap;
    drop(feed);
    let mut status = handle.status();
    patiently("the end", status.wait_for(|status| *status == Status::Stopped)).await.expect("said so before it went");
}

#[tokio::test]
async fn shutdown_leaves_nothing_behind() {
    let db = notes().await;
    let mut tap = Tap::live(beltless(), &db.url()).await;
    tap.armed().await;
    patiently("the end", tap.handle.shutdown()).await;
    let left = "select count(*)::text from pg_locks where locktype = 'advisory' and classid = 1381257
                and database = (select oid from pg_database where datname = current_database())";
    assert_eq!(db.text(left).await, "0");
    assert_eq!(db.text("select count(*)::text from rowcast.instance").await, "0");
    patiently("a second one", tap.handle.shutdown()).await;
}
