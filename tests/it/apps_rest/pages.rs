//! Lists: pages, sorts, filters, and what they cost.

use reqwest::Method;
use serde_json::Value;

use super::{ask, get, reference, world};
use crate::kit::Server;

fn ids(page: &Value, list: &str) -> Vec<i64> {
    page[list].as_array().expect("a list").iter().map(|o| o["id"].as_i64().expect("a number")).collect()
}

/// Walks all pages; between them something happens.
async fn walk(server: &Server, path: &str, list: &str, mut between: impl AsyncFnMut()) -> Vec<i64> {
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = get(server, "6", &format!("{path}&after={after}")).await;
        seen.extend(ids(&page, list));
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => return seen,
        }
        between().await;
    }
}

#[tokio::test]
async fn pages_hold_each_row_once_in_every_order() {
    let (db, server) = world().await;
    // Ties in every key.
    db.exec(
        "delete from order_transaction; delete from lol_division_order; delete from game_order;
         insert into game_order (id, price, updated_at) overriding system value
           select i, (i % 3)::numeric / 100, '2024-01-01 00:00+00'::timestamptz + (i % 4) * interval '1 microsecond' from generate_series(1, 23) i;
         insert into order_transaction (id, user_id, amount, type) overriding system value
           select i, 5, i % 3, 'DEPOSIT' from generate_series(1, 23) i;
         delete from submission;
         insert into submission (id, student_id, assignment_title, grade) overriding system value
           select i, 1, 'x', nullif(i % 4, 0) from generate_series(1, 23) i;
         delete from achievement;
         insert into achievement (id, user_id, title, points) overriding system value
           select i, 1, 'x', -(i % 4) from generate_series(1, 23) i",
    )
    .await;
    for (list, table, sort, key) in [
        ("orders", "game_order", "id", "id"),
        ("orders", "game_order", "price", "price"),
        ("orders", "game_order", "updated_at", "updated_at"),
        ("transactions", "order_transaction", "id", "id"),
        ("transactions", "order_transaction", "amount", "amount"),
        ("submissions", "submission", "score", "coalesce(grade, -1)"),
        ("submissions", "submission", "updated_at", "updated_at"),
        ("achievements", "achievement", "points", "points"),
    ] {
        for (minus, down) in [("", ""), ("-", "desc")] {
            let want = db
                .texts(&format!("select t.id::text as number from {table} t order by {key} {down}, t.id {down}"))
                .await;
            let want: Vec<i64> = want.into_iter().map(|t| t.expect("id").parse().expect("a number")).collect();
            let path = format!("/api/{list}?limit=5&sort={minus}{sort}");
            assert_eq!(walk(&server, &path, list, async || ()).await, want, "{path}");
        }
    }
}

#[tokio::test]
async fn what_comes_meanwhile_moves_nothing() {
    let (db, server) = world().await;
    db.exec(
        "delete from order_transaction; delete from lol_division_order; delete from game_order;
         insert into game_order (id) overriding system value select i from generate_series(1, 12) i",
    )
    .await;
    // Newest first: what is inserted stands before, what is deleted was there already.
    let insert = async || db.exec("insert into game_order (customer_id) values (5), (5)").await;
    let seen = walk(&server, "/api/orders?limit=4&sort=-id", "orders", insert).await;
    assert_eq!(seen, (1..=12).rev().collect::<Vec<_>>());
    let delete = async || db.exec("delete from game_order where id in (1, 2)").await;
    let seen = walk(&server, "/api/orders?limit=4&sort=id&status=New", "orders", delete).await;
    assert_eq!(seen[..12], (1..=12).collect::<Vec<_>>());
}

