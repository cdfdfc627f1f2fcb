//! Many clients at once.

use futures_util::future::join_all;

use super::{connect, world};
use crate::kit::{Server, http_client, wait_until};

const CLIENTS: usize = 300;

async fn metric(server: &Server, name: &str) -> u64 {
    let text = http_client().get(server.http("/metrics")).send().await.expect("an answer").text().await.expect("text");
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
    let value: f64 = line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number");
    value as u64
}

/// The first one's query is held up until all others have come: they share the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_clients_at_once_cost_two_queries() {
    let (db, server) = world().await;
    for (path, first, channels) in
        [("/ws/rates/", "all_rates", 2), ("/api/v1/ws/rates?pairs=USD/NGN", "rate_update", 1)]
    {
        let before = metric(&server, "rowcast_router_view_reads_total").await;
        let mut lock = db.connect().await;
        let mut held = sqlx::Connection::begin(&mut lock).await.expect("a transaction");
        sqlx::raw_sql("lock table rowcast_fx.rates").execute(&mut *held).await.expect("nobody else has it");
        let mut clients = join_all((0..CLIENTS).map(|_| connect(&server, path))).await;
        let subscribed = (CLIENTS * channels) as u64;
        wait_until("all have joined", async || metric(&server, "rowcast_hub_subscriptions").await == subscribed).await;
        held.rollback().await.expect("the lock goes");
        let got = join_all(clients.iter_mut().map(|c| c.skip_to(first))).await;
        assert!(got.iter().all(|frame| frame.raw == got[0].raw));
        let queries = metric(&server, "rowcast_router_view_reads_total").await - before;
        eprintln!("{path}: {CLIENTS} clients, {queries} queries");
        assert!((1..=2).contains(&queries), "{queries} queries");
        join_all(clients.into_iter().map(|c| c.close())).await;
        wait_until("all have gone", async || metric(&server, "rowcast_hub_subscriptions").await == 0).await;
    }
    server.stop().await;
}
