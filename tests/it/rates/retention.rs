use chrono::Duration;

use super::{NOW, at, refresh, refresher, store};
use crate::kit::TestDb;

const PARTS: &str = "select string_agg(relname, ' ' order by relname) from pg_class c join pg_inherits i on i.inhrelid = c.oid \
    where relkind = 'r' and i.inhparent in ('rowcast_fx.rate_quote'::regclass, 'rowcast_fx.rate_history'::regclass) and relname like 'rate_%_2%'";

#[tokio::test]
async fn old_quotes_and_history_are_dropped_by_partition() {
    let db = TestDb::new().await;
    let config = "sources = ['USD']\ndestinations = ['NGN']\nquote_retention_days = 2\nhistory_retention_days = 40";
    let r = refresher(&db, config).await;
    // Far from the real clock, whose partitions the migration has made.
    let start = at("2031-01-30T12:00:00Z");
    for day in 0..=45 {
        let now = start + Duration::days(day);
        refresh(&r, &[&format!("a: USD/NGN {}", 1_000 + day)], now).await;
        for (table, days) in [("rate_quote", 3), ("rate_history", 72)] {
            let oldest = db.text(&format!("select min(at)::date::text from rowcast_fx.{table}")).await;
            let bound = (now - Duration::days(days)).date_naive().to_string();
            assert!(oldest >= bound, "day {day}: {table} goes back to {oldest}");
        }
    }
    assert_eq!(
        db.text(PARTS).await,
        "rate_history_203102 rate_history_203103 rate_history_203104 rate_quote_20310314 rate_quote_20310315 rate_quote_20310316 rate_quote_20310317"
    );
    assert_eq!(db.text("select count(*)::text from rowcast_fx.rate_quote_rest").await, "0");
    assert_eq!(db.text("select count(*)::text from rowcast_fx.rate_history_rest").await, "0");
}

#[tokio::test]
async fn what_is_busy_waits_and_what_is_early_is_kept() {
    let db = TestDb::new().await;
    let r = refresher(&db, "sources = ['USD']\ndestinations = ['NGN']").await;
    refresh(&r, &["a: USD/NGN 1000"], at(NOW)).await;
    // A long reader, as pg_dump is, of every partition.
    let mut reader = db.connect().await;
    for sql in ["begin", "lock table rowcast_fx.rate_quote, rowcast_fx.rate_history in access share mode"] {
        sqlx::raw_sql(sql).execute(&mut reader).await.expect("a reader reads");
    }
    let later = at("2032-05-05T00:00:00Z");
    let tend = format!("select (rowcast_fx.tend(7, 400, '{later}') -> 'busy')::text");
    let busy = db.text(&tend).await;
    assert!(busy.contains("rate_quote_20320505") && busy.contains("rate_history_202611"), "{busy}");
    refresh(&r, &["a: USD/NGN 1001"], later).await;
    assert_eq!(db.text("select count(*)::text from rowcast_fx.rate_quote_rest").await, "1");
    sqlx::raw_sql("commit").execute(&mut reader).await.expect("the reader ends");
    // Its day's partition can no longer be made; the row stays where it is, and goes when its time has come.
    db.text(&tend).await;
    assert_eq!(db.text("select count(*)::text from rowcast_fx.rate_quote_rest").await, "1");
    assert_eq!(db.text("select count(*)::text from rowcast_fx.rate_quote where at < '2032-01-01'").await, "0");
    db.text("select rowcast_fx.tend(7, 400, '2032-05-13')::text").await;
    assert_eq!(db.text("select count(*)::text from rowcast_fx.rate_quote").await, "0");
    let refused = db.try_exec("select rowcast_fx.tend(0, 400)").await.expect_err("nothing to keep").to_string();
    assert!(refused.contains("at least one day"), "{refused}");
}

#[tokio::test]
async fn history_is_read_oldest_first_and_bounded() {
    let db = TestDb::new().await;
    let r = refresher(&db, "sources = ['USD']\ndestinations = ['NGN']").await;
    for i in 0..5 {
        refresh(&r, &[&format!("a: USD/NGN {}", 1_000 + i)], at(NOW) + Duration::seconds(i)).await;
    }
    let store = store(&db);
    let from_us = (at(NOW) + Duration::seconds(1)).timestamp_micros();
    let series = store.rate_history("USD", "NGN", from_us, 3).await.expect("a series");
    let rates: Vec<_> = series.iter().map(|p| p.rate.as_str()).collect();
    assert_eq!(rates, ["1002", "1003", "1004"]);
    assert_eq!(series[2].at_us, from_us + 3_000_000);
}
