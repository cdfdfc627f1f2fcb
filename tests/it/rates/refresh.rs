use chrono::Duration;
use rowcast::rates::{Answer, Confidence, Round};
use serde_json::Value;

use super::{NOW, answer, at, refresh, refresher, store};
use crate::kit::{TestDb, wait_until};

const THREE: [&str; 3] = [
    "a: USD/NGN 1535.5, USD/EUR 0.8731, USD/UGX 3542.118",
    "b: USD/NGN 1536, USD/EUR 0.8732, USD/UGX 3543",
    "c: USD/NGN 1537, USD/EUR 0.8733, USD/UGX 3544",
];
const FEW: &str = "sources = ['USD', 'EUR']\ndestinations = ['NGN', 'UGX']";

async fn counts(db: &TestDb<'_>) -> Vec<String> {
    let mut counts = Vec::new();
    for what in [
        "rates' || (select string_agg(xmin::text || rate, '+' order by 1) from rowcast_fx.rates)",
        "history ' || (select count(*) from rowcast_fx.rate_history)",
        "quotes ' || (select count(*) from rowcast_fx.rate_quote)",
        "marks' || (select string_agg(xmin::text, '+' order by 1) from rowcast_fx.rate_mark)",
        "refreshes ' || (select count(*) from rowcast_fx.rate_refresh)",
        "events ' || (select count(*) from rowcast.event where source > 0)",
    ] {
        counts.push(db.text(&format!("select '{what}")).await);
    }
    counts
}

#[tokio::test]
async fn rates_come_out_in_both_directions() {
    let db = TestDb::new().await;
    let r = refresher(&db, FEW).await;
    let report = refresh(&r, &THREE, at(NOW)).await;
    assert_eq!((report.changed.len(), report.written, report.used, report.rejected), (4, 4, 9, 0), "{report}");
    assert_eq!(report.to_string(), "4 rates changed, 0 unchanged; 9 quotes used, 0 rejected");
    for (pair, rate, inverse, digits_of_inverse) in [
        ("USD_NGN", "1536", "0.000651041666666667", 15),
        ("USD_UGX", "3543", "0.000282246683601468", 15),
        ("EUR_NGN", "1759.047182776", "0.000568489583333333", 15),
        ("EUR_UGX", "4057.48969308291", "0.000246457804120802", 15),
    ] {
        let (source, destination) = pair.split_once('_').expect("two");
        let row = format!(
            "from rowcast_fx.rates where (source_currency, destination_currency) = ('{source}', '{destination}')"
        );
        assert_eq!(db.text(&format!("select rate::text {row}")).await, rate, "{pair}");
        let found = db.text(&format!("select inverse::text {row}")).await;
        assert_eq!(found, inverse, "{pair}");
        assert_eq!(found.trim_start_matches(['0', '.']).len(), digits_of_inverse, "{pair}");
        assert_eq!(
            db.text(&format!("select confidence || sources::text || (as_of = '{NOW}') {row}")).await,
            "high{a,b,c}true"
        );
    }
}

#[tokio::test]
async fn published_rates_are_read_by_either_end() {
    let db = TestDb::new().await;
    let store = store(&db);
    let read = store.published_rates(None, None).await.expect("an empty reading has a snapshot, too");
    assert!(read.rates.is_empty() && read.snapshot.xmax() > 0);
    refresh(&refresher(&db, FEW).await, &THREE, at(NOW)).await;
    for (source, destination, expected) in [
        (None, None, vec!["EUR_NGN", "EUR_UGX", "USD_NGN", "USD_UGX"]),
        (Some("USD"), None, vec!["USD_NGN", "USD_UGX"]),
        (None, Some("NGN"), vec!["EUR_NGN", "USD_NGN"]),
        (Some("USD"), Some("NGN"), vec!["USD_NGN"]),
        (Some("NGN"), Some("USD"), vec![]),
    ] {
        let read = store.published_rates(source, destination).await.expect("a reading");
        let found: Vec<_> = read.rates.iter().map(|r| format!("{}_{}", r.source, r.destination)).collect();
        assert_eq!(found, expected, "{source:?} {destination:?}");
        for r in read.rates {
            assert_eq!((r.updated_at_us, r.as_of_us), (at(NOW).timestamp_micros(), Some(at(NOW).timestamp_micros())));
        }
    }
}

