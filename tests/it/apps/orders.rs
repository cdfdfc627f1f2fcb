//! `/ws/orders/{id}/`.

use serde_json::json;

use super::{golden, survives_nonsense, take, world};

const ORDERS: &str = "
    insert into game_order (id, customer_id, booster_id, manager_id, status, price, actual_price, booster_price, progress, message) values
      (123, 5, 4, 6, 'Continue', 110, 100, 85.5, 70, null), (124, 5, null, null, 'New', 50, 45, null, null, 'Soon');
    insert into lol_division_order (order_id, reached_rank_id, reached_division, reached_marks) values (123, 5, 2, 1);
    insert into order_transaction (id, user_id, order_id, amount, type) values (1, 5, 124, 45, 'DEPOSIT');";

#[tokio::test]
async fn the_order_comes_first_and_then_one_frame_per_transaction() {
    let world = world("").await;
    world.db.exec(ORDERS).await;
    for path in ["/ws/orders/123/", "/ws/orders/123"] {
        golden("order_123", &take(&mut world.connect(path, Some(5)).await, 1).await);
    }
    let mut client = world.connect("/ws/orders/123/", Some(5)).await;
    let mut other = world.connect("/ws/orders/124/", Some(5)).await;
    client.next_of("order.update").await;
    golden("order_124", &take(&mut other, 1).await);
    world
        .db
        .exec(
            "begin; update game_order set progress = 80, status = 'Extend' where id = 123; \
             update lol_division_order set reached_marks = 2 where order_id = 123; \
             insert into order_transaction (id, user_id, order_id, amount, type) values (10, 5, 123, 10, 'DEPOSIT'); commit",
        )
        .await;
    golden("order_123_changed", &take(&mut client, 1).await);
    // A transaction that moves reaches both; nothing came in between.
    world.db.exec("update order_transaction set order_id = 123 where id = 1").await;
    for client in [&mut client, &mut other] {
        client.next_of("order.update").await;
    }
    survives_nonsense(&mut client, None).await;
    world.db.exec("begin; update game_order set status = 'Done' where id = 123; rollback; update game_order set status = 'Done', message = 'Fertig \"ä\"' where id = 123").await;
    golden("order_123_done", &take(&mut client, 1).await);
    // An order that goes is nobody's any more.
    world.db.exec("delete from order_transaction where order_id = 123; delete from lol_division_order where order_id = 123; delete from game_order where id = 123").await;
    assert_eq!(client.expect_close().await.code, 4403);
    world.server.stop().await;
}

#[tokio::test]
async fn an_order_that_changes_its_booster_is_taken_from_the_old_one() {
    let world = world("").await;
    world.db.exec(ORDERS).await;
    let (mut max, mut carl) =
        (world.connect("/ws/orders/123/", Some(4)).await, world.connect("/ws/orders/123/", Some(5)).await);
    let mut native = world.connect("/ws", Some(4)).await;
    native.send(json!({"type": "subscribe", "channel": "order:123"})).await;
    native.skip_to("snapshot").await;
    for client in [&mut max, &mut carl] {
        client.next_of("order.update").await;
    }
    let others = ["notifications:5", "student:1", "mentor:3", "dashboard", "order:124", "portfolio:2"];
    for channel in others {
        native.send(json!({"type": "subscribe", "channel": channel})).await;
        assert_eq!(native.skip_to("error").await.str_of("code"), "forbidden", "{channel}");
    }
    for channel in ["notifications:4", "student:4", "mentor:4", "leaderboard"] {
        native.send(json!({"type": "subscribe", "channel": channel})).await;
        assert_eq!(native.skip_to("subscribed").await.str_of("channel"), channel);
    }
    world.db.exec("update game_order set booster_id = 1, message = 'secret' where id = 123").await;
    let closed = loop {
        match max.next_or_close().await {
            Ok(frame) => assert!(!frame.raw.contains("secret"), "{}", frame.raw),
            Err(closed) => break closed,
        }
    };
    assert_eq!((closed.code, &*closed.reason), (4403, "access_lost"));
    let gone = loop {
        let frame = native.next().await;
        assert!(!frame.raw.contains("secret"), "{}", frame.raw);
        if frame["type"] == "unsubscribed" {
            break frame;
        }
    };
    assert_eq!((gone.str_of("channel"), gone.str_of("code")), ("order:123", "access_lost"));
    assert!(carl.next_of("order.update").await.raw.contains("secret"));
    // Alice has it now.
    world.connect("/ws/orders/123/", Some(1)).await.next_of("order.update").await;
    world.server.stop().await;
}
