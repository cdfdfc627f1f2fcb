//! Reads meet the stream, and what REST writes arrives like anyone's.

use reqwest::Method;
use serde_json::{Value, json};

use super::{ask, get, header, token, world};
use crate::kit::Server;
use crate::kit::ws::Client;

async fn subscribe(server: &Server, user: &str, channel: &str, cursor: Option<&str>) -> Client {
    let mut client = Client::connect(&format!("{}?token={}", server.ws(), token(user))).await;
    let mut frame = json!({ "type": "subscribe", "channel": channel });
    if let Some(cursor) = cursor {
        frame["cursor"] = cursor.into();
    }
    client.send(frame).await;
    let subscribed = client.skip_to("subscribed").await;
    assert_eq!(subscribed["resumed"], cursor.is_some());
    client
}

#[tokio::test]
async fn a_subscriber_gets_exactly_what_the_read_did_not_show() {
    let (db, server) = world().await;
    let insert = |n: i32| format!("insert into notification (recipient_id, title, message) values (1, 'n{n}', 'x')");
    // One that began before the read and ends after it: sequence numbers would lose it.
    let mut late = db.connect().await;
    sqlx::raw_sql("begin").execute(&mut late).await.expect("begun");
    sqlx::raw_sql(sqlx::AssertSqlSafe(insert(1))).execute(&mut late).await.expect("written");
    db.exec(&insert(2)).await;
    let page = get(&server, "1", "/api/notifications?sort=id").await;
    let titles: Vec<&str> =
        page["notifications"].as_array().expect("a list").iter().filter_map(|n| n["title"].as_str()).collect();
    assert_eq!(titles, ["Hello", "n2"]);
    sqlx::raw_sql("commit").execute(&mut late).await.expect("committed");
    db.exec(&insert(3)).await;

    let mut client = subscribe(&server, "1", "notifications:1", page["cursor"].as_str()).await;
    for want in ["n1", "n3"] {
        assert_eq!(client.next_of("event").await["data"]["title"], want);
    }
    db.exec(&insert(4)).await;
    assert_eq!(client.next_of("event").await["data"]["title"], "n4");
    // The header says the same place.
    let response = ask(&server, "1", Method::GET, "/api/notifications", "").await;
    let cursor = header(&response, "rowcast-cursor").to_owned();
    assert!(response.text().await.expect("text").ends_with(&format!("\"cursor\":\"{cursor}\"}}")));
}

#[tokio::test]
async fn what_rest_writes_arrives() {
    let (_db, server) = world().await;
    let mut order = subscribe(&server, "4", "order:1", None).await;
    assert_eq!(order.next_of("snapshot").await["data"]["progress"], 75);
    let mut dashboard = subscribe(&server, "3", "dashboard", None).await;
    let mut student = subscribe(&server, "1", "student:1", None).await;
    let mut mentor = subscribe(&server, "3", "mentor:3", None).await;

    let body = r#"{"status":"Done","message":"There"}"#;
    let changed = ask(&server, "4", Method::PATCH, "/api/orders/1", body).await.text().await.expect("text");
    let changed: Value = serde_json::from_str(&changed).expect("JSON");
    let event = order.next_of("event").await;
    for name in ["status", "message", "progress", "reached_rank"] {
        assert_eq!(event["data"][name], changed[name], "{name}");
    }
    ask(&server, "5", Method::POST, "/api/transactions", r#"{"type":"DEPOSIT","amount":"1","order_id":1}"#).await;
    order.next_of("event").await;

    let made = ask(&server, "1", Method::POST, "/api/submissions", r#"{"assignment_title":"Two"}"#).await;
    let place = header(&made, "location").to_owned();
    let made: Value = serde_json::from_str(&made.text().await.expect("text")).expect("JSON");
    for (client, event) in [(&mut dashboard, "submission_created"), (&mut mentor, "student_submission")] {
        let frame = client.skip_to("event").await;
        assert_eq!((&frame["event"], &frame["data"]["id"]), (&json!(event), &made["id"]));
        assert_eq!(frame["data"]["assignment_title"], "Two");
    }
    ask(&server, "3", Method::POST, &format!("{place}/grade"), r#"{"score":"92.50","feedback":"good"}"#).await;
    for (client, event) in [(&mut dashboard, "grade_updated"), (&mut student, "grade_received")] {
        let frame = client.skip_to("event").await;
        assert_eq!((frame.str_of("event"), &frame["data"]["graded_by"]), (event, &json!("Mia Moss")));
        assert!(frame.raw_of("data").contains("\"score\":92.5,"), "{}", frame.raw);
    }
    ask(&server, "3", Method::POST, &format!("{place}/grade"), r#"{"feedback":"better"}"#).await;
    let frame = student.skip_to("event").await;
    assert_eq!((frame.str_of("event"), &frame["data"]["feedback"]), ("feedback_received", &json!("better")));
}