#[tokio::test]
async fn filters_take_what_they_name() {
    let (db, server) = world().await;
    db.exec(
        "insert into game_order (id, customer_id, booster_id, manager_id, status) overriding system value values
           (11, 5, null, null, 'New'), (12, 2, 4, null, 'Done'), (13, 2, null, 7, 'New');
         insert into order_transaction (id, user_id, order_id, amount, type, status) overriding system value values
           (11, 2, 12, 1, 'WITHDRAWAL', 'Done'), (12, 2, null, 1, 'DEPOSIT', 'New');
         insert into submission (id, student_id, assignment_title, status, grade) overriding system value values
           (11, 2, 'x', 'review_requested', null), (12, 2, 'x', 'graded', 5);
         insert into notification (id, recipient_id, type, title, message, is_read) overriding system value values
           (11, 6, 'grade', 'x', 'x', true), (12, 6, 'general', 'x', 'x', false);
         insert into achievement (id, user_id, title) overriding system value values (11, 2, 'x')",
    )
    .await;
    for (path, want) in [
        ("/api/orders?sort=id", vec![1, 11, 12, 13]),
        ("/api/orders?sort=id&status=New", vec![11, 13]),
        ("/api/orders?sort=id&customer_id=5", vec![1, 11]),
        ("/api/orders?sort=id&booster_id=4&status=Done", vec![12]),
        ("/api/orders?sort=id&manager_id=7", vec![1, 13]),
        ("/api/orders?status=none", vec![]),
        ("/api/transactions?sort=id&user_id=2", vec![11, 12]),
        ("/api/transactions?sort=id&order_id=12", vec![11]),
        ("/api/transactions?sort=id&type=DEPOSIT", vec![1, 12]),
        ("/api/transactions?sort=id&status=Done", vec![11]),
        ("/api/submissions?sort=id&student_id=2", vec![11, 12]),
        ("/api/submissions?sort=id&graded=false", vec![1, 11]),
        ("/api/submissions?sort=id&graded=true", vec![12]),
        ("/api/submissions?sort=id&status=review_requested", vec![11]),
        ("/api/notifications?sort=id", vec![11, 12]),
        ("/api/notifications?sort=id&unread=true", vec![12]),
        ("/api/notifications?sort=id&unread=false", vec![11]),
        ("/api/notifications?sort=id&type=grade", vec![11]),
        ("/api/achievements?sort=id&user_id=2", vec![11]),
    ] {
        let list = path.split(['/', '?']).nth(2).expect("a list");
        assert_eq!(ids(&get(&server, "6", path).await, list), want, "{path}");
    }
}

