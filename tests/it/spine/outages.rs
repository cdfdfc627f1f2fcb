//! What a database can do to its readers besides ending: come back older, or have no room.

use rowcast::embedded::Mode;

use super::*;
use crate::kit::{OwnCluster, Proxy, wait_until};

/// A standby that lags behind takes over: what it never had is gone, and everybody is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promotion_of_a_standby_that_lags_is_told_by_a_reset() {
    let primary = OwnCluster::start();
    let db = TestDb::on(&primary).await;
    db.exec(
        "create table item (id int primary key); select rowcast.watch('item', 'items');
         select rowcast.define_channel('items', view => 'item'); insert into item values (1)",
    )
    .await;
    let standby = tokio::task::block_in_place(|| OwnCluster::standby_of(&primary));
    let at_standby = TestDb::at(&standby, &db.name);
    wait_until("the standby to follow", async || at_standby.text("select count(*)::text from item").await == "1").await;
    at_standby.admin_exec("select pg_wal_replay_pause()").await;

    let proxy = Proxy::to_unix(primary.socket()).await;
    let server = Server::with(&db.url_through(&proxy), |_| ()).await;
    let mut ws = client(&server).await;
    subscribe(&mut ws, "items").await;
    db.exec("insert into item values (2)").await;
    let lost = ws.next_of("event").await;
    assert_eq!(lost["data"]["id"], 2);

    tokio::task::block_in_place(|| primary.stop(Mode::Kill9));
    proxy.redirect_to_unix(standby.socket());
    proxy.cut().await;
    at_standby.admin_exec("select pg_promote(wait => false)").await;
    assert_eq!(ws.next_of("reset").await["code"], "stream_restarted");
    ws.next_of("subscribed").await;
    let snapshot = ws.next_of("snapshot").await;
    assert!(snapshot["data"].as_array().expect("rows").iter().any(|row| row["id"] == 1));
    at_standby.exec("insert into item values (3)").await;
    assert_eq!(ws.next_of("event").await["data"]["id"], 3);

    // A cursor of the old life is not mistaken for one of the new.
    let mut late = client(&server).await;
    late.send(json!({"type": "subscribe", "channel": "items", "cursor": lost.str_of("cursor")})).await;
    assert_eq!(late.next_of("reset").await["code"], "stream_restarted");
    server.stop().await;
}

/// No room for the log: the writer is told, as for any table; what was committed arrives; then it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_fails_the_writer_and_loses_nothing() {
    let pg = OwnCluster::start();
    let db = TestDb::on(&pg).await;
    db.exec("create table item (id int primary key); select rowcast.watch('item', 'items')").await;
    db.exec(
        "create table chunk (v int, big text); select rowcast.watch('chunk', 'chunks');
         insert into chunk select 0, string_agg(md5(g::text), '') from generate_series(1, 30000) g",
    )
    .await;
    let server = Server::start(&db).await;
    let mut ws = client(&server).await;
    subscribe(&mut ws, "items").await;
    db.exec("insert into item values (1)").await;
    assert_eq!(ws.next_of("event").await["data"]["id"], 1);

    // Files of new sessions may not grow past 24 MiB: the log's slot is the first that wants to.
    file_size_max(&db, &pg, "25165824").await;
    let refusal = loop {
        let mut session = db.connect().await;
        // The table keeps its large value where it is; the log gets it with each change.
        if let Err(refusal) = sqlx::raw_sql("update chunk set v = v + 1").execute(&mut session).await {
            break refusal.to_string();
        }
    };
    assert!(refusal.contains("could not") && refusal.contains("file"), "the writer is told why: {refusal}");
    file_size_max(&db, &pg, "unlimited").await;
    let mut session = db.connect().await;
    sqlx::raw_sql("insert into item values (2)").execute(&mut session).await.expect("there is room again");
    assert_eq!(ws.next_of("event").await["data"]["id"], 2, "no reset, no gap");
    server.stop().await;
}

/// Of the postmaster, for the sessions that it starts from now on; by its own user, who may.
async fn file_size_max(db: &TestDb<'_>, pg: &OwnCluster, bytes: &str) {
    let pid = pg.pid().expect("it runs");
    db.admin_exec(&format!("copy (select 1) to program 'prlimit --pid {pid} --fsize={bytes}:unlimited'")).await;
}
