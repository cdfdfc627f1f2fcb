//! A dead rowcast must not fill the disk: past the lease capture records nothing, writers go on, and everybody is told.

use serde_json::Value;

use super::{captured, run};
use crate::kit::TestDb;

const EXPIRE: &str = "select setval('rowcast.lease', date_part('epoch', clock_timestamp())::bigint - 1)";
const INCARNATION: &str = "select rowcast.incarnation()";

async fn tend(db: &TestDb<'_>) -> Value {
    serde_json::from_str(&db.text("select rowcast.tend(60, 1 << 30)::text").await).expect("json")
}

async fn watched(bulk: bool) -> TestDb<'static> {
    let db = TestDb::new().await;
    db.exec(&format!("create table t (id int); select rowcast.watch('t', 't:{{id}}', bulk => {bulk})")).await;
    db
}

#[tokio::test]
async fn a_fresh_install_records_and_tending_keeps_it_so() {
    let db = watched(false).await;
    db.exec("insert into t values (1)").await;
    assert_eq!(captured(&db).await.len(), 1);
    let before = db.text(INCARNATION).await;
    let left =
        "select (last_value - date_part('epoch', clock_timestamp())::bigint between A and B)::text from rowcast.lease";
    // An hour from when the template was made that all tests copy.
    assert_eq!(db.text(&left.replace('A', "1").replace('B', "3600")).await, "true");
    let report = tend(&db).await;
    assert_eq!(
        (&report["gap"], &report["gap_pending"], &report["stopped"]),
        (&false.into(), &false.into(), &false.into())
    );
    assert_eq!(db.text(&left.replace('A', "50").replace('B', "60")).await, "true");
    assert_eq!(db.text(INCARNATION).await, before);
    assert_eq!(db.text("select last_value::text from rowcast.log_bytes_max").await, (1u64 << 30).to_string());
}

