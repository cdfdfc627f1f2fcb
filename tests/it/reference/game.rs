use super::{listen, untimed};
use crate::kit::{Server, TestDb};

/// The documentation's own words, run as they stand.
fn documented() -> String {
    let page = include_str!("../../../docs/REFERENCE.md");
    let (_, section) = page.split_once("## A game more").expect("the section is there");
    let (_, code) = section.split_once("```sql\n").expect("with its code");
    code.split_once("```").expect("which ends").0.to_owned()
}

#[tokio::test]
async fn a_second_game_is_added_with_sql_alone_while_the_server_runs() {
    let db = TestDb::reference().await;
    db.exec(
        "insert into game_order (customer_id, booster_id, actual_price) values (5, 4, 10), (5, 4, 20);
         insert into lol_division_order (order_id, reached_rank_id, reached_division) values (1, 4, 3)",
    )
    .await;
    let server = Server::start(&db).await;
    let (mut lol, _) = listen(&server, &["order:1"]).await;
    let (mut valorant, shown) = listen(&server, &["order:2"]).await;
    let frame = |rank: &str, rr: &str| {
        format!(
            r#"{{"type":"order.update","order_id":2,"status":"New","progress":0,"booster_price":"20.00","actual_price":"20.00","booster_id":4,"booster_username":"max","reached_rank":{rank},"reached_division":null,"reached_marks":{rr},"message":"Order updated","timestamp":"T"}}"#
        )
    };
    assert_eq!(untimed(&shown[0]), frame("null", "null"));
    db.exec(&documented()).await;
    db.exec("insert into valorant_rank_order (order_id, reached_rank, reached_rr) values (2, 'Ascendant 1', 40)").await;
    assert_eq!(untimed(&valorant.next_of("event").await.raw_of("data")), frame("\"Ascendant 1\"", "40"));
    db.exec("update valorant_rank_order set reached_rr = 61").await;
    assert_eq!(untimed(&valorant.next_of("event").await.raw_of("data")), frame("\"Ascendant 1\"", "61"));
    db.exec("update lol_division_order set reached_division = 2").await;
    let frame = lol.next_of("event").await;
    assert_eq!((&frame["data"]["reached_rank"], &frame["data"]["reached_division"]), (&"Gold".into(), &2.into()));
    let history = "select changes::text from order_history where part = 'valorant_rank_order' and operation = 'update'";
    assert_eq!(db.text(history).await, r#"{"reached_rr": [40, 61]}"#);
    server.stop().await;
}
