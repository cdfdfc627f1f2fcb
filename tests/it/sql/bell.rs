//! The doorbell: rings for a sleeping listener, and for nobody else.

use sqlx::postgres::PgListener;

use super::{captured, run};
use crate::kit::{TestDb, patiently};

/// The payload of `stop` ends the count: NOTIFYs come in the order of commits.
async fn rings(db: &TestDb<'_>, listener: &mut PgListener) -> usize {
    db.exec("select pg_notify('rowcast', 'stop')").await;
    let mut n = 0;
    loop {
        let heard = patiently("a notification", listener.recv()).await.expect("connected");
        assert_eq!(heard.channel(), "rowcast");
        match heard.payload() {
            "" => n += 1,
            "stop" => return n,
            other => panic!("payload {other}"),
        }
    }
}

#[tokio::test]
async fn a_change_rings_only_while_the_listener_sleeps() {
    let db = TestDb::new().await;
    db.exec(
        "create table t (id int); create table b (id int); create table quiet (id int);
         select rowcast.watch('t', 't:{id}'); select rowcast.watch('b', 'b:{id}', bulk => true);
         select rowcast.watch('quiet', 'q:{id}', bell => false)",
    )
    .await;
    let mut listener = PgListener::connect(&db.url()).await.expect("connected");
    listener.listen("rowcast").await.expect("listening");
    let mut sleeper = db.connect().await;
    let cases = [
        ("insert into t values (1), (2)", 1),
        ("update t set id = id", 0),
        ("update t set id = id + 10", 1),
        ("truncate t", 1),
        ("insert into b values (1), (2)", 1),
        ("update b set id = id", 0),
        ("delete from b where false", 0),
        ("delete from b", 1),
        ("insert into quiet values (1)", 0),
        ("select rowcast.send('c', 'e')", 1),
        ("select rowcast.define_channel('a:{b}')", 1),
        ("select rowcast.define_channel('a:{b}')", 0),
        ("select rowcast.watch('t', 'again:{id}')", 1),
        ("select rowcast.watch('t', 'again:{id}')", 0),
        ("select rowcast.unwatch('t', 'again:{id}')", 1),
        ("select rowcast.undefine_channel('a:{b}')", 1),
        ("select rowcast.reset()", 1),
    ];
    for asleep in [true, false] {
        if asleep {
            run(&mut sleeper, "select pg_advisory_lock(1381257, 1)").await;
        } else {
            run(&mut sleeper, "select pg_advisory_unlock(1381257, 1)").await;
        }
        for (sql, expected) in cases {
            db.exec(sql).await;
            // reset() always rings: it is rare, and nobody must sleep through it.
            let expected = if asleep || sql.contains("reset") { expected } else { 0 };
            assert_eq!(rings(&db, &mut listener).await, expected, "{sql}, asleep {asleep}");
        }
    }
}

#[tokio::test]
async fn a_silent_writer_keeps_the_listener_awake_until_its_end() {
    let db = TestDb::new().await;
    db.exec("create table t (id int); select rowcast.watch('t', 't:{id}')").await;
    let mut writer = db.connect().await;
    run(&mut writer, "begin; insert into t values (1)").await;
    let try_to_sleep = "select (pg_try_advisory_lock(1381257, 1) and pg_advisory_unlock(1381257, 1))::text";
    assert_eq!(db.text(try_to_sleep).await, "false");
    run(&mut writer, "commit").await;
    assert_eq!(db.text(try_to_sleep).await, "true");
}

#[tokio::test]
async fn prepare_transaction_fails_after_a_ring_and_works_without_a_bell() {
    let db = TestDb::new().await;
    db.exec(
        "create table t (id int); create table quiet (id int);
         select rowcast.watch('t', 't:{id}'); select rowcast.watch('quiet', 'q:{id}', bell => false)",
    )
    .await;
    let mut sleeper = db.connect().await;
    run(&mut sleeper, "select pg_advisory_lock(1381257, 1)").await;
    let name = &db.name;
    let rung = db.try_exec(&format!("begin; insert into t values (1); prepare transaction '{name}'")).await;
    assert!(rung.expect_err("NOTIFY cannot be prepared").to_string().contains("PREPARE"));
    let mut writer = db.connect().await;
    run(&mut writer, &format!("begin; insert into quiet values (1); prepare transaction '{name}'")).await;
    assert!(captured(&db).await.is_empty());
    run(&mut writer, &format!("commit prepared '{name}'")).await;
    assert_eq!(captured(&db).await, [r#"i {"id":1}"#]);
}
