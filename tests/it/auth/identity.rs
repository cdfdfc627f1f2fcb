use reqwest::header;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{KeyFile, now_s, token, with_token};
use crate::kit::ws::Client;
use crate::kit::{Server, TestDb, http_client};

const ROWS: &str = include_str!("../../fixtures/django_sessions/rows_django_5.2.sql");
const SESSIONS: &str = include_str!("../../fixtures/django_sessions/sessions_django_5.2_postgres.json");

/// What may this client do on a channel for whoever is authenticated?
async fn listens(client: &mut Client) -> Value {
    client.send(json!({"type": "subscribe", "channel": "users"})).await;
    loop {
        let frame = client.next().await;
        if ["subscribed", "error"].contains(&frame.str_of("type")) {
            return frame.value;
        }
    }
}

fn request(url: &str, headers: &[(&str, &str)]) -> tokio_tungstenite::tungstenite::http::Request<()> {
    let mut request = url.into_client_request().expect("a URL");
    for (name, value) in headers {
        let name = header::HeaderName::try_from(*name).expect("a name");
        request.headers_mut().append(name, value.parse().expect("a value"));
    }
    request
}

async fn refused(url: &str, headers: &[(&str, &str)]) -> u16 {
    match Client::try_connect(request(url, headers)).await {
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(e) => panic!("{e}"),
        Ok(_) => 101,
    }
}

#[tokio::test]
async fn a_token_comes_by_each_way_that_is_allowed() {
    let db = TestDb::new().await;
    db.exec("select rowcast.define_access('users')").await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.auth.carriers.push(rowcast::auth::Carrier::Cookie);
    })
    .await;
    let (ws, good) = (server.ws(), token("42", json!({})));
    let (bearer, cookie) = (format!("Bearer {good}"), format!("a=b; access_token={good}"));
    let protocols = format!("rowcast.v1, bearer.{good}");
    for (url, headers) in [
        (ws.clone(), vec![("authorization", &*bearer)]),
        (ws.clone(), vec![("sec-websocket-protocol", &*protocols)]),
        (ws.clone(), vec![("cookie", &*cookie)]),
        (with_token(&server, &good), vec![]),
    ] {
        let mut client = Client::try_connect(request(&url, &headers)).await.expect("connected");
        if headers.first().is_some_and(|(name, _)| *name == "sec-websocket-protocol") {
            assert_eq!(client.response.headers()["sec-websocket-protocol"], "rowcast.v1", "the token is not told back");
        }
        assert_eq!(listens(&mut client).await["type"], "subscribed", "{headers:?}");
    }
    let mut client = Client::connect(&ws).await;
    let refusal = listens(&mut client).await;
    assert_eq!((&refusal["type"], &refusal["code"]), (&json!("error"), &json!("forbidden")));
    client.send(json!({"type": "auth", "token": "no.such.token", "id": 1})).await;
    let refusal = client.next_of("error").await;
    assert_eq!((refusal.str_of("code"), &refusal["id"]), ("token_not_valid", &json!(1)));
    client.send(json!({"type": "auth", "token": good})).await;
    assert_eq!(client.next_of("authenticated").await.str_of("user"), "42");
    assert_eq!(listens(&mut client).await["type"], "subscribed");
    assert_eq!(refused(&with_token(&server, "x.y.z"), &[]).await, 401);
    server.stop().await;
}

