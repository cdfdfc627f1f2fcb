//! `/ws/portfolio/`.

use std::time::Instant;

use futures_util::future::join_all;
use serde_json::json;

use super::{World, golden, survives_nonsense, take, world};
use crate::kit::wait_until;

const HOLDINGS: &str = "
    insert into asset_price (symbol, name, price, previous_close) values ('AAPL', 'Apple Inc.', 175.50, 173), ('BTC', '', 64250, 63800);
    insert into portfolio (id, user_id, name) values (1, null, 'Sample \"Portfolio\"'), (2, 1, 'Savings');
    insert into investment (portfolio_id, symbol, quantity, purchase_price) values
      (1, 'AAPL', 100, 150), (1, 'OWN', 2.5, 10), (2, 'BTC', 0.125, 41000);";

async fn with_holdings(endpoints: &str) -> World {
    let world = world(endpoints).await;
    world.db.exec(HOLDINGS).await;
    world
}

#[tokio::test]
async fn hello_then_the_portfolio_then_each_change() {
    let world = with_holdings("[portfolio]\ninterval_ms = 0").await;
    for path in ["/ws/portfolio/", "/ws/portfolio"] {
        golden("portfolio_anonymous", &take(&mut world.connect(path, None).await, 2).await);
        golden("portfolio_alice", &take(&mut world.connect(path, Some(1)).await, 2).await);
    }
    let mut client = world.connect("/ws/portfolio/", None).await;
    take(&mut client, 2).await;
    world.db.exec("update asset_price set price = 180.25 where symbol = 'AAPL'").await;
    // Another's changes are no news.
    world.db.exec("update asset_price set price = 1 where symbol = 'BTC'").await;
    world.db.exec("update investment set quantity = 100.5 where symbol = 'AAPL'").await;
    client.send(json!({"type": "get_portfolio_data"})).await;
    let mut frames = take(&mut client, 2).await;
    while frames.last().expect("two").value["type"] != "portfolio_data" {
        frames.push(client.next().await);
    }
    // How many updates come before the answer depends on who is faster; the last state is what counts.
    golden("portfolio_data", &frames[frames.len() - 1..]);
    assert!(frames[..frames.len() - 1].iter().all(|f| f["type"] == "price_update"), "{frames:?}");
    survives_nonsense(&mut client, Some(r#"{"type":"get_portfolio_data"}"#)).await;
    golden("portfolio_data", &[client.next_of("portfolio_data").await]);
    world.server.stop().await;
}

#[tokio::test]
async fn updates_stop_and_start_and_the_newest_state_comes_at_once() {
    let world = with_holdings("[portfolio]\ninterval_ms = 0").await;
    let mut client = world.connect("/ws/portfolio/", None).await;
    take(&mut client, 2).await;
    let price = |frame: &crate::kit::ws::Frame| frame["data"]["investments"][0]["current_price"].to_string();
    let set = async |price: &str| {
        world.db.exec(&format!("update asset_price set price = {price} where symbol = 'AAPL'")).await;
    };
    client.send(json!({"type": "stop_updates"})).await;
    client.send(json!({"type": "stop_updates"})).await;
    // Its answer says that the stop has been obeyed.
    client.send(json!({"type": "get_portfolio_data"})).await;
    client.next_of("portfolio_data").await;
    wait_until("nobody listens", async || world.metric("rowcast_hub_subscriptions").await == 0).await;
    set("181").await;
    set("182").await;
    client.send(json!({"type": "get_portfolio_data"})).await;
    assert_eq!(price(&client.next_of("portfolio_data").await), "182.0", "nothing was said in between");
    // A new stream does not start what was stopped.
    let begun = world.metric("rowcast_listener_incarnations_total").await;
    world.db.exec("select rowcast.reset()").await;
    wait_until("it has begun", async || world.metric("rowcast_listener_incarnations_total").await > begun).await;
    set("183").await;
    client.send(json!({"type": "start_updates"})).await;
    assert_eq!(price(&client.next_of("price_update").await), "183.0");
    client.send(json!({"type": "start_updates"})).await;
    set("184").await;
    // The connection may be shown 183 once more, where it was started before it had started over.
    let mut shown = price(&client.next_of("price_update").await);
    while shown == "183.0" {
        shown = price(&client.next_of("price_update").await);
    }
    assert_eq!(shown, "184.0");
    // And goes on with what was started.
    world.db.exec("select rowcast.reset()").await;
    assert_eq!(price(&client.next_of("price_update").await), "184.0");
    world.server.stop().await;
}

#[tokio::test]
async fn at_most_one_update_per_interval_and_the_last_state_is_never_lost() {
    const INTERVAL_MS: u128 = 300;
    let world = with_holdings(&format!("[portfolio]\ninterval_ms = {INTERVAL_MS}")).await;
    let mut client = world.connect("/ws/portfolio/", None).await;
    let mut native = crate::kit::ws::Client::connect(&world.server.ws()).await;
    native.next_of("welcome").await;
    native.send(json!({"type": "subscribe", "channel": "portfolio:1"})).await;
    native.skip_to("snapshot").await;
    take(&mut client, 2).await;
    let begun = Instant::now();
    let (mut updates, mut native_updates, mut n) = (0, 0, 0);
    while begun.elapsed().as_millis() < 4 * INTERVAL_MS {
        n += 1;
        world.db.exec(&format!("update asset_price set price = {n} where symbol = 'AAPL'")).await;
        native.next_of("event").await;
        native_updates += 1;
    }
    loop {
        updates += 1;
        let frame = client.next_of("price_update").await;
        if frame["data"]["investments"][0]["current_price"] == json!(f64::from(n)) {
            break;
        }
    }
    eprintln!("{n} changes: {updates} updates in {:?}, {native_updates} on the native endpoint", begun.elapsed());
    // The first of each interval, and the interval that has just begun.
    assert!(updates <= begun.elapsed().as_millis() / INTERVAL_MS + 1, "{updates} updates in {:?}", begun.elapsed());
    assert!(updates >= 3, "{updates}");
    world.server.stop().await;
}

/// A price that a thousand portfolios hold, ten of which somebody listens to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_price_tick_costs_two_queries_for_a_thousand_portfolios() {
    const LISTENERS: i64 = 10;
    let world = with_holdings("[portfolio]\ninterval_ms = 0\n[one]\npath = \"/ws/one/{id}/\"\nauth = \"none\"\nchannels = [\"portfolio:{id}\"]").await;
    world
        .db
        .exec(
            "insert into portfolio (id, name) select n, 'p' || n from generate_series(1001, 2000) n;
             insert into investment (portfolio_id, symbol, quantity, purchase_price) select n, 'AAPL', n, 1 from generate_series(1001, 2000) n",
        )
        .await;
    let paths: Vec<String> = (0..LISTENERS).map(|n| format!("/ws/one/{}/", 1001 + 100 * n)).collect();
    let mut clients = join_all(paths.iter().map(|path| world.connect(path, None))).await;
    for client in &mut clients {
        client.next_of("snapshot").await;
    }
    let counts = async || {
        (world.metric("rowcast_router_key_queries_total").await, world.metric("rowcast_router_view_reads_total").await)
    };
    wait_until("the stream is quiet", async || {
        let before = counts().await;
        world.db.exec("select rowcast.send('elsewhere', 'e', '1')").await;
        before == counts().await
    })
    .await;
    let before = counts().await;
    world.db.exec("update asset_price set price = 200 where symbol = 'AAPL'").await;
    for client in &mut clients {
        assert_eq!(client.next_of("state").await["data"]["investments"][0]["current_price"], 200.0);
    }
    let after = counts().await;
    let (keys, views) = (after.0 - before.0, after.1 - before.1);
    eprintln!(
        "a price tick over 1,000 portfolios with {LISTENERS} listeners: {} queries ({keys} for keys, {views} for views)",
        keys + views
    );
    assert_eq!((keys, views), (1, 1));
    world.server.stop().await;
}
