//! Rules that are asked of the database: together, of nobody in vain, and when it cannot be asked.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio_tungstenite::tungstenite::Error;

use super::{KeyFile, metric, token, with_token};
use crate::kit::ws::Client;
use crate::kit::{Server, TestDb, http_client, patiently, wait_until};

/// Orders that their owner may see. Each asking of the rule is noted with its transaction, so with its query.
const ORDERS: &str = "
    create table orders (id int primary key, owner text);
    insert into orders select n, 'u' || n from generate_series(1, 100) n;
    create table public.asked (xid xid8 default pg_current_xact_id());
    create function noted() returns bool language plpgsql as 'begin insert into public.asked default values; return true; end';
    select rowcast.watch('orders', 'orders:{id}');
    select rowcast.define_access('orders:{id}', reads => '{orders}', allow =>
      'noted() and exists (select from orders o where o.id = {id}::int and o.owner = rowcast.user_id())')";

const ENDPOINT: &str = r#"
    path = "/ws/o/{id}/"
    params = { id = "number" }
    channels = ["orders:{id}"]
    frames = { "*" = '{"type":"shown"}' }"#;

const CROWD: usize = 90;
const COMMANDS: &str = "rowcast_commands_total";

async fn run(connection: &mut PgConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

async fn verdict(client: &mut Client) -> String {
    loop {
        let frame = client.next().await;
        match frame.str_of("type") {
            "subscribed" => return "subscribed".into(),
            "error" => return frame.str_of("code").into(),
            _ => {}
        }
    }
}

/// Holds up whoever reads the orders until all have sent their subscription; then what each was told.
async fn all_at_once(db: &TestDb<'_>, server: &Server, wishes: &[(String, String)]) -> Vec<String> {
    let mut clients = Vec::new();
    for (user, _) in wishes {
        clients.push(Client::connect(&with_token(server, &token(user, json!({})))).await);
    }
    db.exec("truncate asked").await;
    let before = metric(server, COMMANDS).await;
    let mut holder = db.connect().await;
    run(&mut holder, "begin; lock table orders in access exclusive mode").await;
    for (client, (_, channel)) in clients.iter_mut().zip(wishes) {
        client.send(json!({"type": "subscribe", "channel": channel})).await;
    }
    wait_until("all have asked", async || metric(server, COMMANDS).await == before + wishes.len() as u64).await;
    run(&mut holder, "rollback").await;
    let mut verdicts = Vec::new();
    for client in &mut clients {
        verdicts.push(verdict(client).await);
    }
    verdicts
}

#[tokio::test]
async fn those_who_subscribe_at_once_are_asked_about_together() {
    let db = TestDb::new().await;
    db.exec(ORDERS).await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.http.new_connections_per_address_per_s_max = 5_000;
        c.http.requests_per_address_per_s_max = 5_000;
    })
    .await;
    // Every third at somebody else's order.
    let other = |n: usize| if n.is_multiple_of(3) { n % CROWD + 2 } else { n };
    let wishes: Vec<_> = (1..=CROWD).map(|n| (format!("u{n}"), format!("orders:{}", other(n)))).collect();
    let verdicts = all_at_once(&db, &server, &wishes).await;
    for ((user, channel), verdict) in wishes.iter().zip(&verdicts) {
        let own = channel.strip_prefix("orders:") == user.strip_prefix('u');
        assert_eq!(verdict, if own { "subscribed" } else { "forbidden" }, "{user} at {channel}");
    }
    let queries: usize = db.text("select count(distinct xid)::text from asked").await.parse().expect("a number");
    assert!((2..=8).contains(&queries), "{queries} queries of {CROWD} subscriptions");
    // One user's many connections to one channel are one question.
    let wishes = vec![("u7".to_owned(), "orders:7".to_owned()); CROWD];
    let verdicts = all_at_once(&db, &server, &wishes).await;
    assert!(verdicts.iter().all(|verdict| verdict == "subscribed"), "{verdicts:?}");
    let questions: usize = db.text("select count(*)::text from asked").await.parse().expect("a number");
    assert!((2..=8).contains(&questions), "{questions} questions of {CROWD} subscriptions");
    // What takes it from them is noticed as ever.
    db.exec("update orders set owner = 'moe' where id = 7").await;
    let mut last = Client::connect(&with_token(&server, &token("u7", json!({})))).await;
    last.send(json!({"type": "subscribe", "channel": "orders:7"})).await;
    assert_eq!(verdict(&mut last).await, "forbidden", "no answer is older than its question");
    server.stop().await;
}