#[tokio::test]
async fn the_unchanged_writes_nothing_and_tells_nobody() {
    let db = TestDb::new().await;
    let r = refresher(&db, FEW).await;
    r.open_channels().await.expect("the owner opens channels");
    refresh(&r, &THREE, at(NOW)).await;
    let before = counts(&db).await;
    assert_eq!(before[5], "events 5", "four rates, one refresh");
    // The very same answers again: as when a daily provider is asked each five seconds.
    let answers: Vec<Answer> = THREE.iter().map(|s| answer(s, at(NOW))).collect();
    let report = r.refresh(&Round::from(answers), at(NOW) + Duration::seconds(5)).await.expect("a refresh");
    assert_eq!((report.changed.len(), report.written, report.unchanged, report.used), (0, 0, 4, 9));
    assert_eq!(counts(&db).await, before);
    // The same values with new time stamps: the quotes are on record, the rates rest; also past the heartbeat.
    refresh(&r, &THREE, at(NOW) + Duration::seconds(59)).await;
    refresh(&r, &THREE, at(NOW) + Duration::seconds(130)).await;
    let after = counts(&db).await;
    assert_eq!((&after[..2], &after[4..]), (&before[..2], &before[4..]));
    assert_ne!(after[2], before[2]);
    // One currency of two moves: its two pairs travel, and the refresh after them.
    let moved = [THREE[0], "b: USD/NGN 1535.6, USD/EUR 0.8732, USD/UGX 3543", THREE[2]];
    let report = refresh(&r, &moved, at(NOW) + Duration::seconds(135)).await;
    assert_eq!((report.written, report.unchanged), (2, 2));
    let events = db.texts("select s.rel::text || ' ' || (e.new ->> 'destination_currency') || ' ' || (e.new ->> 'rate') || ' ' || (e.new ->> 'previous') \
        from rowcast.event e join rowcast.source s on s.id = e.source where op = 'u' order by e.id").await;
    assert_eq!(
        events,
        [
            Some("rowcast_fx.rates NGN 1758.58909757215 1759.047182776".into()),
            Some("rowcast_fx.rates NGN 1535.6 1536".into()),
        ]
    );
    let last = db.text("select s.rel::text || ' ' || (e.new ->> 'changed') from rowcast.event e join rowcast.source s on s.id = e.source \
        order by e.id desc limit 1").await;
    assert_eq!(last, "rowcast_fx.rate_refresh 2");
}

#[tokio::test]
async fn a_small_change_waits_for_the_heartbeat() {
    let db = TestDb::new().await;
    let r = refresher(&db, "sources = ['USD']\ndestinations = ['NGN']").await;
    for (after_s, rate, stands) in [
        (0, "1000", "1000"),
        (10, "1000.09", "1000"),
        (20, "1000.1", "1000.1"),
        (79, "1000.11", "1000.1"),
        (80, "1000.11", "1000.11"),
    ] {
        refresh(&r, &[&format!("a: USD/NGN {rate}")], at(NOW) + Duration::seconds(after_s)).await;
        assert_eq!(db.text("select rate::text from rowcast_fx.rates").await, stands, "after {after_s} s");
    }
}

