//! Who may what.

use reqwest::Method;
use serde_json::Value;

use super::{ask, world};

#[tokio::test]
async fn everybody_may_what_is_theirs() {
    let (_db, server) = world().await;
    let (get, post, patch) = (Method::GET, Method::POST, Method::PATCH);
    let title = r#"{"assignment_title":"Essay"}"#;
    let grade = r#"{"score":"92.5","feedback":"good"}"#;
    let order = r#"{"customer_id":5,"price":"10.00"}"#;
    let deposit = r#"{"type":"DEPOSIT","amount":"5.00","order_id":1}"#;
    let for_bob = r#"{"type":"DEPOSIT","amount":"5.00","user_id":2}"#;
    // For: nobody, alice and bob (students), mia (mentor), max (booster), carl (customer), ada (staff), mona (manager), flo (floor
    // wing), gone (not active), a user that is not there, a key that is no number.
    let users = ["", "1", "2", "3", "4", "5", "6", "7", "8", "9", "99", "0b1c-uuid"];
    #[rustfmt::skip]
    let cases: Vec<(Method, &str, &str, [u16; 12])> = vec![
        //                                                        -  alice  bob  mia  max  carl  ada mona  flo gone   99 uuid
        (get.clone(), "/api/orders", "",                       [401, 200, 200, 200, 200, 200, 200, 200, 200, 403, 403, 403]),
        (get.clone(), "/api/orders/1", "",                     [401, 403, 403, 403, 200, 200, 200, 200, 403, 403, 403, 403]),
        (get.clone(), "/api/orders/7", "",                     [401, 404, 404, 404, 404, 404, 404, 404, 404, 403, 403, 403]),
        (get.clone(), "/api/orders/1/history", "",             [401, 403, 403, 403, 200, 200, 200, 200, 403, 403, 403, 403]),
        (get.clone(), "/api/orders/7/history", "",             [401, 404, 404, 404, 404, 404, 404, 404, 404, 403, 403, 403]),
        (post.clone(), "/api/orders", order,                   [401, 403, 403, 403, 403, 403, 201, 403, 403, 403, 403, 403]),
        (patch.clone(), "/api/orders/1", r#"{"progress":80}"#, [401, 403, 403, 403, 200, 403, 200, 200, 403, 403, 403, 403]),
        (patch.clone(), "/api/orders/1", r#"{"booster_id":4}"#,[401, 403, 403, 403, 403, 403, 200, 200, 403, 403, 403, 403]),
        (patch.clone(), "/api/orders/7", r#"{"progress":80}"#, [401, 404, 404, 404, 404, 404, 404, 404, 404, 403, 403, 403]),
        (get.clone(), "/api/transactions", "",                 [401, 200, 200, 200, 200, 200, 200, 200, 200, 403, 403, 403]),
        (get.clone(), "/api/transactions/1", "",               [401, 403, 403, 403, 403, 200, 200, 200, 403, 403, 403, 403]),
        (get.clone(), "/api/transactions/7", "",               [401, 404, 404, 404, 404, 404, 404, 404, 404, 403, 403, 403]),
        (post.clone(), "/api/transactions", deposit,           [401, 403, 403, 403, 201, 201, 201, 201, 403, 403, 403, 403]),
        (post.clone(), "/api/transactions", for_bob,           [401, 403, 201, 403, 403, 403, 201, 403, 403, 403, 403, 403]),
        (get.clone(), "/api/submissions", "",                  [401, 200, 200, 200, 200, 200, 200, 200, 200, 403, 403, 403]),
        (get.clone(), "/api/submissions/1", "",                [401, 200, 403, 200, 403, 403, 200, 403, 200, 403, 403, 403]),
        (get.clone(), "/api/submissions/7", "",                [401, 404, 404, 404, 404, 404, 404, 404, 404, 403, 403, 403]),
        (post.clone(), "/api/submissions", title,              [401, 201, 201, 403, 201, 201, 201, 201, 403, 403, 403, 403]),
        (post.clone(), "/api/submissions/1/grade", grade,      [401, 403, 403, 200, 403, 403, 200, 403, 403, 403, 403, 403]),
        (post.clone(), "/api/submissions/7/grade", grade,      [401, 403, 403, 404, 403, 403, 404, 403, 403, 403, 403, 403]),
        (get.clone(), "/api/notifications", "",                [401, 200, 200, 200, 200, 200, 200, 200, 200, 403, 403, 403]),
        (post.clone(), "/api/notifications/1/read", "",        [401, 200, 404, 404, 404, 404, 404, 404, 404, 403, 403, 403]),
        (post.clone(), "/api/notifications/read", "",          [401, 200, 200, 200, 200, 200, 200, 200, 200, 403, 403, 403]),
        (get.clone(), "/api/leaderboard", "",                  [401, 200, 200, 200, 200, 200, 200, 200, 200, 403, 403, 403]),
        (get.clone(), "/api/achievements", "",                 [401, 200, 200, 200, 200, 200, 200, 200, 200, 403, 403, 403]),
        (get.clone(), "/api/portfolios", "",                   [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
        (get.clone(), "/api/portfolios/1", "",                 [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
        (get.clone(), "/api/portfolios/2", "",                 [401, 403, 403, 403, 403, 200, 200, 403, 403, 403, 403, 403]),
        (get.clone(), "/api/portfolios/7", "",                 [404, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404]),
        (get.clone(), "/api/portfolios/1/history", "",         [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
        (get.clone(), "/api/portfolios/2/history", "",         [401, 403, 403, 403, 403, 200, 200, 403, 403, 403, 403, 403]),
    ];
    for (method, path, body, statuses) in cases {
        for (user, want) in users.iter().zip(statuses) {
            let response = ask(&server, user, method.clone(), path, body).await;
            let got = response.status().as_u16();
            let challenge = response.headers().contains_key("www-authenticate");
            let text = response.text().await.expect("text");
            assert_eq!(got, want, "{method} {path} as {user:?}: {text}");
            let codes = [(401, "not_authenticated"), (403, "forbidden"), (404, "not_found")];
            if let Some((_, code)) = codes.iter().find(|(status, _)| *status == want) {
                let problem: Value = serde_json::from_str(&text).expect("a problem");
                assert_eq!(problem["code"], *code, "{method} {path} as {user:?}");
            }
            assert_eq!(challenge, want == 401, "{method} {path} as {user:?}");
        }
    }
}

#[tokio::test]
async fn lists_hold_nobody_elses() {
    let (db, server) = world().await;
    db.exec(
        "insert into submission (student_id, assignment_title) values (2, 'Bob''s');
         insert into notification (recipient_id, title, message) values (2, 'For', 'Bob');
         insert into achievement (user_id, title) values (2, 'Bob''s');
         insert into game_order (customer_id) values (2);
         insert into order_transaction (user_id, amount, type) values (2, 1, 'DEPOSIT')",
    )
    .await;
    // How many: alice, bob, mia (mentor), carl, ada (staff), mona (manager).
    let users = ["1", "2", "3", "5", "6", "7"];
    for (list, counts) in [
        ("orders", [0, 1, 0, 1, 2, 1]),
        ("transactions", [0, 1, 0, 1, 2, 1]),
        ("submissions", [1, 1, 2, 0, 2, 0]),
        ("notifications", [1, 1, 0, 0, 0, 0]),
        ("achievements", [1, 1, 0, 0, 2, 0]),
        ("portfolios", [1, 1, 1, 2, 2, 1]),
    ] {
        for (user, count) in users.iter().zip(counts) {
            let answer = super::get(&server, user, &format!("/api/{list}/")).await;
            assert_eq!(answer[list].as_array().expect("a list").len(), count, "{list} of {user}");
        }
    }
    // What a filter asks for is still only what one may see.
    for path in ["/api/submissions?student_id=2", "/api/achievements?user_id=2"] {
        let answer = super::get(&server, "1", path).await;
        assert!(!answer.to_string().contains("Bob"), "{answer}");
    }
}

#[tokio::test]
async fn who_wrote_stands_in_the_history() {
    let (_db, server) = world().await;
    let changed = ask(&server, "4", Method::PATCH, "/api/orders/1", r#"{"progress":90,"message":"Soon"}"#).await;
    assert_eq!(changed.status(), 200);
    let history = super::get(&server, "6", "/api/orders/1/history?limit=1").await;
    let entry = &history["history"][0];
    assert_eq!((&entry["user_id"], &entry["username"]), (&"4".into(), &"max".into()), "{history}");
    assert_eq!(entry["changes"], serde_json::json!({ "progress": [75, 90], "message": [null, "Soon"] }));
}
