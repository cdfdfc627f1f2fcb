use std::time::Instant;

use serde_json::value::RawValue;

use super::{listen, metric};
use crate::kit::{Server, TestDb};

/// `n` portfolios of ten investments each in two hundred symbols.
fn holdings(n: usize) -> String {
    format!(
        "insert into asset_price (symbol, name, price, previous_close) select 'S' || g, 'Asset ' || g, 100 + g, 99 + g from generate_series(1, 200) g;
         insert into portfolio (user_id, name) select null, 'P' || g from generate_series(1, {n}) g;
         insert into investment (portfolio_id, symbol, quantity, purchase_price)
           select p, 'S' || 1 + (p * 7 + k * 19) % 200, 1.5 * k, 100 from generate_series(1, {n}) p, generate_series(1, 10) k"
    )
}

async fn value(client: &mut crate::kit::ws::Client) -> String {
    let frame = client.next_of("event").await;
    format!("{} {}", frame.str_of("channel"), frame["data"]["total_value"])
}

/// A price that a thousand portfolios hold, and ten listeners: one query reads the ten.
#[tokio::test]
async fn a_price_reaches_those_who_hold_it_and_only_the_heard_ones_are_read() {
    let db = TestDb::reference().await;
    db.exec(&holdings(1000)).await;
    db.exec(
        "insert into asset_price (symbol, price, previous_close) values ('ALL', 1, 1), ('ODD', 1, 1);
         insert into investment (portfolio_id, symbol, quantity, purchase_price)
           select p, 'ALL', 1, 1 from generate_series(1, 1000) p union all select p, 'ODD', 1, 1 from generate_series(1, 1000, 2) p",
    )
    .await;
    let server = Server::start(&db).await;
    let mut clients = Vec::new();
    for id in 1..=10 {
        clients.push(listen(&server, &[&format!("portfolio:{id}")]).await.0);
    }
    let reads = metric(&server, "rowcast_router_view_reads_total").await;
    db.exec("update asset_price set price = 2.25 where symbol = 'ALL'").await;
    for (id, client) in (1..).zip(&mut clients) {
        let frame = client.next_of("event").await;
        assert_eq!((&frame["data"]["portfolio_id"], frame["event"].as_str()), (&id.into(), Some("state")));
        let all =
            frame["data"]["investments"].as_array().expect("a list").iter().find(|i| i["symbol"] == "ALL").cloned();
        assert_eq!(all.map(|i| i["value"].clone()), Some(2.25.into()));
    }
    assert_eq!(metric(&server, "rowcast_router_view_reads_total").await - reads, 1, "reads for one price");
    // Who holds it, is what the route finds.
    let keys =
        db.text("select keys_sql from rowcast.route where template = 'portfolio:{id}' and keys is not null and until is null").await;
    let row = RawValue::from_string(r#"{"symbol":"ODD"}"#.into()).expect("JSON");
    let found = db.with_store(async |store| store.resolve_keys(&keys, &[&row]).await).await.expect("it is read");
    let mut found: Vec<i32> = found.iter().map(|k| k.values[0].parse().expect("a number")).collect();
    found.sort_unstable();
    assert_eq!(found, (1..=1000).step_by(2).collect::<Vec<_>>());
    server.stop().await;
}

#[tokio::test]
async fn each_of_its_tables_moves_a_portfolio_and_nothing_else_does() {
    let db = TestDb::reference().await;
    db.exec(
        "insert into asset_price (symbol, price, previous_close) values ('A', 10, 10), ('B', 1, 1);
         insert into portfolio (user_id, name) values (1, 'p'), (1, 'q');
         insert into investment (portfolio_id, symbol, quantity, purchase_price) values (1, 'A', 2, 5), (2, 'B', 1, 1)",
    )
    .await;
    let server = Server::start(&db).await;
    let (mut client, _) = listen(&server, &["portfolio:1", "portfolio:2"]).await;
    let cases: &[(&str, &[&str])] = &[
        ("update asset_price set price = 11 where symbol = 'A'", &["portfolio:1 22.0"]),
        (
            "insert into investment (portfolio_id, symbol, quantity, purchase_price) values (1, 'C', 1, 7)",
            &["portfolio:1 29.0"],
        ),
        // A price where there was none; one that changes nothing; one that is rolled back.
        ("insert into asset_price (symbol, price, previous_close) values ('C', 8, 7)", &["portfolio:1 30.0"]),
        ("update asset_price set price = price, updated_at = now()", &[]),
        ("begin; update asset_price set price = 0; rollback", &[]),
        (
            "begin; update asset_price set price = 12 where symbol = 'A'; savepoint s; update asset_price set price = 0; rollback to s; commit",
            &["portfolio:1 32.0"],
        ),
        ("delete from asset_price where symbol = 'C'", &["portfolio:1 31.0"]),
        ("update investment set portfolio_id = 2 where symbol = 'C'", &["portfolio:1 24.0", "portfolio:2 8.0"]),
        ("delete from investment where portfolio_id = 2 and symbol = 'C'", &["portfolio:2 1.0"]),
        ("update asset_price set price = 20.005 where symbol = 'B'", &["portfolio:2 20.01"]),
        ("delete from portfolio where id = 2", &["portfolio:2 null"]),
        // Another symbol, which nobody holds, and the old one again.
        ("update asset_price set symbol = 'Z' where symbol = 'A'", &["portfolio:1 10.0"]),
        ("update asset_price set symbol = 'A' where symbol = 'Z'", &["portfolio:1 24.0"]),
        ("truncate asset_price", &["portfolio:1 10.0"]),
    ];
    for (sql, expected) in cases {
        db.exec(sql).await;
        let mut seen = Vec::new();
        for _ in *expected {
            seen.push(value(&mut client).await);
        }
        seen.sort();
        assert_eq!(&seen, expected, "{sql}");
    }
    server.stop().await;
}

/// Everything at once: a thousand prices in one statement, a listener to a thousand portfolios.
#[tokio::test]
async fn a_whole_markets_update_is_one_message_for_each_portfolio() {
    let db = TestDb::reference().await;
    db.exec(&holdings(200)).await;
    let server = Server::with(&db.url(), |c| c.router.read_keys_max = 1_000).await;
    let channels: Vec<String> = (1..=100).map(|id| format!("portfolio:{id}")).collect();
    let (mut client, _) = listen(&server, &channels.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let reads = metric(&server, "rowcast_router_view_reads_total").await;
    db.exec("update asset_price set price = price * 2").await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..100 {
        assert!(seen.insert(value(&mut client).await.split(' ').next().map(str::to_owned)), "twice");
    }
    assert_eq!(metric(&server, "rowcast_router_view_reads_total").await - reads, 1);
    server.stop().await;
}

#[tokio::test]
async fn values_are_recorded_when_they_change_and_forgotten_in_time() {
    let db = TestDb::reference().await;
    db.exec(
        "insert into asset_price (symbol, price, previous_close) values ('A', 10, 10);
         insert into portfolio (user_id, name, is_active) values (1, 'p', true), (1, 'empty', true), (1, 'closed', false);
         insert into investment (portfolio_id, symbol, quantity, purchase_price) select id, 'A', 2, 5 from portfolio where name <> 'empty'",
    )
    .await;
    let job =
        db.text("select sql from rowcast.job where name = 'reference-portfolio-values' and cron = '* * * * *'").await;
    let recorded =
        "select string_agg(portfolio_id || ':' || value, ' ' order by at, portfolio_id) from portfolio_value";
    let steps = [
        ("select 1", "1:20.00 2:0.00"),
        ("select 1", "1:20.00 2:0.00"),
        ("update asset_price set price = 11", "1:20.00 2:0.00 1:22.00"),
        // The newest of a portfolio still holds, however old it is.
        ("update portfolio_value set at = at - interval '40 days'", "2:0.00 1:22.00"),
    ];
    for (sql, expected) in steps {
        db.exec(sql).await;
        db.exec(&job).await;
        let seen = db.text(recorded).await;
        let order = |text: &str| text.split(' ').map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(order(&seen), order(expected), "{sql}");
    }
}

#[tokio::test]
async fn the_history_for_a_chart_is_thinned_evenly() {
    let db = TestDb::reference().await;
    db.exec(
        "insert into portfolio (user_id, name) values (1, 'p');
         insert into portfolio_value select 1, now() - n * interval '1 minute', n from generate_series(0, 600) n",
    )
    .await;
    let history = |since: &str, n: &str| {
        format!(
            "select coalesce(string_agg(value::text, ' ' order by at), '') from rowcast_reference.portfolio_history(1, now() - interval '{since}', {n})"
        )
    };
    // What held at the beginning, then the last of each span.
    assert_eq!(db.text(&history("90 seconds", "100")).await, "2 1 0");
    assert_eq!(db.text(&history("11 hours", "1")).await, "0");
    assert_eq!(db.text(&history("-1 hours", "5")).await, "0");
    for n in ["0", "-3", "1"] {
        assert_eq!(db.text(&history("100 minutes", n)).await, "100 0", "n = {n}");
    }
    let ten = db.text(&history("100 minutes", "10")).await;
    let ten: Vec<i32> = ten.split(' ').map(|v| v.parse().expect("a number")).collect();
    assert_eq!((ten.len(), ten[0], ten[10]), (11, 100, 0));
    assert!(ten.windows(2).all(|w| (8..=11).contains(&(w[0] - w[1]))), "{ten:?}");
    assert_eq!(db.text(&history("10 hours", "100000")).await.split(' ').count(), 601);
}

/// What a read of a thousand portfolios costs, by the function per key and by the view: what the channel uses must not be the slower.
#[tokio::test]
#[ignore = "a measurement"]
async fn measure_a_thousand_portfolios() {
    let db = TestDb::reference().await;
    db.exec(&holdings(10_000)).await;
    db.admin_exec("vacuum analyze").await;
    let keys: Vec<Vec<String>> = (1..=1000).map(|id| vec![id.to_string()]).collect();
    let view = db.text("select read_sql from rowcast.channel where pattern = 'portfolio:{portfolio_id}'").await;
    let function = db
        .text("select rowcast.read_function('rowcast_reference.portfolio_data(text)'::regprocedure, 1, 'public')")
        .await;
    db.with_store(async |store| {
        for round in 0..5 {
            for (name, sql) in [("view", &view), ("function", &function)] {
                let since = Instant::now();
                let read = store.read_view(sql, &keys).await.expect("it is read");
                assert!(read.data.iter().all(Option::is_some));
                println!("round {round}: {name:8} {:.1} ms", since.elapsed().as_secs_f64() * 1e3);
            }
        }
    })
    .await;
    let tick = "update asset_price set price = price + 1 where symbol = 'S1'";
    let since = Instant::now();
    db.exec(tick).await;
    println!("a price: {:.1} ms", since.elapsed().as_secs_f64() * 1e3);
}
