//! What was committed comes out as it is.

use rowcast::domain::Op;
use rowcast::listener::Config;

use super::{Tap, beltless, notes};
use crate::kit::{TestDb, wait_until};

#[tokio::test]
async fn rows_come_as_postgres_wrote_them() {
    let db = notes().await;
    let mut tap = Tap::live(beltless(), &db.url()).await;
    db.exec(
        r#"insert into rowcast.event (slot, source, op, new, old, matched, at, channel, event) values
             (0, 7, 'u', '{"n": 10.50,  "big":9007199254740993}', '{"n":null}', '{3,-4}', '2000-01-01 00:00:00.000001Z', null, null),
             (1, 0, 's', '"hi"', null, null, '1970-01-01Z', 'rooms:1', 'said'),
             (2, -1, 'c', null, null, null, '2026-11-21 12:00Z', null, null),
             (3, 9, 't', null, null, '{}', '2026-11-21 12:00Z', null, null);
           select pg_notify('rowcast', '')"#,
    )
    .await;
    tap.until("four rows", |stream| stream.rows.len() == 4).await;
    let [updated, sent, config, truncated] = &tap.stream.rows[..] else { unreachable!("four") };
    assert_eq!((updated.op, updated.source, &*updated.matched), (Op::Update, 7, &[3, -4][..]));
    assert_eq!(updated.new.as_deref(), Some(&br#"{"n": 10.50,  "big":9007199254740993}"#[..]), "text as it was");
    assert_eq!(updated.old.as_deref(), Some(&br#"{"n":null}"#[..]));
    assert_eq!(updated.at_us, 946_684_800_000_001);
    assert_eq!((sent.op, sent.source, sent.at_us), (Op::Send, 0, 0));
    assert_eq!((sent.channel.as_deref(), sent.event.as_deref()), (Some("rooms:1"), Some("said")));
    assert_eq!((config.op, config.source, config.new.is_none()), (Op::Config, -1, true));
    assert_eq!((truncated.op, truncated.source), (Op::Truncate, 9));
    assert!(tap.stream.rows.iter().all(|row| row.xid == updated.xid));
}

#[tokio::test]
async fn a_large_drain_comes_in_pieces() {
    let db = notes().await;
    let config = Config { drain_rows_max: 3_000, ..beltless() };
    let mut tap = Tap::live(config, &db.url()).await;
    db.exec("insert into note select i::text from generate_series(1, 20000) i").await;
    tap.until("20,000 rows", |stream| stream.rows.len() == 20_000).await;
    let big: Vec<_> = tap.stream.pieces.iter().copied().filter(|(rows, _)| *rows > 0).collect();
    assert_eq!(big, [vec![(3_000, false); 6], vec![(2_000, true)]].concat());
    let expected: Vec<_> = (1..=20_000).map(|i| format!("\"{i}\"")).collect();
    assert_eq!(tap.stream.news(), expected);
}

#[tokio::test]
async fn pieces_are_bounded_in_bytes_too() {
    let db = notes().await;
    let config = Config { drain_bytes_max: 100_000, ..beltless() };
    let mut tap = Tap::live(config, &db.url()).await;
    db.exec("insert into note select repeat('x', 60000) from generate_series(1, 5)").await;
    tap.until("5 rows", |stream| stream.rows.len() == 5).await;
    let big: Vec<_> = tap.stream.pieces.iter().copied().filter(|(rows, _)| *rows > 0).collect();
    assert_eq!(big, [(2, false), (2, false), (1, true)]);
}

#[tokio::test]
async fn a_slow_consumer_makes_the_drain_wait_and_loses_nothing() {
    let db = notes().await;
    // Room for one message, and little patience: every piece stalls.
    let config = Config { drain_rows_max: 10, feed_stall_ms: 5, heartbeat_ms: 50, ..beltless() };
    let mut tap = Tap::with_room(config, &db.url(), 1);
    tap.until("the stream to begin", |stream| !stream.begins.is_empty()).await;
    db.exec("insert into note select i::text from generate_series(1, 1000) i").await;
    for stalls in 1..=20 {
        wait_until("it stalls", async || tap.stats().feed_stalls >= stalls).await;
        let feed = tap.feed.try_recv().expect("full");
        tap.stream.take(feed);
    }
    db.exec("insert into note values ('meanwhile')").await;
    tap.until("all rows", |stream| stream.has("\"meanwhile\"")).await;
    let mut expected: Vec<_> = (1..=1_000).map(|i| format!("\"{i}\"")).collect();
    expected.push("\"meanwhile\"".into());
    assert_eq!(tap.stream.news(), expected);
    assert!(tap.stats().drains_resumed > 10);
}

#[tokio::test]
async fn other_peoples_notifications_pass_through() {
    let db = notes().await;
    let odd = r#"Odd "name" é"#;
    let config = Config { foreign_channels: vec!["rates".into(), odd.into()], ..beltless() };
    let mut tap = Tap::live(config, &db.url()).await;
    db.exec(&format!("select pg_notify('rates', '{{\"a\":1}}'), pg_notify('{odd}', 'x'), pg_notify('deaf', 'y')"))
        .await;
    tap.until("two payloads", |stream| stream.foreign.len() == 2).await;
    assert_eq!(tap.stream.foreign, [("rates".into(), r#"{"a":1}"#.into()), (odd.into(), "x".into())]);
    assert_eq!(tap.stats().foreign_dropped, 0);
}

/// The SQL side and this one agree on the log, the doorbell and the pg channel: nothing but the real triggers here.
#[tokio::test]
async fn a_watched_table_a_message_and_the_configuration_ring_a_sleeper() {
    let db = TestDb::new().await;
    db.exec("create table orders (id int primary key, state text)").await;
    let mut tap = Tap::live(beltless(), &db.url()).await;
    tap.armed().await;
    db.exec("select rowcast.watch('orders', 'orders:{id}')").await;
    tap.until("the configuration's row", |stream| stream.rows.iter().any(|row| row.op == Op::Config)).await;
    tap.armed().await;
    db.exec("insert into orders values (1, 'new')").await;
    tap.until("the insert", |stream| stream.rows.iter().any(|row| row.op == Op::Insert)).await;
    tap.armed().await;
    db.exec("select rowcast.send('rooms:1', 'said', '{\"n\": 1.0}')").await;
    tap.until("the message", |stream| stream.rows.iter().any(|row| row.op == Op::Send)).await;
    let (insert, sent) = (&tap.stream.rows[tap.stream.rows.len() - 2], &tap.stream.rows[tap.stream.rows.len() - 1]);
    assert_eq!(insert.new.as_deref(), Some(&br#"{"id":1,"state":"new"}"#[..]));
    assert_eq!((sent.channel.as_deref(), sent.new.as_deref()), (Some("rooms:1"), Some(&br#"{"n": 1.0}"#[..])));
    tap.armed().await;
    db.exec("select rowcast.reset()").await;
    tap.until("another stream", |stream| stream.begins.len() == 2).await;
    assert_eq!(tap.stats().rows_found_by_safety_poll, 0);
}