#[tokio::test]
async fn rest_refuses_tokens_as_the_framework_does() {
    let db = TestDb::new().await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| key.tokens(c)).await;
    let ask = async |authorization: &str| {
        let url = server.http("/api/channels");
        let response = http_client().get(url).header("authorization", authorization).send().await.expect("an answer");
        let challenge = response.headers().get("www-authenticate").map(|v| v.to_str().expect("text").to_owned());
        (response.status().as_u16(), challenge, response.json::<Value>().await.expect("JSON"))
    };
    let bearer = |claims: Value| format!("Bearer {}", token("42", claims));
    let invalid = "Given token not valid for any token type";
    let cases = [
        (bearer(json!({"exp": now_s() - 1})), "token_not_valid", invalid, Some("Token is expired")),
        (bearer(json!({"token_type": "refresh"})), "token_not_valid", invalid, Some("Token has wrong type")),
        ("Bearer a.b.c".to_owned(), "token_not_valid", invalid, Some("Token is invalid")),
        (
            bearer(json!({"user_id": null})),
            "token_not_valid",
            "Token contained no recognizable user identification",
            None,
        ),
        (
            "Bearer a b".to_owned(),
            "bad_authorization_header",
            "Authorization header must contain two space-delimited values",
            None,
        ),
    ];
    for (authorization, code, detail, message) in cases {
        let (status, challenge, body) = ask(&authorization).await;
        assert_eq!((status, challenge.as_deref()), (401, Some("Bearer realm=\"api\"")), "{body}");
        assert_eq!((&body["code"], &body["detail"]), (&json!(code), &json!(detail)));
        match message {
            Some(m) => assert_eq!(
                body["messages"],
                json!([{"token_class": "AccessToken", "token_type": "access", "message": m}])
            ),
            None => assert_eq!(body["messages"], Value::Null),
        }
        assert!(!body.to_string().contains("eyJ"), "no token is told back");
    }
    assert_eq!(ask("Token abc").await.0, 200, "another scheme is somebody else's: anonymous");
    assert_eq!(ask(&bearer(json!({}))).await.0, 200);
    server.stop().await;
}

#[tokio::test]
async fn sessions_of_django_are_its_users_and_end_with_them() {
    let db = TestDb::new().await;
    db.exec(ROWS).await;
    db.exec("select rowcast.define_access('users')").await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.auth.jwt = false;
        c.auth.sessions = true;
        c.auth.recheck_interval_ms = 250;
    })
    .await;
    let file: Value = serde_json::from_str(SESSIONS).expect("JSON");
    let open = async |key: &str| {
        let cookie = format!("sessionid={key}");
        Client::try_connect(request(&server.ws(), &[("cookie", &cookie)])).await.expect("connected")
    };
    let mut judged = 0;
    for sample in file["samples"].as_array().expect("samples") {
        let name = sample["name"].as_str().expect("a name");
        // Its row was deleted by Django when the key was cycled; the fallback keys are decoded in the unit tests.
        if name == "signed_with_rotated_key_fallback" {
            continue;
        }
        let mut client = open(sample["django_session"]["session_key"].as_str().expect("a key")).await;
        let want = if sample["request_user"]["id"].is_null() { "error" } else { "subscribed" };
        assert_eq!(listens(&mut client).await["type"], want, "{name}");
        judged += 1;
    }
    assert_eq!(judged, 13);
    let key = file["samples"][0]["django_session"]["session_key"].as_str().expect("a key");
    let mut by_user = open(key).await;
    assert_eq!(listens(&mut by_user).await["type"], "subscribed");
    db.exec("update auth_user set is_active = false where username = 'ada'").await;
    let closed = by_user.expect_close().await;
    assert_eq!((closed.code, &*closed.reason), (4401, "the session has ended"));
    server.stop().await;
}