#[tokio::test]
async fn a_jump_is_held_over_restarts_and_the_last_good_value_ages() {
    let db = TestDb::new().await;
    let config = "sources = ['USD']\ndestinations = ['NGN']";
    let state = "select concat_ws(' ', rate, confidence, cached, expired, warnings) from rowcast_fx.rates";
    for (hour, quote, expected) in [
        (0, "1000", "1000 low f f {}"),
        (1, "1200", "1000 low t f {\"a jump of the market waits for confirmation\"}"),
        (2, "1201", "1201 low f f {}"),
        (3, "", "1201 low t f {\"no fresh quote: this is the last good value\"}"),
        (26, "", "1201 low t f {\"no fresh quote: this is the last good value\"}"),
        (27, "", "1201 low t t {\"no fresh quote for too long: do not use this rate\"}"),
        (28, "1202", "1202 low f f {}"),
    ] {
        let r = refresher(&db, config).await;
        let spec = format!("a: USD/NGN {quote}");
        let specs = if quote.is_empty() { vec![] } else { vec![spec.as_str()] };
        let report = refresh(&r, &specs, at(NOW) + Duration::hours(hour)).await;
        assert_eq!(db.text(state).await, expected, "hour {hour}");
        let held: Vec<_> =
            report.held.iter().map(|h| format!("{} {} {} {:?}", h.of, h.last, h.jump, h.sources)).collect();
        assert_eq!(held, if hour == 1 { vec![r#"NGN 1000 1200 ["a"]"#] } else { vec![] });
        let age = report.cached.first().map(|c| (c.age_s / 3_600, c.expired));
        assert_eq!(
            age,
            [None, Some((1, false)), None, Some((1, false)), Some((24, false)), Some((25, true)), None]
                [[0, 1, 2, 3, 26, 27, 28].iter().position(|h| *h == hour).expect("listed")]
        );
        assert_eq!(report.expired.len(), usize::from(hour == 27));
    }
}

#[tokio::test]
async fn every_quote_is_kept_with_its_fate() {
    let db = TestDb::new().await;
    let r = refresher(&db, FEW).await;
    let specs = [
        "a: USD/NGN 1535.5, USD/EUR 0.8731, USD/JPY 155",
        "b: USD/NGN 1536, USD/UGX 0",
        "liar: USD/NGN 153.6, USD/u\u{0}x 3",
        "flutterwave!: USD/NGN 1510, NGN/USD 0.0006",
    ];
    let report = refresh(&r, &specs, at(NOW)).await;
    assert_eq!((report.used, report.rejected, report.quotes.len()), (4, 3, 7));
    let kept = db
        .texts(
            "select concat_ws(' ', provider, base_currency, quote_currency, rate, reason, detail) \
        from rowcast_fx.rate_quote where cycle = 1 order by provider, quote_currency",
        )
        .await;
    let expected = [
        "a USD EUR 0.8731",
        "a USD NGN 1535.5",
        "b USD NGN 1536",
        "b USD UGX 0 range not between 0 and 1000000000",
        "flutterwave USD NGN 1510",
        "liar USD NGN 153.6 outlier 90 % from the median, 3 % are allowed",
        "liar USD ux 3 code not a currency code",
    ];
    assert_eq!(kept, expected.map(|e| Some(e.to_owned())));
    let row = "from rowcast_fx.rates where source_currency = 'USD' and destination_currency = 'NGN'";
    assert_eq!(
        db.text(&format!("select concat_ws(' ', rate, executed_by, confidence, round(mid, 6)) {row}")).await,
        "1510 flutterwave medium 1535.749980"
    );
    assert_eq!(report.missing.iter().map(ToString::to_string).collect::<Vec<_>>(), ["EUR_UGX", "USD_UGX"]);
}

#[tokio::test]
async fn two_refreshers_neither_lose_nor_repeat_anything() {
    let db = TestDb::new().await;
    let (one, two) = (refresher(&db, FEW).await, refresher(&db, FEW).await);
    one.open_channels().await.expect("the owner opens channels");
    refresh(&one, &THREE, at(NOW)).await;
    for round in 1..=10i64 {
        let quotes: Vec<String> = ["a", "b", "c"]
            .iter()
            .map(|p| format!("{p}: USD/NGN {}, USD/EUR 0.8732, USD/UGX 3543", 1_536 + round * 2))
            .collect();
        let quotes: Vec<&str> = quotes.iter().map(String::as_str).collect();
        let now = at(NOW) + Duration::seconds(round);
        let (a, b) = tokio::join!(refresh(&one, &quotes, now), refresh(&two, &quotes, now));
        assert_ne!(a.cycle, b.cycle, "each has a cycle of its own");
        assert_eq!(a.written + b.written, 2, "round {round}: {a} | {b}");
    }
    assert_eq!(db.text("select n::text from rowcast_fx.rate_cycle").await, "21");
    assert_eq!(
        db.text("select count(*)::text from rowcast_fx.rate_history where destination_currency = 'NGN'").await,
        "22"
    );
    assert_eq!(db.text("select count(*)::text from rowcast_fx.rate_refresh").await, "11");
    // Who fetched before the other, and writes after it, writes nothing.
    let late = refresh(&two, &["a: USD/NGN 1"], at(NOW) + Duration::seconds(9)).await;
    assert!(late.superseded && late.changed.is_empty(), "{late}");
    assert_eq!(db.text("select n::text from rowcast_fx.rate_cycle").await, "21");
    // Unless the other's clock was an hour ahead.
    db.exec("update rowcast_fx.rate_cycle set at = at + interval '1 hour'").await;
    assert!(!refresh(&two, &THREE, at(NOW) + Duration::seconds(20)).await.superseded);
}

#[tokio::test]
async fn who_comes_second_decides_anew() {
    let db = TestDb::new().await;
    let config = "sources = ['USD']\ndestinations = ['NGN']";
    let (one, two) = (refresher(&db, config).await, refresher(&db, config).await);
    refresh(&one, &["a: USD/NGN 1000"], at(NOW)).await;
    // Both have read the state, and stand before the gate.
    let mut gate = db.connect().await;
    sqlx::raw_sql("begin; select from rowcast_fx.rate_cycle for update").execute(&mut gate).await.expect("a lock");
    let now = at(NOW) + Duration::seconds(5);
    let opened = async {
        let waiting = "select count(*)::text from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        wait_until("both stand before the gate", async || db.text(waiting).await == "2").await;
        sqlx::raw_sql("commit").execute(&mut gate).await.expect("the gate opens");
    };
    let (a, b, ()) =
        tokio::join!(refresh(&one, &["a: USD/NGN 1200"], now), refresh(&two, &["b: USD/NGN 1201"], now), opened);
    // Two providers saw the jump: the first is held, and the second, having read that, confirms it.
    assert_eq!((a.held.len() + b.held.len(), a.cycle + b.cycle), (1, 5), "{a} | {b}");
    let second = if a.cycle > b.cycle { "1200" } else { "1201" };
    assert_eq!(db.text("select rate::text from rowcast_fx.rates").await, second);
}

#[tokio::test]
async fn a_rate_typed_by_hand_goes_out_and_stands_until_its_time_is_over() {
    let db = TestDb::new().await;
    let r = refresher(&db, FEW).await;
    r.open_channels().await.expect("the owner opens channels");
    r.open_channels().await.expect("again is no harm");
    refresh(&r, &THREE, at(NOW)).await;
    db.exec("set search_path = public, rowcast_fx; update rates set rate = 1600 where source_currency = 'USD' and destination_currency = 'NGN'").await;
    let event: Value =
        serde_json::from_str(&db.text("select new::text from rowcast.event order by id desc limit 1").await)
            .expect("JSON");
    assert_eq!(
        (&event["rate"], &event["inverse"], &event["previous"]),
        (&1600.into(), &serde_json::json!(0.000625), &1536.into())
    );
    assert_ne!(event["updated_at"], "2026-11-20T16:05:00+00:00");
    let told = "select concat_ws(' ', rate, confidence, cardinality(sources), mid, extract(epoch from held_until - updated_at)::int)
        from rowcast_fx.rates where source_currency = 'USD' and destination_currency = 'NGN'";
    assert_eq!(db.text(told).await, "1600 low 0 600", "nobody quoted it");
    let report = refresh(&r, &THREE, at(NOW) + Duration::seconds(5)).await;
    assert_eq!((report.written, report.by_hand), (0, 1));
    assert!(report.to_string().contains("1 held by hand"), "{report}");
    // Its writer may say how long, and take it back: no rate changes, and nothing goes out.
    let until = async |text: &str| {
        db.exec(&format!("update rowcast_fx.rates set held_until = {text} where held_until is not null")).await
    };
    until("'infinity'").await;
    db.exec("update rowcast_fx.rates set rate = 1600.5 where held_until = 'infinity'").await;
    assert_eq!(refresh(&r, &THREE, at(NOW) + Duration::seconds(6)).await.by_hand, 1);
    until("now()").await;
    let report = refresh(&r, &THREE, at(NOW) + Duration::seconds(7)).await;
    assert_eq!((report.written, report.by_hand, report.changed[0].confidence), (1, 0, Confidence::High));
    assert_eq!(db.text(told).await, "1536 high 3 1536", "and it is not held any more");
    let series = db.texts("select rate::text from rowcast_fx.rate_history where source_currency = 'USD' and destination_currency = 'NGN' order by ctid").await;
    assert_eq!(series.len(), 4, "{series:?}");
    // The other direction is a rate, too: what the first application of these rates calls one.
    db.exec(
        "update rowcast_fx.rates set inverse = 0.000625 where source_currency = 'USD' and destination_currency = 'NGN'",
    )
    .await;
    db.exec(
        "insert into rowcast_fx.rates (source_currency, destination_currency, inverse) values ('GBP', 'NGN', 0.0005)",
    )
    .await;
    let typed = db.texts("select rate || ' ' || inverse from rowcast_fx.rates where destination_currency = 'NGN' and source_currency <> 'EUR' order by source_currency").await;
    assert_eq!(typed, [Some("2000 0.0005".into()), Some("1600 0.000625".into())]);
    for wrong in ["null", "0", "-1", "'NaN'", "1e18"] {
        assert!(db.try_exec(&format!("update rowcast_fx.rates set rate = {wrong}")).await.is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn extreme_rates_keep_their_digits() {
    let db = TestDb::new().await;
    let r = refresher(&db, "sources = ['AAA', 'BBB']\ndestinations = ['AAA', 'BBB']").await;
    refresh(
        &r,
        &["a: USD/AAA 0.000012345678901234567", "b: USD/AAA 0.000012345678901234567, USD/BBB 987654321.123456"],
        at(NOW),
    )
    .await;
    let rates = db.texts("select rate::text || ' ' || inverse from rowcast_fx.rates order by source_currency").await;
    assert_eq!(
        rates,
        [
            Some("80000000730999.9 0.0000000000000124999998857813".into()),
            Some("0.0000000000000124999998857813 80000000730999.9".into()),
        ]
    );
}
