//! `/ws/rates/`.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::{MALFORMED, connect, golden, refreshed, world};

const NGN_TO_800: &str =
    "update rowcast_fx.rates set rate = 800, cycle = 1 where source_currency = 'USD' and destination_currency = 'NGN'";

#[tokio::test]
async fn all_rates_come_at_once_then_each_change_and_each_refresh() {
    let (db, server) = world().await;
    for path in ["/ws/rates/", "/ws/rates"] {
        let mut client = connect(&server, path).await;
        golden("000/all_rates.json", &client.next().await.raw);
    }
    let mut client = connect(&server, "/ws/rates/").await;
    client.next_of("all_rates").await;
    db.exec(NGN_TO_800).await;
    golden("000/rate_update.json", &client.next().await.raw);
    // One transaction: the rates first, then the word of the refresh.
    db.exec(
        "begin; update rowcast_fx.rates set inverse = 0.01 where destination_currency = 'KES'; \
         insert into rowcast_fx.rate_refresh (cycle, at, changed, used, rejected) values (1, now(), 1, 1, 0); commit",
    )
    .await;
    golden("000/rate_update_by_inverse.json", &client.next().await.raw);
    golden("000/all_rates_update.json", &client.next().await.raw);
    // What may not be quoted is not.
    db.exec("update rowcast_fx.rates set rate = 2100, cycle = 1 where source_currency = 'GBP'").await;
    db.exec("delete from rowcast_fx.rates where source_currency = 'EUR'").await;
    db.exec("update rowcast_fx.rates set expired = false where source_currency = 'GBP'").await;
    golden("000/rate_update_of_the_revived.json", &client.next().await.raw);
    server.stop().await;
}

#[tokio::test]
async fn questions_are_answered_and_the_rest_is_ignored() {
    let (db, server) = world().await;
    let mut client = connect(&server, "/ws/rates/").await;
    client.next_of("all_rates").await;
    client.send(json!({"type": "get_rate", "source_currency": "USD", "destination_currency": "NGN"})).await;
    golden("000/rate.json", &client.next().await.raw);
    client.send(json!({"type": "get_all_rates"})).await;
    golden("000/all_rates.json", &client.next().await.raw);

    for quiet in [
        json!({"type": "get_rate", "source_currency": "USD", "destination_currency": "JPY"}),
        json!({"type": "get_rate", "source_currency": "NGN", "destination_currency": "USD"}),
        json!({"type": "get_rate", "source_currency": "GBP", "destination_currency": "NGN"}),
        json!({"type": "get_rate", "source_currency": "US D", "destination_currency": "NGN"}),
        json!({"type": "get_rate"}),
        json!({"type": "subscribe", "channel": "rates"}),
        json!({"no": "type"}),
        json!([1]),
    ] {
        client.send(quiet).await;
    }
    // Malformed and binary: told, and the socket lives on.
    for message in [Message::text("{"), Message::text("hello"), Message::binary(vec![1u8])] {
        client.send_message(message).await;
        assert_eq!(client.next().await.raw, MALFORMED);
    }
    db.exec(NGN_TO_800).await;
    golden("000/rate_update.json", &client.next().await.raw);
    refreshed(&db).await;
    client.next_of("all_rates_update").await;
    server.stop().await;
}

/// While one client asks again and again, the last that it hears of a pair is what stands.
#[tokio::test]
async fn no_answer_leaves_an_old_rate_behind_a_new_one() {
    let (db, server) = world().await;
    let mut client = connect(&server, "/ws/rates/").await;
    client.next_of("all_rates").await;
    let writer = async {
        for rate in 1..=40 {
            db.exec(&format!("update rowcast_fx.rates set rate = {rate} where destination_currency = 'NGN'")).await;
        }
        refreshed(&db).await;
    };
    let reader = async {
        let ask = json!({"type": "get_rate", "source_currency": "USD", "destination_currency": "NGN"});
        client.send(ask.clone()).await;
        let mut last = String::new();
        let mut answers = 0;
        loop {
            let frame = client.next().await;
            match frame["type"].as_str() {
                Some("rate") => {
                    last = frame["data"]["data"]["rate"].to_string();
                    answers += 1;
                    client.send(if answers % 5 == 0 { json!({"type": "get_all_rates"}) } else { ask.clone() }).await;
                }
                Some("all_rates") => {
                    last = frame["data"]["USD_NGN"]["data"]["rate"].to_string();
                    client.send(ask.clone()).await;
                    // The word of the refresh may be in what this shows.
                    if last == "0.025" {
                        break;
                    }
                }
                Some("rate_update") if frame["data"]["key"] == "USD_NGN" => {
                    last = frame["data"]["rate"]["data"]["rate"].to_string();
                }
                Some("all_rates_update") => break,
                _ => {}
            }
        }
        (last, answers)
    };
    let ((), (last, answers)) = tokio::join!(writer, reader);
    assert!(answers > 0);
    assert_eq!(last, "0.025");
    server.stop().await;
}

#[tokio::test]
async fn who_comes_again_and_who_outlives_a_new_stream_gets_all_rates() {
    let (db, server) = world().await;
    let mut staying = connect(&server, "/ws/rates/").await;
    let leaving = connect(&server, "/ws/rates/").await;
    staying.next_of("all_rates").await;
    leaving.close().await;
    db.exec(NGN_TO_800).await;
    let mut back = connect(&server, "/ws/rates/").await;
    assert_eq!(back.next_of("all_rates").await["data"]["USD_NGN"]["data"]["rate"].to_string(), "0.00125");
    staying.next_of("rate_update").await;
    db.exec("select rowcast.reset()").await;
    for client in [&mut staying, &mut back] {
        assert_eq!(client.next_of("all_rates").await["data"]["USD_NGN"]["data"]["rate"].to_string(), "0.00125");
    }
    db.exec("update rowcast_fx.rates set rate = 1000 where destination_currency = 'KES'").await;
    for client in [&mut staying, &mut back] {
        assert_eq!(client.next().await["data"]["key"], "USD_KES");
    }
    server.stop().await;
}
