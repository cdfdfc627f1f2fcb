//! Rotation, the horizon, incarnations.

use super::{captured, run};
use crate::kit::TestDb;

/// Second 450 of a quarter of an hour whose slot is 0: slot 1 comes next.
const NOW: i64 = 2_000_000 * 900 + 450;
const HORIZON: &str = "select horizon::text from rowcast.state";

fn insert_into_slot(slot: i32) -> String {
    format!(
        "insert into rowcast.event (slot, source, op, new) select {slot}, 1, 'i', '{{}}' from generate_series(1, 3)"
    )
}

async fn rotate(db: &TestDb<'_>) -> String {
    db.text(&format!("select rowcast.rotate_at({NOW})")).await
}

#[tokio::test]
async fn rotation_empties_the_slot_that_comes_next_and_remembers_what_it_dropped() {
    let db = TestDb::new().await;
    assert_eq!(rotate(&db).await, "empty");
    assert_eq!(db.text(HORIZON).await, "0");
    for slot in 0..4 {
        db.exec(&insert_into_slot(slot)).await;
    }
    let dropped = db.text("select max(xid::text::bigint)::text from rowcast.event where slot = 1").await;
    assert_eq!(rotate(&db).await, "truncated event_1");
    assert_eq!(db.text(HORIZON).await, dropped);
    assert_eq!(db.text("select string_agg(distinct slot::text, ',') from rowcast.event").await, "0,2,3");
    assert_eq!(rotate(&db).await, "empty");
    assert_eq!(db.text(HORIZON).await, dropped);
    // Slot 0 holds an older transaction than slot 1 held: the horizon never goes back.
    assert_eq!(db.text(&format!("select rowcast.rotate_at({NOW} + 3 * 900)")).await, "truncated event_0");
    assert_eq!(db.text(HORIZON).await, dropped);
}

#[tokio::test]
async fn each_slot_is_emptied_before_its_time_and_not_in_it() {
    let db = TestDb::new().await;
    let slot_of = "select slot::text from rowcast.event where op = 's'";
    db.exec("select rowcast.send('c', 'e')").await;
    let now = db.text("select (date_part('epoch', (select at from rowcast.event))::bigint / 900 % 4)::text").await;
    assert_eq!(db.text(slot_of).await, now, "capture and rotation agree on the clock");
    for (after_s, slot) in [(0, 1), (449, 1), (900, 2), (1800, 3), (2700, 0), (3600, 1)] {
        db.exec("truncate rowcast.event").await;
        for slot in 0..4 {
            db.exec(&insert_into_slot(slot)).await;
        }
        let outcome = db.text(&format!("select rowcast.rotate_at({NOW} - 450 + {after_s})")).await;
        assert_eq!(outcome, format!("truncated event_{slot}"), "{after_s} s");
    }
    assert_eq!(db.text(&format!("select rowcast.rotate_at({NOW} + 445)")).await, "late");
}

#[tokio::test]
async fn rotation_waits_for_nobody_and_nobody_for_it() {
    let db = TestDb::new().await;
    db.exec(&insert_into_slot(1)).await;
    let mut reader = db.connect().await;
    run(&mut reader, "begin; select count(*) from rowcast.event").await; // such as pg_dump
    assert_eq!(rotate(&db).await, "busy");
    assert_eq!(db.text(HORIZON).await, "0");
    run(&mut reader, "commit").await;
    let mut writer = db.connect().await;
    run(&mut writer, &format!("begin; {}", insert_into_slot(1))).await; // its rows are not visible yet
    assert_eq!(rotate(&db).await, "busy");
    run(&mut writer, "commit").await;
    assert_eq!(rotate(&db).await, "truncated event_1");
}

#[tokio::test]
async fn rotation_refuses_a_snapshot_older_than_the_slot() {
    let db = TestDb::new().await;
    for call in ["rotate()", "tend(3600, 1 << 30)"] {
        let r = super::refused(&db, &format!("begin isolation level repeatable read; select rowcast.{call}")).await;
        assert!(r.code == "RC007" && r.message.contains("read committed"), "{}", r.message);
    }
}

#[tokio::test]
async fn ended_routes_are_kept_until_no_cursor_can_ask_for_their_events() {
    let db = TestDb::new().await;
    db.exec("create table t (id int); select rowcast.watch('t', 't:{id}'); select rowcast.watch('t', 'u')").await;
    db.exec("insert into t values (1); select rowcast.unwatch('t', 'u')").await;
    let routes = "select string_agg(template, ',' order by template) from rowcast.route";
    // The first rotation after the end notes which transactions can have written under it.
    rotate(&db).await;
    assert_eq!(db.text(routes).await, "t:{id},u");
    rotate(&db).await;
    assert_eq!(db.text(routes).await, "t:{id},u", "the log still has its events");
    db.exec(&insert_into_slot(1)).await;
    assert_eq!(rotate(&db).await, "truncated event_1");
    rotate(&db).await;
    assert_eq!(db.text(routes).await, "t:{id}", "the horizon has passed them");
    captured(&db).await;
}

#[tokio::test]
async fn an_incarnation_stays_the_same_until_reset_or_a_crash() {
    let db = TestDb::new().await;
    let of = "select rowcast.incarnation()";
    let first = db.text(of).await;
    assert!(first.len() == 16 && first.bytes().all(|b| b.is_ascii_hexdigit()), "{first}");
    assert_eq!(db.text(of).await, first);
    db.exec("select rowcast.reset()").await;
    let second = db.text(of).await;
    assert_ne!(first, second);
    // Crash recovery and promotion empty an unlogged table.
    db.exec("delete from rowcast.incarnation").await;
    let third = db.text(of).await;
    assert_ne!(second, third);
    assert_eq!(db.text(of).await, third);
    db.exec("truncate rowcast.incarnation; select rowcast.reset()").await;
    assert_ne!(db.text(of).await, third);
    assert_eq!(
        db.text("select relpersistence::text from pg_class where oid = 'rowcast.incarnation'::regclass").await,
        "u"
    );
    let other = TestDb::new().await;
    assert_ne!(other.text(of).await, db.text(of).await, "another database is another stream");
}
