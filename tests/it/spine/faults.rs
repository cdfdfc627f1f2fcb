//! Postgres and the server end in every way, in the middle of the stream.

use super::*;
use crate::kit::{Binary, OwnCluster, wait_until};

const ITEMS: &str = "create table item (id int primary key); select rowcast.watch('item', 'items')";

#[tokio::test]
async fn a_clean_restart_of_postgres_passes_unnoticed() {
    let pg = OwnCluster::start();
    let db = TestDb::on(&pg).await;
    db.exec(ITEMS).await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    subscribe(&mut ws, "items").await;
    db.exec("insert into item values (1)").await;
    assert_eq!(ws.next_of("event").await["data"]["id"], 1);
    pg.restart(rowcast::embedded::Mode::Fast).expect("it comes back");
    wait_until("a connection", async || db.try_exec("insert into item values (2)").await.is_ok()).await;
    assert_eq!(ws.next_of("event").await["data"]["id"], 2, "no reset, no gap");
    server.stop().await;
}

#[tokio::test]
async fn a_crash_of_postgres_is_told_by_a_reset() {
    let pg = OwnCluster::start();
    let db = TestDb::on(&pg).await;
    db.exec(ITEMS).await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    subscribe(&mut ws, "items").await;
    pg.restart(rowcast::embedded::Mode::Kill9).expect("it recovers");
    wait_until("a connection", async || db.try_exec("select 1").await.is_ok()).await;
    assert_eq!(ws.next_of("reset").await["code"], "stream_restarted");
    ws.next_of("subscribed").await;
    ws.next_of("snapshot").await;
    db.exec("insert into item values (3)").await;
    assert_eq!(ws.next_of("event").await["data"]["id"], 3);
    server.stop().await;
}

#[tokio::test]
async fn the_listener_is_killed_and_catches_up() {
    let db = TestDb::new().await;
    db.exec(ITEMS).await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    subscribe(&mut ws, "items").await;
    for id in 1..=5 {
        let kill = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
                       and application_name like 'rowcast%'";
        db.admin_exec(kill).await;
        db.exec(&format!("insert into item values ({id})")).await;
        assert_eq!(ws.next_of("event").await["data"]["id"], id);
    }
    server.stop().await;
}

#[tokio::test]
async fn the_server_is_killed_and_its_clients_resume_at_the_next() {
    let db = TestDb::new().await;
    db.exec(ITEMS).await;
    let serve = || Binary::new(&["serve", "--listen", "127.0.0.1:0"]).env("DATABASE_URL", &db.url()).start();
    let mut server = serve().ready().await;
    let mut ws = Client::connect(&server.ws("/ws")).await;
    ws.next_of("welcome").await;
    let cursor = subscribe(&mut ws, "items").await.str_of("cursor").to_owned();
    server.kill9().await;
    db.exec("insert into item values (1), (2)").await;
    let server = serve().ready().await;
    let mut ws = Client::connect(&server.ws("/ws")).await;
    ws.next_of("welcome").await;
    ws.send(json!({"type": "subscribe", "channel": "items", "cursor": cursor})).await;
    assert_eq!(ws.next_of("subscribed").await["resumed"], true);
    for id in [1, 2] {
        assert_eq!(ws.next_of("event").await["data"]["id"], id);
    }
    // SIGTERM: the client is told to come back.
    server.signal(libc::SIGTERM);
    assert_eq!(ws.expect_close().await.code, 1012);
}

#[tokio::test]
async fn two_instances_follow_and_succeed_each_other() {
    let db = TestDb::new().await;
    db.exec(ITEMS).await;
    let (first, second) = (Server::start(&db).await, Server::start(&db).await);
    let (mut a, mut b) = (client(&first).await, client(&second).await);
    subscribe(&mut a, "items").await;
    subscribe(&mut b, "items").await;
    db.exec("insert into item values (1)").await;
    for ws in [&mut a, &mut b] {
        assert_eq!(ws.next_of("event").await["data"]["id"], 1);
    }
    first.stop().await;
    db.exec("insert into item values (2)").await;
    assert_eq!(b.next_of("event").await["data"]["id"], 2);
    second.stop().await;
}

/// DESIGN: a dead rowcast must not fill the disk, and what went unrecorded is told.
#[tokio::test]
async fn after_a_gap_in_recording_everyone_starts_over() {
    let db = TestDb::new().await;
    db.exec(ITEMS).await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    let cursor = subscribe(&mut ws, "items").await.str_of("cursor").to_owned();
    server.stop().await;
    // As if nobody had tended the log for an hour.
    db.exec("select setval('rowcast.lease', 2)").await;
    db.exec("insert into item values (1)").await;
    assert_eq!(db.text("select count(*)::text from rowcast.event where source > 0").await, "0", "capture has stopped");
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    ws.send(json!({"type": "subscribe", "channel": "items", "cursor": cursor})).await;
    ws.next_of("reset").await;
    ws.next_of("subscribed").await;
    ws.next_of("snapshot").await;
    db.exec("insert into item values (2)").await;
    assert_eq!(ws.next_of("event").await["data"]["id"], 2, "capture goes on");
    server.stop().await;
}
