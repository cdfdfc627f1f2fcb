//! REST of the reference applications (`docs/REST.md`): who may what, pages, tags, and how reads meet the stream.

mod bodies;
mod pages;
mod rights;
mod stream;

use std::sync::LazyLock;

use reqwest::{Method, RequestBuilder, Response};
use rowcast::app::Config;
use rowcast::auth::jwt::{Algorithm, sign};
use rowcast::domain::DatabaseUrl;
use rowcast::store::{MigrationSet, Store};
use serde_json::{Value, json};

use crate::kit::{APP_ROLE, Dir, Server, TestDb, http_client, patiently};

const KEY: &str = "a key of these tests, longer than thirty-two bytes";

/// Users by their numbers. `gone` is no longer active; nobody is 99.
const PEOPLE: &str = "
    insert into auth_user (id, username, first_name, last_name, is_staff, is_active) overriding system value values
      (1, 'alice', 'Alice', 'Ames', false, true), (2, 'bob', '', '', false, true), (3, 'mia', 'Mia', 'Moss', false, true),
      (4, 'max', '', '', false, true), (5, 'carl', '', '', false, true), (6, 'ada', '', '', true, true),
      (7, 'mona', '', '', false, true), (8, 'flo', '', '', false, true), (9, 'gone', '', '', true, false);
    insert into user_profile (user_id, role, assigned_mentor_id) values
      (1, 'STUDENT', 3), (2, 'STUDENT', null), (3, 'MENTOR', null), (8, 'FLOOR_WING', null);";

/// Order 1 is carl's, played by max, managed by mona.
const THINGS: &str = "
    insert into game_order (id, customer_id, booster_id, manager_id, status, price, actual_price, progress, created_at, updated_at)
      overriding system value values
      (1, 5, 4, 7, 'Continue', 100, 85.5, 75, '2024-01-15 10:30+00', '2024-01-15 10:30+00');
    insert into lol_division_order (order_id, reached_rank_id, reached_division, reached_marks) values (1, 5, 2, 1);
    insert into order_transaction (id, user_id, order_id, amount, type, created_at) overriding system value values
      (1, 5, 1, 85.5, 'DEPOSIT', '2024-01-15 10:30+00');
    insert into submission (id, student_id, assignment_title, submitted_at, updated_at) overriding system value values
      (1, 1, 'Essay \"One\"', '2024-01-15 10:30+00', '2024-01-15 10:30+00');
    insert into notification (id, recipient_id, sender_id, title, message, created_at) overriding system value values
      (1, 1, 3, 'Hello', 'First', '2024-01-15 10:30+00');
    insert into achievement (id, user_id, title, points, created_at) overriding system value values
      (1, 1, 'First Steps', 10, '2024-01-15 10:30+00');
    insert into portfolio (id, user_id, name) overriding system value values (1, null, 'Demo'), (2, 5, 'Mine');
    insert into asset_price (symbol, name, price, previous_close) values ('AAPL', 'Apple Inc.', 150.25, 148);
    insert into investment (portfolio_id, symbol, quantity, purchase_price) values (1, 'AAPL', 10.5, 100), (2, 'AAPL', 1, 100);
    insert into portfolio_value (portfolio_id, at, value) values (1, now() - interval '2 hours', 1500.10), (1, now() - interval '1 hour', 1577.63);
    select setval(pg_get_serial_sequence(t, 'id'), 100) from unnest('{game_order,order_transaction,submission,notification,achievement,portfolio}'::text[]) t;";

async fn world() -> (TestDb<'static>, Server) {
    let db = reference().await;
    let server = Server::with(&db.url(), switched_on).await;
    (db, server)
}

/// With tokens of this key, and the reference's endpoints.
fn switched_on(config: &mut Config) {
    static KEY_FILE: LazyLock<Dir> = LazyLock::new(|| {
        let dir = Dir::new("apps_rest");
        std::fs::write(dir.path().join("key"), KEY).expect("a directory of our own");
        dir
    });
    config.auth.jwt = true;
    config.auth.secret_key_file = Some(KEY_FILE.path().join("key"));
    config.serve_reference();
}

async fn reference() -> TestDb<'static> {
    let db = TestDb::new().await;
    let url = DatabaseUrl::parse(&db.url(), APP_ROLE).expect("our own URL");
    let store = Store::new(&url, Default::default());
    store.migrate(MigrationSet::Reference).await.expect("the reference schema");
    store.close().await;
    db.exec(PEOPLE).await;
    db.exec(THINGS).await;
    db
}

/// Who asks, by the user's key; empty: nobody.
fn as_user(request: RequestBuilder, user: &str) -> RequestBuilder {
    if user.is_empty() {
        return request;
    }
    request.bearer_auth(token(user))
}

fn token(user: &str) -> String {
    let claims = json!({ "token_type": "access", "exp": 4_102_444_800i64, "user_id": user });
    sign(Algorithm::HS256, KEY.as_bytes(), &claims).expect("a key of any length")
}

thread_local! {
    /// One for each test: they run on threads of their own.
    static CLIENT: reqwest::Client = http_client();
}

async fn ask(server: &Server, user: &str, method: Method, path: &str, body: &str) -> Response {
    let mut request = as_user(CLIENT.with(Clone::clone).request(method, server.http(path)), user);
    if !body.is_empty() {
        request = request.header("content-type", "application/json").body(body.to_owned());
    }
    patiently(path, request.send()).await.expect("an answer")
}

async fn get(server: &Server, user: &str, path: &str) -> Value {
    let response = ask(server, user, Method::GET, path, "").await;
    let status = response.status();
    let text = patiently("the body", response.text()).await.expect("text");
    assert_eq!(status, 200, "{path}: {text}");
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e} in {text}"))
}

fn header<'r>(response: &'r Response, name: &str) -> &'r str {
    response.headers().get(name).unwrap_or_else(|| panic!("no {name}")).to_str().expect("ASCII")
}