#[tokio::test]
async fn what_is_not_understood_is_said() {
    let (_db, server) = world().await;
    let (get, post, patch) = (Method::GET, Method::POST, Method::PATCH);
    let json = |text: &'static str| text;
    for (method, path, body, status, named) in [
        (&get, "/api/orders?limit=0", "", 400, "limit"),
        (&get, "/api/orders?limit=1001", "", 400, "limit"),
        (&get, "/api/orders?limit=x", "", 400, "limit"),
        (&get, "/api/orders?sort=name", "", 400, "'sort'"),
        (&get, "/api/orders?sort=--id", "", 400, "'sort'"),
        (&get, "/api/orders?sort=id%3B", "", 400, "'sort'"),
        (&get, "/api/orders?after=x", "", 400, "'after'"),
        (&get, "/api/orders?sort=price&after=-id.1.1", "", 400, "'after'"),
        (&get, "/api/orders?after=-id.1.99999999999999999999", "", 400, "'after'"),
        (&get, "/api/orders?customer_id=x", "", 400, "customer_id"),
        (&get, "/api/orders/x", "", 400, "path"),
        (&get, "/api/orders/99999999999999999999", "", 400, "path"),
        (&get, "/api/orders/-1", "", 404, "order"),
        (&get, "/api/submissions?graded=maybe", "", 400, "graded"),
        (&get, "/api/portfolios/1/history?since=yesterday", "", 400, "'since'"),
        (&get, "/api/portfolios/1/history?points=0", "", 400, "points"),
        (&get, "/api/leaderboard?limit=0", "", 400, "limit"),
        (&get, "/api/submissions/1/grade", "", 405, "method"),
        (&post, "/api/orders/1", json("{}"), 405, "method"),
        (&post, "/api/orders", json("{"), 400, "JSON"),
        (&post, "/api/orders", json("[]"), 422, "customer_id"),
        (&post, "/api/orders", json("{}"), 422, "'customer_id'"),
        (&post, "/api/orders", json(r#"{"customer_id":5}"#), 422, "'price'"),
        (&post, "/api/orders", json(r#"{"customer_id":"5","price":1}"#), 422, "'customer_id'"),
        (&post, "/api/orders", json(r#"{"customer_id":5,"price":-1}"#), 422, "'price'"),
        (&post, "/api/orders", json(r#"{"customer_id":5,"price":1,"colour":1}"#), 422, "'colour'"),
        (&post, "/api/orders", json(r#"{"customer_id":98,"price":1}"#), 422, "customer_id"),
        (&patch, "/api/orders/1", json("{}"), 422, "'status'"),
        (&patch, "/api/orders/1", json(r#"{"status":"Dropped"}"#), 422, "'status'"),
        (&patch, "/api/orders/1", json(r#"{"progress":101}"#), 422, "'progress'"),
        (&patch, "/api/orders/1", json(r#"{"message":""}"#), 422, "'message'"),
        (&post, "/api/transactions", json(r#"{"type":"GIFT","amount":1,"user_id":2}"#), 422, "'type'"),
        (&post, "/api/transactions", json(r#"{"type":"DEPOSIT","amount":1.001,"user_id":2}"#), 422, "'amount'"),
        (&post, "/api/transactions", json(r#"{"type":"DEPOSIT","amount":1,"order_id":98}"#), 404, "order"),
        (&post, "/api/submissions", json(r#"{"assignment_title":7}"#), 422, "'assignment_title'"),
        (&post, "/api/submissions", json(r#"{"assignment_title":"a\u0000b"}"#), 422, "'assignment_title'"),
        (&post, "/api/submissions/1/grade", json("{}"), 422, "'score'"),
        (&post, "/api/submissions/1/grade", json(r#"{"score":"high"}"#), 422, "'score'"),
        (&post, "/api/submissions/1/grade", json(r#"{"score":10000}"#), 422, "'score'"),
    ] {
        let response = ask(&server, "6", method.clone(), path, body).await;
        let what = format!("{method} {path} {body}");
        assert_eq!(response.status().as_u16(), status, "{what}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{what}");
        let problem: Value = serde_json::from_str(&response.text().await.expect("text")).expect("JSON");
        assert!(problem["detail"].as_str().is_some_and(|d| d.contains(named)), "{what}: {problem}");
    }
}

#[tokio::test]
async fn a_thousand_rows_cost_what_ten_cost() {
    let db = reference().await;
    db.exec("insert into game_order (customer_id, booster_id) select 5, 4 from generate_series(1, 1200)").await;
    let proxy = db.proxy().await;
    let direct = db.url();
    let server = Server::with(&db.url_through(&proxy), |config| {
        super::switched_on(config);
        config.database.listen_url = Some(rowcast::config::Secret::new(&direct));
        config.store.pool_connections_max = 1;
        config.scheduler.enabled = false;
    })
    .await;
    // What is sent to Postgres for a page, once its statements are prepared.
    let cost = async |limit: usize| {
        let before = proxy.bytes_up();
        let page = get(&server, "6", &format!("/api/orders?limit={limit}")).await;
        assert_eq!(ids(&page, "orders").len(), limit);
        proxy.bytes_up() - before
    };
    cost(1).await;
    let (ten, thousand) = (cost(10).await, cost(1000).await);
    assert!(ten > 100 && ten == thousand, "{ten} bytes for ten, {thousand} for a thousand");
}