#[tokio::test]
async fn a_custom_user_table_with_uuids_will_do() {
    let db = TestDb::new().await;
    let file: Value = serde_json::from_str(SESSIONS).expect("JSON");
    let sample = &file["samples"][0];
    let text = |v: &Value| v.as_str().expect("a text").replace('\'', "''");
    db.exec(&format!(
        "create schema \"Shop\"; create table \"Shop\".\"Session\" (session_key varchar(40) primary key, session_data text, expire_date timestamptz);
         create table \"Shop\".\"Member\" (\"Key\" int primary key, \"Pass Word\" text, on_duty bool);
         insert into \"Shop\".\"Session\" values ('{}', '{}', now() + interval '1 hour');
         insert into \"Shop\".\"Member\" values (1, '{}', true);
         create table uuids (id uuid primary key, password text);
         select rowcast.define_access('users')",
        text(&sample["django_session"]["session_key"]),
        text(&sample["django_session"]["session_data"]),
        text(&sample["auth_user"]["password"]),
    ))
    .await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.auth.sessions = true;
        c.auth.session_table = "\"Shop\".\"Session\"".into();
        c.auth.user_table = "\"Shop\".\"Member\"".into();
        c.auth.user_columns.id = "Key".into();
        c.auth.user_columns.password = "Pass Word".into();
        c.auth.user_columns.username = String::new();
        c.auth.user_columns.is_active = "on_duty".into();
        c.auth.user_columns.is_staff = String::new();
        c.auth.user_columns.is_superuser = String::new();
    })
    .await;
    let cookie = format!("sessionid={}", sample["django_session"]["session_key"].as_str().expect("a key"));
    let mut client = Client::try_connect(request(&server.ws(), &[("cookie", &cookie)])).await.expect("connected");
    assert_eq!(listens(&mut client).await["type"], "subscribed");
    server.stop().await;
    // UUID keys, and a text that is none: nobody, and no error.
    let columns = r#"{"id":"id","password":"password"}"#;
    db.exec("insert into uuids values ('8b1f6a0e-3c1d-4f0a-9a55-0d7c3e0e9a11', 'p')").await;
    let found = db
        .texts(&format!(
            "select id from rowcast.django_users('uuids', '{columns}', '{{8b1f6a0e-3c1d-4f0a-9a55-0d7c3e0e9a11,42,x}}')"
        ))
        .await;
    assert_eq!(found, [Some("8b1f6a0e-3c1d-4f0a-9a55-0d7c3e0e9a11".to_owned())]);
}

#[tokio::test]
async fn pages_of_other_origins_are_turned_away_before_anything_else() {
    let db = TestDb::new().await;
    let server = Server::start(&db).await;
    let host = server.url.trim_start_matches("http://").to_owned();
    for (origin, status) in [
        (None, 101),
        (Some(format!("http://{host}")), 101),
        (Some("http://localhost:3000".into()), 101),
        (Some("https://evil.example".into()), 403),
        (Some("null".into()), 403),
    ] {
        let headers: Vec<(&str, &str)> = origin.iter().map(|o| ("origin", o.as_str())).collect();
        assert_eq!(refused(&server.ws(), &headers).await, status, "{origin:?}");
    }
    let post = http_client().post(server.http("/api/channels/a/events")).header("origin", "https://evil.example");
    let answer = post.json(&json!({"event": "e", "data": 1})).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 403);
    assert_eq!(answer.json::<Value>().await.expect("JSON")["code"], "origin_not_allowed");
    server.stop().await;
    let server = Server::with(&db.url(), |c| {
        c.auth.origins = vec!["https://app.example.com".into()];
        c.auth.origin_required = true;
    })
    .await;
    assert_eq!(refused(&server.ws(), &[]).await, 403);
    assert_eq!(refused(&server.ws(), &[("origin", "https://app.example.com")]).await, 101);
    server.stop().await;
}

#[tokio::test]
async fn a_token_that_expires_is_told_refreshed_or_ends_the_connection() {
    let db = TestDb::new().await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.auth.expiring_lead_ms = 60_000;
    })
    .await;
    let short = |s: i64| token("42", json!({"exp": now_s() + s}));
    let mut kept = Client::connect(&with_token(&server, &short(2))).await;
    let mut lost = Client::connect(&with_token(&server, &short(2))).await;
    for client in [&mut kept, &mut lost] {
        assert!(client.skip_to("token_expiring").await.str_of("expires_at").ends_with("000000Z"));
    }
    kept.send(json!({"type": "auth", "token": short(600)})).await;
    kept.skip_to("authenticated").await;
    assert_eq!(lost.skip_to("error").await.str_of("code"), "unauthorized");
    let closed = lost.expect_close().await;
    assert_eq!((closed.code, &*closed.reason), (4401, "the token has expired"));
    kept.send(json!({"type": "ping"})).await;
    kept.skip_to("pong").await;
    server.stop().await;
}
