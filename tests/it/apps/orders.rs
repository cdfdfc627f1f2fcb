//! `/ws/orders/{id}/`.

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
    // An order that goes has nothing more to say.
    world.db.exec("delete from order_transaction where order_id = 123; delete from lol_division_order where order_id = 123; delete from game_order where id = 123").await;
    client.send_message(tokio_tungstenite::tungstenite::Message::text("{")).await;
    let last = client.skip_to("error").await;
    assert_eq!(last.raw, super::MALFORMED);
    world.server.stop().await;
}
