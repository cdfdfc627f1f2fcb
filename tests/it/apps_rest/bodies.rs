//! What stands in the answers, to the digit.

use reqwest::Method;
use serde_json::json;

use super::{as_user, ask, get, header, world};
use crate::kit::http_client;

async fn text(server: &crate::kit::Server, user: &str, path: &str) -> String {
    let response = ask(server, user, Method::GET, path, "").await;
    assert_eq!(response.status(), 200, "{path}");
    assert_eq!(header(&response, "content-type"), "application/json");
    assert_eq!(header(&response, "cache-control"), "private, no-cache");
    let cursor = header(&response, "rowcast-cursor").to_owned();
    response.text().await.expect("text").replace(&cursor, "<cursor>")
}

#[tokio::test]
async fn numbers_keep_their_text() {
    let (db, server) = world().await;
    db.exec("update submission set grade = 92.50, graded_by_id = 3, graded_at = '2024-01-16 10:30+00', updated_at = '2024-01-16 10:30:00.25+00'").await;
    for (user, path, want) in [
        (
            "5",
            "/api/orders",
            r#"{"orders":[{"id":1,"status":"Continue","progress":75,"price":"100.00","actual_price":"85.50","booster_price":null,"customer_id":5,"booster_id":4,"booster_username":"max","manager_id":7,"reached_rank":"Platinum","reached_division":2,"reached_marks":1,"message":null,"is_done":false,"created_at":"2024-01-15T10:30:00Z","updated_at":"<touched>"}],"cursor":"<cursor>"}"#,
        ),
        (
            "5",
            "/api/transactions/1",
            r#"{"id":1,"order_id":1,"user_id":5,"type":"DEPOSIT","amount":"85.50","status":"New","created_at":"2024-01-15T10:30:00Z"}"#,
        ),
        (
            "1",
            "/api/submissions/1",
            r#"{"id":1,"student_id":1,"student_name":"Alice Ames","assignment_title":"Essay \"One\"","status":"graded","score":92.5,"feedback":null,"graded_by_id":3,"graded_by":"Mia Moss","submitted_at":"2024-01-15T10:30:00Z","graded_at":"2024-01-16T10:30:00Z","updated_at":"2024-01-16T10:30:00.250000Z"}"#,
        ),
        (
            "1",
            "/api/notifications",
            r#"{"notifications":[{"id":1,"type":"general","priority":"normal","title":"Hello","message":"First","action_url":null,"sender_id":3,"is_read":false,"read_at":null,"created_at":"2024-01-15T10:30:00Z"}],"cursor":"<cursor>"}"#,
        ),
        ("1", "/api/leaderboard/", r#"[{"rank":1,"user_id":1,"name":"Alice Ames","points":10}]"#),
        (
            "1",
            "/api/achievements",
            r#"{"achievements":[{"id":1,"user_id":1,"title":"First Steps","description":"","points":10,"badge_url":null,"created_at":"2024-01-15T10:30:00Z"}],"cursor":"<cursor>"}"#,
        ),
        (
            "",
            "/api/portfolios/1",
            r#"{"portfolio_id":1,"portfolio_name":"Demo","total_value":1577.63,"total_change":23.63,"total_change_percent":1.52,"investments":[{"symbol":"AAPL","name":"Apple Inc.","current_price":150.25,"change":2.25,"change_percent":1.52,"quantity":10.5,"value":1577.63}]}"#,
        ),
    ] {
        let got = text(&server, user, path).await;
        let touched = db.text("select rowcast_reference.iso(updated_at) from game_order where id = 1").await;
        assert_eq!(got.replace(&touched, "<touched>"), want, "{path}");
    }
    let history = text(&server, "", "/api/portfolios/1/history").await;
    let values: Vec<&str> = history.split("\"value\":").skip(1).collect();
    assert!(history.starts_with(r#"[{"at":""#) && values.len() == 2, "{history}");
    assert!(values[0].starts_with("1500.10}") && values[1] == "1577.63}]", "{history}");
    let since = "/api/portfolios/1/history?since=2024-01-15T10:30:00%2B01:00&points=1";
    assert_eq!(get(&server, "", since).await.as_array().expect("an array").len(), 1);
}

#[tokio::test]
async fn what_did_not_change_is_not_sent_again() {
    let (db, server) = world().await;
    for (user, path, change) in [
        ("6", "/api/orders", "update game_order set progress = 76 where id = 1"),
        ("5", "/api/orders/1", "update lol_division_order set reached_marks = 2"),
        ("5", "/api/orders/1/history", "update game_order set progress = 77 where id = 1"),
        ("6", "/api/transactions", "update order_transaction set status = 'Done'"),
        ("3", "/api/submissions", "update submission set feedback = 'x'"),
        ("1", "/api/notifications", "update notification set is_read = true"),
        ("1", "/api/leaderboard", "update leaderboard_entry set points = 11"),
        ("1", "/api/achievements", "delete from achievement"),
        ("", "/api/portfolios", "update portfolio set name = 'Other' where id = 1"),
        ("", "/api/portfolios/1", "update asset_price set price = 151"),
        (
            "",
            "/api/portfolios/1/history?since=2024-01-01T00:00:00Z&points=1000",
            "delete from portfolio_value where value = 1577.63",
        ),
    ] {
        let first = ask(&server, user, Method::GET, path, "").await;
        let tag = header(&first, "etag").to_owned();
        let again = async || {
            let request = as_user(http_client().get(server.http(path)), user).header("if-none-match", &tag);
            request.send().await.expect("an answer")
        };
        let unchanged = again().await;
        assert_eq!((unchanged.status().as_u16(), header(&unchanged, "etag")), (304, tag.as_str()), "{path}");
        assert!(!header(&unchanged, "rowcast-cursor").is_empty(), "{path}");
        assert!(unchanged.bytes().await.expect("a body").is_empty(), "{path}");
        db.exec(change).await;
        let changed = again().await;
        assert_eq!(changed.status(), 200, "{path}");
        assert_ne!(header(&changed, "etag"), tag, "{path}");
    }
}

#[tokio::test]
async fn writes_show_what_they_made() {
    let (db, server) = world().await;
    let made =
        ask(&server, "6", Method::POST, "/api/orders/", r#"{"customer_id":2,"price":120.5,"booster_price":"80"}"#)
            .await;
    assert_eq!(made.status(), 201);
    let place = header(&made, "location").to_owned();
    let order: serde_json::Value = serde_json::from_str(&made.text().await.expect("text")).expect("JSON");
    assert_eq!(place, format!("/api/orders/{}", order["id"]));
    assert_eq!((&order["price"], &order["actual_price"]), (&json!("120.50"), &json!("120.50")));
    assert_eq!(get(&server, "2", &place).await, order);

    let steps = [
        (r#"{"status":"Done"}"#, json!(["Done", true, 100, null])),
        (r#"{"status":"Extend","progress":40,"message":"More"}"#, json!(["Extend", false, 40, "More"])),
        (r#"{"message":null}"#, json!(["Extend", false, 40, null])),
    ];
    for (body, want) in steps {
        let changed = ask(&server, "6", Method::PATCH, &place, body).await.text().await.expect("text");
        let order: serde_json::Value = serde_json::from_str(&changed).expect("JSON");
        assert_eq!(json!([order["status"], order["is_done"], order["progress"], order["message"]]), want, "{body}");
    }
    // A manager may give away what is then no more his to see.
    let given = ask(&server, "7", Method::PATCH, "/api/orders/1", r#"{"booster_id":null}"#).await;
    assert_eq!(given.status(), 200);
    assert_eq!(ask(&server, "4", Method::GET, "/api/orders/1", "").await.status(), 403);

    let graded = ask(&server, "3", Method::POST, "/api/submissions/1/grade", r#"{"score":92.50}"#).await;
    let graded: serde_json::Value = serde_json::from_str(&graded.text().await.expect("text")).expect("JSON");
    assert_eq!(json!([graded["status"], graded["score"], graded["graded_by"]]), json!(["graded", 92.5, "Mia Moss"]));

    db.exec("insert into notification (recipient_id, title, message) values (1, 'a', 'b'), (2, 'a', 'b')").await;
    for (path, want) in [("/api/notifications/1/read", json!(true)), ("/api/notifications/1/read", json!(true))] {
        let read = ask(&server, "1", Method::POST, path, "").await.text().await.expect("text");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&read).expect("JSON")["is_read"], want);
    }
    for want in ["1", "0"] {
        let marked = ask(&server, "1", Method::POST, "/api/notifications/read/", "").await.text().await.expect("text");
        assert_eq!(marked, format!("{{\"marked\":{want}}}"));
    }
    assert_eq!(db.text("select count(*)::text from notification where not is_read").await, "1", "bob's");
}
