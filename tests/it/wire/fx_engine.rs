//! `/api/v1/ws/rates`.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{MALFORMED, connect, golden, world};
use crate::kit::{http_client, wait_until};

#[tokio::test]
async fn every_pair_comes_first_and_then_each_change() {
    let (db, server) = world().await;
    for path in ["/api/v1/ws/rates", "/api/v1/ws/rates/", "/api/v1/ws/rates?pairs="] {
        let mut client = connect(&server, path).await;
        golden("002/connection_established_all.json", &client.next().await.raw);
        for pair in ["eur_ngn", "usd_kes", "usd_ngn"] {
            golden(&format!("002/rate_update_{pair}.json"), &client.next().await.raw);
        }
    }
    let mut client = connect(&server, "/api/v1/ws/rates").await;
    client.skip_to("connection_established").await;
    for _ in 0..3 {
        client.next_of("rate_update").await;
    }
    db.exec("update rowcast_fx.rates set rate = 800, cycle = 1 where source_currency = 'USD' and destination_currency = 'NGN'")
        .await;
    let change = client.next().await;
    golden("002/rate_update_changed.json", &change.raw);
    let when = db
        .text(
            "select to_char(updated_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') from rowcast_fx.rates \
        where source_currency = 'USD' and destination_currency = 'NGN'",
        )
        .await;
    assert_eq!(change.str_of("timestamp"), when);

    client.send(json!({"type": "get_all_rates"})).await;
    for message in [Message::text("nonsense"), Message::binary(vec![0u8])] {
        client.send_message(message).await;
        assert_eq!(client.next().await.raw, MALFORMED);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_client_hears_of_its_pairs_only() {
    let (db, server) = world().await;
    let mut client = connect(&server, "/api/v1/ws/rates?pairs=usd%2Fngn,%20EUR/NGN,XYZ,GBP/JPY").await;
    golden("002/connection_established_pairs.json", &client.next().await.raw);
    let mut nothing = connect(&server, "/api/v1/ws/rates?pairs=dollars").await;
    nothing.next_of("connection_established").await;
    for pair in ["eur_ngn", "usd_ngn"] {
        golden(&format!("002/rate_update_{pair}.json"), &client.next().await.raw);
    }
    db.exec("update rowcast_fx.rates set rate = 100 where destination_currency = 'KES'").await;
    db.exec("insert into rowcast_fx.rates (source_currency, destination_currency, rate) values ('GBP', 'JPY', 190.5)")
        .await;
    assert_eq!(client.next().await["pair"], "GBP/JPY");
    db.exec("update rowcast_fx.rates set rate = 800, cycle = 1 where source_currency = 'USD' and destination_currency = 'NGN'")
        .await;
    golden("002/rate_update_changed.json", &client.next().await.raw);
    nothing.send_message(Message::text("{")).await;
    assert_eq!(nothing.next().await.raw, MALFORMED, "and nothing before it");

    // A new stream: its pairs again, and no second greeting.
    db.exec("select rowcast.reset()").await;
    for pair in ["EUR/NGN", "GBP/JPY", "USD/NGN"] {
        assert_eq!(client.next_of("rate_update").await["pair"], pair);
    }

    let _all = connect(&server, "/api/v1/ws/rates").await;
    let stats = async || -> Value {
        let answer = http_client().get(server.http("/api/v1/ws/stats/")).send().await.expect("an answer");
        let text = answer.text().await.expect("text");
        serde_json::from_str(&text).expect("JSON")
    };
    let counts = |s: &Value| {
        let by = &s["connections_by_subscription"];
        (s["total_connections"].as_u64(), by["all_pairs"].as_u64(), by["filtered"].as_u64())
    };
    wait_until("three are counted", async || counts(&stats().await) == (Some(3), Some(1), Some(2))).await;
    nothing.close().await;
    wait_until("two are counted", async || counts(&stats().await) == (Some(2), Some(1), Some(1))).await;
    server.stop().await;
}

#[tokio::test]
async fn too_many_pairs_are_refused_with_a_code() {
    let (_db, server) = world().await;
    let letters: Vec<char> = ('A'..='Z').collect();
    let pairs: Vec<String> = (0..101).map(|n| format!("AA{}/BB{}", letters[n / 26], letters[n % 26])).collect();
    let mut client = connect(&server, &format!("/api/v1/ws/rates?pairs={}", pairs.join(","))).await;
    assert_eq!(client.expect_close().await.code, 4400);
    server.stop().await;
}