#[tokio::test]
async fn past_the_lease_writers_go_on_and_the_stream_begins_anew() {
    for bulk in [false, true] {
        let db = watched(bulk).await;
        let before = db.text(INCARNATION).await;
        db.exec(EXPIRE).await;
        db.exec(
            "insert into t values (1); update t set id = 2; delete from t; truncate t; select rowcast.send('c', 'e')",
        )
        .await;
        assert_eq!(db.text("select count(*)::text from rowcast.event where op <> 'c'").await, "0", "bulk {bulk}");
        // First the fact is made durable, with capture still off; then the stream begins anew.
        let report = tend(&db).await;
        assert_eq!((&report["gap"], &report["gap_pending"]), (&true.into(), &true.into()));
        db.exec("insert into t values (1)").await;
        assert!(captured(&db).await.is_empty(), "not yet");
        assert_eq!(db.text(INCARNATION).await, before);
        let report = tend(&db).await;
        assert_eq!((&report["gap"], &report["gap_pending"]), (&false.into(), &false.into()));
        assert_ne!(db.text(INCARNATION).await, before);
        db.exec("insert into t values (3)").await;
        assert_eq!(captured(&db).await, [r#"i {"id":3}"#]);
        assert_eq!(
            db.text("select (last_gap_at > now() - interval '1 minute')::text from rowcast.state").await,
            "true"
        );
    }
}

#[tokio::test]
async fn the_gap_is_not_over_while_a_writer_that_passed_unrecorded_is_in_flight() {
    let db = watched(false).await;
    db.exec(EXPIRE).await;
    let mut writer = db.connect().await;
    run(&mut writer, "begin; insert into t values (1)").await;
    assert_eq!(tend(&db).await["gap_pending"], true);
    let mut seen = vec![db.text(INCARNATION).await];
    // Capture is on again at once, for the others; those who look now are told to look again later.
    for _ in 0..2 {
        assert_eq!(tend(&db).await["gap_pending"], true);
        let now = db.text(INCARNATION).await;
        assert!(!seen.contains(&now));
        seen.push(now);
    }
    db.exec("insert into t values (2)").await;
    assert_eq!(captured(&db).await, [r#"i {"id":2}"#]);
    run(&mut writer, "commit").await;
    assert_eq!(tend(&db).await["gap_pending"], false);
    let last = db.text(INCARNATION).await;
    assert!(!seen.contains(&last), "one more time, after its rows became visible");
    tend(&db).await;
    assert_eq!(db.text(INCARNATION).await, last);
}

#[tokio::test]
async fn a_tend_that_fails_forgets_no_gap() {
    let db = watched(false).await;
    let before = db.text(INCARNATION).await;
    db.exec(EXPIRE).await;
    db.exec("insert into t values (1)").await;
    // Sequences know no rollback: a renewed lease must not outlive the note of the gap.
    for _ in 0..3 {
        db.exec("begin; select rowcast.tend(60, 1 << 30); select rowcast.tend(60, 1 << 30); rollback").await;
        db.exec("insert into t values (2)").await;
        assert!(captured(&db).await.is_empty());
    }
    tend(&db).await;
    db.exec("begin; select rowcast.tend(60, 1 << 30); rollback").await;
    tend(&db).await;
    assert_ne!(db.text(INCARNATION).await, before);
}

#[tokio::test]
async fn a_log_that_outgrows_its_bound_stops_and_starts_anew() {
    for bulk in [false, true] {
        let db = watched(bulk).await;
        let before = db.text(INCARNATION).await;
        db.exec("select setval('rowcast.log_bytes_max', 1000000)").await;
        let mut writer = db.connect().await;
        // In bulk a row of the log holds hundreds of these, and the size is looked at for each 512 rows of the log.
        let (many, bounds) = if bulk { (100_000, 200_000..700_000) } else { (10_000, 8192..30_000) };
        for _ in 0..8 {
            run(&mut writer, &format!("insert into t select generate_series(1, {many})")).await;
        }
        let count =
            "select sum(case op when 'I' then json_array_length(new -> 0 -> 'id') else 1 end)::text from rowcast.event";
        let recorded: u64 = db.text(count).await.parse().expect("a number");
        assert!(bounds.contains(&recorded), "bulk {bulk}: {recorded} of {}", 8 * many);
        assert_eq!(db.text("select last_value::text from rowcast.lease").await, "1");
        let small = "select rowcast.tend(60, 1000000) ->> ";
        assert_eq!(db.text(&format!("{small} 'gap_pending'")).await, "true");
        assert_eq!(db.text(&format!("{small} 'gap_pending'")).await, "false");
        assert_eq!(db.text("select count(*)::text from rowcast.event").await, "0", "truncated");
        assert_ne!(db.text("select horizon::text from rowcast.state").await, "0");
        assert_ne!(db.text(INCARNATION).await, before);
        db.exec("insert into t values (1)").await;
        assert_eq!(captured(&db).await.len(), 1);
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_emptied_stays_stopped() {
    let db = watched(false).await;
    db.exec("insert into t select generate_series(1, 20000)").await;
    let mut reader = db.connect().await;
    run(&mut reader, "begin; select count(*) from rowcast.event").await;
    let small = "select rowcast.tend(60, 100000)::text";
    db.text(small).await;
    for _ in 0..2 {
        let report: Value = serde_json::from_str(&db.text(small).await).expect("json");
        assert_eq!((&report["stopped"], &report["gap_pending"]), (&true.into(), &true.into()));
        db.exec("insert into t values (1)").await;
    }
    run(&mut reader, "commit").await;
    let report: Value = serde_json::from_str(&db.text(small).await).expect("json");
    assert_eq!((&report["stopped"], &report["gap_pending"]), (&false.into(), &false.into()));
    db.exec("insert into t values (1)").await;
    assert_eq!(captured(&db).await.len(), 1);
}

#[tokio::test]
async fn a_stop_that_comes_while_tend_runs_is_not_renewed_away() {
    let db = watched(false).await;
    let before = db.text(INCARNATION).await;
    // A writer finds the log too large between tend's look at the lease and its renewal: the flag outlives the renewal.
    db.exec("select setval('rowcast.log_full', 2)").await;
    assert_eq!(tend(&db).await["gap"], true);
    assert_eq!(db.text("select last_value::text from rowcast.lease").await, "1");
    assert_eq!(tend(&db).await["gap_pending"], false);
    assert_ne!(db.text(INCARNATION).await, before);
}

#[tokio::test]
async fn tending_needs_sensible_bounds() {
    let db = TestDb::new().await;
    for bounds in ["9, 1000", "60, 0", "null, 1000", "60, null"] {
        let r = super::refused(&db, &format!("select rowcast.tend({bounds})")).await;
        assert_eq!(r.code, "RC006", "{bounds}");
    }
}
