//! Many clients at once.

use futures_util::future::join_all;

use super::{connect, world};
use crate::kit::ws::Client;
use crate::kit::{Server, http_client, patiently, wait_until};

/// Each with two sockets, ours and the server's, in this one process.
const CLIENTS: usize = 1_000;

async fn metric(server: &Server, name: &str) -> u64 {
    let text = http_client().get(server.http("/metrics")).send().await.expect("an answer").text().await.expect("text");
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
    let value: f64 = line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number");
    value as u64
}

/// As many as the machine's hard limit allows. Nothing else in this process looks at it.
fn raise_open_files_max() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to our own struct, which outlives both calls.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
    }
}

/// Counted where it cannot be wrong: Postgres draws a number for each row that a query of the rates looks at.
const COUNT_ROWS: &str = "create sequence rows_read; alter table rowcast_fx.rates enable row level security;
    alter table rowcast_fx.rates force row level security;
    create policy counted on rowcast_fx.rates using (nextval('rows_read') > 0) with check (true)";

/// One reading may run and one may wait, which everybody joins who comes meanwhile. The first one's query is held up until all
/// others have come: they share the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_at_once_cost_two_queries() {
    raise_open_files_max();
    let (db, server) = world().await;
    db.exec(COUNT_ROWS).await;
    let rows_read = async || -> u64 {
        let drawn = db.text("select case when is_called then last_value else 0 end::text from rows_read").await;
        drawn.parse().expect("a number")
    };
    for (path, first, channels) in
        [("/ws/rates/", "all_rates", 2), ("/api/v1/ws/rates?pairs=USD/NGN", "rate_update", 1)]
    {
        let before = metric(&server, "rowcast_router_view_reads_total").await;
        let rows_before = rows_read().await;
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
        // The table has four rows.
        let counted_by_postgres = (rows_read().await - rows_before) / 4;
        eprintln!("{path}: {CLIENTS} clients, {queries} queries ({counted_by_postgres} by Postgres' count)");
        assert_eq!((queries, counted_by_postgres), (2, 2));
        join_all(clients.into_iter().map(|c| c.close())).await;
        wait_until("all have gone", async || metric(&server, "rowcast_hub_subscriptions").await == 0).await;
    }
    server.stop().await;
}

/// Who does not read while rates move gets the newest of each pair, not each one, and is not cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_gets_the_newest_rate_of_each_pair() {
    const CHANGES: usize = 6_000;
    let (db, server) = world().await;
    for (path, last, place, shown) in [
        ("/ws/rates/", "0.5", "/data/rate/data/rate", "2"),
        ("/api/v1/ws/rates", "0.25", "/rate", "\"0.25\""),
        ("/api/v1/ws/rates?pairs=USD/NGN", "0.125", "/rate", "\"0.125\""),
    ] {
        let before = metric(&server, "rowcast_hub_conflated_total").await;
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let address = server.url.trim_start_matches("http://");
        let tcp = patiently("a connection", socket.connect(address.parse().expect("an address"))).await.expect("open");
        let mut client = Client::over(tcp, format!("ws://{address}{path}")).await.expect("a WebSocket");
        client.skip_to(if path == "/ws/rates/" { "all_rates" } else { "rate_update" }).await;
        db.exec(&format!(
            "do $$ begin for n in 1..{CHANGES} loop \
               update rowcast_fx.rates set rate = n where source_currency = 'USD' and destination_currency = 'NGN'; \
             end loop; end $$"
        ))
        .await;
        wait_until("messages are replaced", async || metric(&server, "rowcast_hub_conflated_total").await > before)
            .await;
        let update = format!("update rowcast_fx.rates set rate = {last} where source_currency = 'USD'");
        db.exec(&format!("{update} and destination_currency = 'NGN'")).await;
        let mut got = 1;
        while client.next_of("rate_update").await.value.pointer(place).map(ToString::to_string).as_deref()
            != Some(shown)
        {
            got += 1;
        }
        eprintln!("{path}: {CHANGES} changes, {got} messages");
        assert!(got < CHANGES, "{got} messages");
    }
    server.stop().await;
}
