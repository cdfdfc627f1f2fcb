use serde_json::Value;

use super::{is_time, listen, untimed};
use crate::kit::ws::Client;
use crate::kit::{Server, TestDb};

const ORDERS: &str = "
    insert into game_order (customer_id, booster_id, actual_price, booster_price, progress, status, message)
      values (5, 4, 100, 85.5, 75, 'Continue', 'Nearly there'), (5, null, 20, null, null, 'New', null);
    insert into lol_division_order (order_id, reached_rank_id, reached_division, reached_marks) values (1, 5, 2, 1);
    insert into order_transaction (user_id, order_id, amount, type) values (5, 1, 10, 'DEPOSIT')";
const FIRST: &str = r#"{"type":"order.update","order_id":1,"status":"Continue","progress":75,"booster_price":"85.50","actual_price":"100.00","booster_id":4,"booster_username":"max","reached_rank":"Platinum","reached_division":2,"reached_marks":1,"message":"Nearly there","timestamp":"T"}"#;
const SECOND: &str = r#"{"type":"order.update","order_id":2,"status":"New","progress":0,"booster_price":"20.00","actual_price":"20.00","booster_id":null,"booster_username":null,"reached_rank":null,"reached_division":null,"reached_marks":null,"message":"Order updated","timestamp":"T"}"#;

async fn orders() -> (TestDb<'static>, Server) {
    let db = TestDb::reference().await;
    db.exec(ORDERS).await;
    let server = Server::start(&db).await;
    (db, server)
}

/// The next message, which must say it is an order's.
async fn update(client: &mut Client) -> Value {
    let frame = client.next_of("event").await;
    let data = frame["data"].clone();
    assert!(data.is_null() || data["type"] == "order.update", "{}", frame.raw);
    assert!(data.is_null() || is_time(data["timestamp"].as_str().expect("text")), "{}", frame.raw);
    data
}

#[tokio::test]
async fn the_snapshot_is_the_frame() {
    let (_db, server) = orders().await;
    let (_, shown) = listen(&server, &["order:1", "order:2", "order:3", "order:x", "order:99999999999999999999"]).await;
    let shown: Vec<_> = shown.iter().map(|text| untimed(text)).collect();
    assert_eq!(shown, [FIRST, SECOND, "null", "null", "null"]);
    server.stop().await;
}

#[tokio::test]
async fn an_order_with_its_game_and_transaction_is_one_message() {
    let (db, server) = orders().await;
    let (mut client, _) = listen(&server, &["order:1"]).await;
    db.exec(
        "begin; update game_order set status = 'Extend', progress = 80 where id = 1;
         update lol_division_order set reached_division = 1; update order_transaction set status = 'Done';
         insert into order_transaction (user_id, order_id, amount, type) values (4, 1, 5, 'WITHDRAWAL'); commit",
    )
    .await;
    let one = update(&mut client).await;
    assert_eq!((&one["status"], &one["progress"], &one["reached_division"]), (&"Extend".into(), &80.into(), &1.into()));
    // Rolled back as a whole, and to a savepoint.
    db.exec("begin; update game_order set progress = 1; update lol_division_order set reached_marks = 9; rollback")
        .await;
    db.exec(
        "begin; update game_order set progress = 85 where id = 1; savepoint s; update game_order set progress = 2, status = 'Done' where id = 1;
         update lol_division_order set reached_marks = 9; rollback to s; commit",
    )
    .await;
    let two = update(&mut client).await;
    assert_eq!((&two["status"], &two["progress"], &two["reached_marks"]), (&"Extend".into(), &85.into(), &1.into()));
    // Nothing was in between: the next is the deletion.
    db.exec("delete from game_order where id = 1").await;
    assert_eq!(update(&mut client).await, Value::Null);
    assert_eq!(db.text("select count(*)::text from order_transaction where order_id is null").await, "2");
    server.stop().await;
}

#[tokio::test]
async fn transactions_tell_the_orders_they_leave_and_join() {
    let (db, server) = orders().await;
    let (mut first, _) = listen(&server, &["order:1"]).await;
    let (mut second, _) = listen(&server, &["order:2"]).await;
    db.exec("update order_transaction set order_id = 2").await;
    let (left, joined) = (update(&mut first).await, update(&mut second).await);
    assert_eq!((&left["order_id"], &joined["order_id"]), (&1.into(), &2.into()));
    let mut last = joined["timestamp"].clone();
    for sql in [
        "insert into order_transaction (user_id, order_id, amount, type) values (5, 2, 1, 'DEPOSIT')",
        "update order_transaction set amount = 2 where id = 2",
        "delete from order_transaction where id = 2",
    ] {
        // An update that changes nothing tells nothing.
        db.exec("update order_transaction set amount = amount").await;
        db.exec(sql).await;
        let next = update(&mut second).await;
        assert!(next["timestamp"].as_str() > last.as_str(), "{sql}: {next} after {last}");
        last = next["timestamp"].clone();
    }
    db.exec("update order_transaction set order_id = null").await;
    update(&mut second).await;
    // The first order heard of nothing but the one that left it.
    db.exec("update game_order set status = 'Done' where id = 1").await;
    assert_eq!(update(&mut first).await["status"], "Done");
    server.stop().await;
}

#[tokio::test]
async fn a_name_that_changes_reaches_the_orders_that_show_it() {
    let (db, server) = orders().await;
    let (mut client, _) = listen(&server, &["order:1"]).await;
    db.exec("update auth_user set last_login = now()").await;
    db.exec("update auth_user set username = 'maximus' where username = 'max'").await;
    assert_eq!(update(&mut client).await["booster_username"], "maximus");
    db.exec("update lol_rank set rank_name = 'Platin' where id = 5").await;
    assert_eq!(update(&mut client).await["reached_rank"], "Platin");
    db.exec("delete from auth_user where username = 'maximus'").await;
    let left = update(&mut client).await;
    assert_eq!((&left["booster_id"], &left["booster_username"]), (&Value::Null, &Value::Null));
    // What is watched of users is their number.
    let logged = db
        .text("select count(*)::text from rowcast.event where new::text ~ 'password' or old::text ~ 'password'")
        .await;
    assert_eq!(logged, "0");
    server.stop().await;
}

#[tokio::test]
async fn a_thousand_orders_in_one_statement_are_one_message_each() {
    let db = TestDb::reference().await;
    db.exec("insert into game_order (customer_id, actual_price) select 5, n from generate_series(1, 1000) n").await;
    let server = Server::start(&db).await;
    let (mut client, _) = listen(&server, &["order:1", "order:500", "order:1000"]).await;
    let reads = super::metric(&server, "rowcast_router_view_reads_total").await;
    db.exec(
        "begin; insert into order_transaction (user_id, order_id, amount, type) select 5, id, 1, 'DEPOSIT' from game_order order by random();
         update game_order set status = 'Continue'; update order_transaction set status = 'Done'; commit",
    )
    .await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let one = update(&mut client).await;
        assert_eq!(one["status"], "Continue");
        seen.push(one["order_id"].as_i64().expect("a number"));
    }
    seen.sort_unstable();
    assert_eq!(seen, [1, 500, 1000]);
    assert_eq!(super::metric(&server, "rowcast_router_view_reads_total").await - reads, 1);
    assert_eq!(db.text("select count(*)::text from order_history").await, "4000");
    server.stop().await;
}
