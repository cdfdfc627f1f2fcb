//! REST of both applications.

use reqwest::Method;

use super::{golden, world};
use crate::kit::http_client;

#[tokio::test]
async fn bodies_are_what_their_clients_know() {
    let (_db, server) = world().await;
    for (method, path, body, status, file) in [
        ("GET", "/api/rates/?source_currency=USD&destination_currency=NGN", "", 200, "000/rest_rate.json"),
        ("GET", "/api/rates?source_currency=usd&destination_currency=ngn&amount=1", "", 200, "000/rest_rate.json"),
        (
            "GET",
            "/api/rates/?source_currency=USD&destination_currency=NGN&amount=1000.50",
            "",
            200,
            "000/rest_amount.json",
        ),
        ("GET", "/api/rates/?source_currency=NGN&destination_currency=USD", "", 200, "000/rest_reverse.json"),
        ("GET", "/api/rates/?source_currency=USD", "", 400, "000/rest_required.json"),
        ("GET", "/api/rates/", "", 400, "000/rest_required.json"),
        (
            "GET",
            "/api/rates/?source_currency=USD&destination_currency=NGN&amount=-1",
            "",
            400,
            "000/rest_bad_amount.json",
        ),
        ("GET", "/api/rates/?source_currency=USD&destination_currency=JPY", "", 404, "000/rest_not_found.json"),
        ("GET", "/api/rates/?source_currency=GBP&destination_currency=NGN", "", 404, "000/rest_not_found.json"),
        ("GET", "/api/rates/?source_currency=dollar&destination_currency=NGN", "", 404, "000/rest_not_found.json"),
        ("GET", "/api/rates/all/", "", 200, "000/rest_all.json"),
        ("GET", "/api/rates/all?base_currency=EUR", "", 200, "000/rest_all_eur.json"),
        ("GET", "/api/rates/all/?base_currency=JPY", "", 200, "000/rest_all_none.json"),
        ("GET", "/rate?pair=USD-NGN", "", 200, "002/rest_rate.json"),
        ("GET", "/rate/?pair=usd-ngn", "", 200, "002/rest_rate.json"),
        ("GET", "/api/v1/rates/USD/NGN", "", 200, "002/rest_rate.json"),
        ("GET", "/api/v1/rates/usd/ngn/", "", 200, "002/rest_rate.json"),
        ("POST", "/api/v1/rates", r#"{"from_currency":"USD","to_currency":"NGN"}"#, 200, "002/rest_rate.json"),
        ("GET", "/api/v1/rates/NGN/USD", "", 200, "002/rest_reverse.json"),
        ("GET", "/rate", "", 422, "002/rest_no_pair.json"),
        ("GET", "/rate?pair=USDNGN", "", 400, "002/rest_bad_pair.json"),
        ("GET", "/api/v1/rates/USD/dollars", "", 400, "002/rest_bad_currency.json"),
        ("GET", "/api/v1/rates/USD/USD", "", 400, "002/rest_same.json"),
        ("GET", "/api/v1/rates/USD/JPY", "", 503, "002/rest_none.json"),
        ("GET", "/rate?pair=GBP-NGN", "", 503, "002/rest_expired.json"),
        ("POST", "/api/v1/rates/", r#"{"from_currency":"USD"}"#, 422, "002/rest_missing.json"),
        (
            "POST",
            "/api/v1/convert",
            r#"{"from_currency":"USD","to_currency":"KES","amount":100.555}"#,
            200,
            "002/rest_convert.json",
        ),
        (
            "POST",
            "/api/v1/convert/",
            r#"{"from_currency":"NGN","to_currency":"USD","amount":"1000000"}"#,
            200,
            "002/rest_convert_reverse.json",
        ),
        (
            "POST",
            "/api/v1/convert",
            r#"{"from_currency":"USD","to_currency":"KES","amount":0}"#,
            422,
            "002/rest_convert_nothing.json",
        ),
        ("GET", "/api/v1/ws/stats", "", 200, "002/rest_stats.json"),
        ("GET", "/api/rates/history/?pair=USD_NGN", "", 200, "rest_history.json"),
    ] {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = http_client().request(method, server.http(path));
        if !body.is_empty() {
            request = request.header("content-type", "application/json").body(body);
        }
        let response = request.send().await.expect("an answer");
        let (got, kind) = (response.status().as_u16(), response.headers()["content-type"].clone());
        let text = response.text().await.expect("text");
        assert_eq!(got, status, "{path}: {text}");
        assert!(kind.to_str().expect("ASCII").starts_with("application/json"), "{path}: {kind:?}");
        golden(file, &text);
    }
    server.stop().await;
}

#[tokio::test]
async fn changes_of_five_days_are_counted() {
    let (db, server) = world().await;
    db.exec("delete from rowcast_fx.rates where source_currency <> 'USD'").await;
    db.exec("update rowcast_fx.rates set updated_at = now() - interval '6 days' where destination_currency = 'KES'")
        .await;
    db.exec("update rowcast_fx.rates set updated_at = now() - interval '1 day 6 hours 15 minutes' where destination_currency = 'NGN'")
        .await;
    let get = async || {
        let answer = http_client().get(server.http("/api/rates/check-changes/")).send().await.expect("an answer");
        answer.text().await.expect("text")
    };
    golden("000/rest_check_changes.json", &get().await);
    db.exec("update rowcast_fx.rates set updated_at = now() - interval '6 days'").await;
    golden("000/rest_check_no_changes.json", &get().await);
    server.stop().await;
}

#[tokio::test]
async fn a_history_ends_with_the_newest_points() {
    let (db, server) = world().await;
    for rate in [1, 2, 3] {
        db.exec(&format!("update rowcast_fx.rates set rate = {rate}.50 where destination_currency = 'KES'")).await;
    }
    let answer = http_client().get(server.http("/api/rates/history?pair=usd-kes&limit=2")).send().await;
    let text = answer.expect("an answer").text().await.expect("text");
    let body: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let rates: Vec<&str> =
        body["points"].as_array().expect("points").iter().map(|p| p["rate"].as_str().expect("text")).collect();
    assert_eq!(rates, ["2.50", "3.50"]);
    for (path, status) in [("?pair=USD", 400), ("?pair=USD_NGN&limit=0", 400), ("", 400), ("?pair=USD_JPY", 200)] {
        let answer = http_client().get(server.http(&format!("/api/rates/history{path}"))).send().await;
        assert_eq!(answer.expect("an answer").status(), status, "{path}");
    }
    let wrong = http_client().get(server.http("/api/v1/convert")).send().await.expect("an answer");
    assert_eq!((wrong.status().as_u16(), &wrong.headers()["allow"]), (405, &"POST".parse().expect("ASCII")));
    server.stop().await;
}
