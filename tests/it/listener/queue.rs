//! The NOTIFY queue is one for the cluster: whoever LISTENs and sits in a transaction fills it for everybody.

use crate::kit::ws::Client;
use crate::kit::{OwnCluster, Server, TestDb, wait_until};

/// Full: NOTIFY fails everywhere, but our writers' transactions do not, and nothing is lost or late. Versions before 17 cannot be given a
/// small queue, and theirs has 8 GiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_fails_no_writer_and_loses_nothing() {
    if TestDb::bare().await.text("select current_setting('server_version_num')").await.as_str() < "170000" {
        return;
    }
    let pg = OwnCluster::with(&[("max_notify_queue_pages", "64")]);
    let db = TestDb::on(&pg).await;
    db.exec("create table item (id int primary key); select rowcast.watch('item', 'items')").await;
    let (server, second) = (Server::start(&db).await, Server::start(&db).await);
    let mut clients = Vec::new();
    for server in [&server, &second] {
        let mut client = Client::connect(&server.ws()).await;
        client.next_of("welcome").await;
        client.send(serde_json::json!({"type": "subscribe", "channel": "items"})).await;
        client.skip_to("snapshot").await;
        clients.push(client);
    }
    db.exec("insert into item values (1)").await;
    for client in &mut clients {
        assert_eq!(client.next_of("event").await["data"]["id"], 1);
    }
    let mut stuck = db.connect().await;
    for sql in ["listen elsewhere", "begin", "select 1"] {
        sqlx::raw_sql(sql).execute(&mut stuck).await.expect("a session of somebody's own");
    }
    let fill = "select count(pg_notify('elsewhere', repeat('x', 7000) || i)) from generate_series(1, 10) i";
    // Bit by bit, as it happens in life: past the half of it the listener lets go of the bell.
    while db.try_exec(fill).await.is_ok() {
        wait_until("a poll", async || {
            let usage = db.text("select pg_notification_queue_usage()::text").await.parse::<f64>().expect("a number");
            usage < 0.5 || db.text("select count(*)::text from pg_locks where locktype = 'advisory' and classid = 1381257 and objid = 1 and mode = 'ExclusiveLock' and granted").await == "0"
        })
        .await;
    }
    assert!(db.try_exec("select pg_notify('elsewhere', repeat('y', 7000))").await.is_err(), "it is full");
    for id in 2..=20 {
        db.exec(&format!("insert into item values ({id})")).await;
        for client in &mut clients {
            assert_eq!(client.next_of("event").await["data"]["id"], id, "no reset, no gap");
        }
    }
    // One that starts now can live with it, too.
    server.stop().await;
    db.exec("insert into item values (21)").await;
    assert_eq!(clients[1].next_of("event").await["data"]["id"], 21);
    drop(stuck);
    second.stop().await;
}