#[tokio::test]
async fn a_rule_that_cannot_be_asked_is_no_refusal() {
    let db = TestDb::new().await;
    db.exec(ORDERS).await;
    let key = KeyFile::new();
    let endpoints: BTreeMap<String, _> = ["http", "close"]
        .map(|reject| {
            let table = format!("{}\nreject = \"{reject}\"", ENDPOINT.replace("/ws/o/", &format!("/ws/{reject}/")));
            (reject.to_owned(), toml::from_str(&table).expect("an endpoint"))
        })
        .into();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.store.statement_timeout_ms = 300;
        c.endpoint = endpoints;
    })
    .await;
    let mut holder = db.connect().await;
    run(&mut holder, "begin; lock table orders in access exclusive mode").await;
    let own = token("u1", json!({}));
    let url = |path: &str| format!("{}/{path}/1/?token={own}", server.ws());
    let answer = match Client::try_connect(url("http")).await {
        Err(Error::Http(answer)) => answer,
        _ => panic!("let in, or not answered"),
    };
    let body: Value = serde_json::from_slice(answer.body().as_deref().expect("a body")).expect("a problem");
    assert_eq!((answer.status().as_u16(), &body["code"]), (503, &json!("database_unavailable")));
    assert!(answer.headers().contains_key("retry-after"));
    let mut inside = Client::connect(&url("close")).await;
    assert_eq!(inside.expect_close().await.code, 1013, "to be tried again");
    let stream = http_client().get(server.http(&format!("/sse?channel=orders:1&token={own}"))).send();
    assert_eq!(patiently("an answer", stream).await.expect("an answer").status().as_u16(), 503);
    let mut native = Client::connect(&with_token(&server, &own)).await;
    native.send(json!({"type": "subscribe", "channel": "orders:1"})).await;
    assert_eq!(verdict(&mut native).await, "database_unavailable");
    run(&mut holder, "rollback").await;
    native.send(json!({"type": "subscribe", "channel": "orders:1"})).await;
    assert_eq!(verdict(&mut native).await, "subscribed");
    assert_eq!(Client::connect(&url("http")).await.response.status().as_u16(), 101);
    server.stop().await;
}

/// Who is refused without a name is told to give one; who has one is told that it does not help.
#[tokio::test]
async fn who_is_refused_for_want_of_a_name_is_asked_for_it() {
    let db = TestDb::new().await;
    db.exec(ORDERS).await;
    db.exec("select rowcast.define_access('users'), rowcast.define_access('users', 'publish')").await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| key.tokens(c)).await;
    let get = |path: &str| http_client().get(server.http(path));
    let post = || {
        let post = http_client().post(server.http("/api/channels/users/events"));
        post.json(&json!({"event": "e", "data": 1}))
    };
    let eve = token("eve", json!({}));
    for (request, status, code) in [
        (get("/sse?channel=users"), 401, "not_authenticated"),
        (get("/api/channels/users/snapshot"), 401, "not_authenticated"),
        (post(), 401, "not_authenticated"),
        (get("/api/channels/orders:1/snapshot").bearer_auth(&eve), 403, "forbidden"),
        // Nobody may, whoever he is.
        (get("/api/channels/unheard-of/snapshot"), 403, "forbidden"),
        (post().bearer_auth(&eve), 202, ""),
    ] {
        let answer = request.send().await.expect("an answer");
        let (got, challenge) = (answer.status().as_u16(), answer.headers().get("www-authenticate").cloned());
        let body: Value = answer.json().await.unwrap_or_default();
        assert_eq!((got, body["code"].as_str().unwrap_or_default()), (status, code), "{body}");
        assert_eq!(challenge.is_some_and(|c| c.as_bytes().starts_with(b"Bearer")), status == 401, "{body}");
    }
    server.stop().await;
}
