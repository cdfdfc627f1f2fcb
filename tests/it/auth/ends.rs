//! How what a connection rests on ends, or changes, while it stands: expiry, logout, password, roles, disconnection.

use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{KeyFile, metric, now_s, subscribe, token, with_token};
use crate::kit::ws::Client;
use crate::kit::{Server, TestDb, http_client, patiently, sse, wait_until};

const ROWS: &str = include_str!("../../fixtures/django_sessions/rows_django_5.2.sql");
const SESSIONS: &str = include_str!("../../fixtures/django_sessions/sessions_django_5.2_postgres.json");

const ENDPOINT: &str = r#"
    path = "/ws/users/"
    auth = "required"
    channels = ["users"]
    snapshot = '{"type":"shown"}'"#;

fn with_endpoint(config: &mut rowcast::app::Config) {
    config.endpoint.insert("users".into(), toml::from_str(ENDPOINT).expect("an endpoint"));
}

async fn by_session(server: &Server, session: &str) -> Client {
    let mut request = server.ws().into_client_request().expect("a URL");
    request.headers_mut().insert("cookie", format!("sessionid={session}").parse().expect("a header"));
    Client::try_connect(request).await.expect("connected")
}

async fn stream(server: &Server, channel: &str, token: &str) -> sse::Client {
    let mut stream = sse::Client::connect(&server.http(&format!("/sse?channel={channel}&token={token}")), None).await;
    while !stream.next().await.data.is_some_and(|data| data.contains("\"snapshot\"")) {}
    stream
}

#[tokio::test]
async fn a_stream_and_an_endpoint_end_with_their_token() {
    let db = TestDb::new().await;
    db.exec("select rowcast.define_access('users')").await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.auth.expiring_lead_ms = 60_000;
        with_endpoint(c);
    })
    .await;
    let short = token("42", json!({"exp": now_s() + 3}));
    let stream = stream(&server, "users", &short).await;
    let mut endpoint = Client::connect(&format!("{}/users/?token={short}", server.ws())).await;
    let rest = stream.body().await;
    let (told, ended) = (rest.find("token_expiring"), rest.find("\"unauthorized\""));
    assert!(told.is_some() && told < ended, "told before: {rest}");
    let closed = loop {
        if let Err(closed) = endpoint.next_or_close().await {
            break closed;
        }
    };
    assert_eq!((closed.code, &*closed.reason), (4401, "the token has expired"));
    assert_eq!(metric(&server, "rowcast_revocations_total{reason=\"expired\"}").await, 2);
    server.stop().await;
}

#[tokio::test]
async fn what_ends_a_session_ends_its_connections() {
    let db = TestDb::new().await;
    db.exec(ROWS).await;
    db.exec("select rowcast.define_access('users')").await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.auth.sessions = true;
        c.auth.recheck_interval_ms = 250;
    })
    .await;
    let file: Value = serde_json::from_str(SESSIONS).expect("JSON");
    let session = file["samples"][0]["django_session"]["session_key"].as_str().expect("a key");
    let whose = format!("where session_key = '{session}'");
    let user = "where id = (select id from auth_user where username = 'ada')";
    for (what, sql) in [
        ("expiry", format!("update django_session set expire_date = now() - interval '1 s' {whose}")),
        ("another password", format!("update auth_user set password = 'pbkdf2_sha256$1$a$b' {user}")),
        ("deactivation", format!("update auth_user set is_active = false {user}")),
        ("the user's end", format!("update auth_user set id = 1000 {user}")),
        ("logout", format!("delete from django_session {whose}")),
    ] {
        let mut client = by_session(&server, session).await;
        assert_eq!(subscribe(&mut client, "users").await["type"], "subscribed", "{what}");
        db.exec(
            "create table kept as select * from auth_user; create table kept_session as select * from django_session",
        )
        .await;
        db.exec(&sql).await;
        let closed = client.expect_close().await;
        assert_eq!((closed.code, &*closed.reason), (4401, "the session has ended"), "{what}");
        db.exec(
            "delete from auth_user; insert into auth_user select * from kept; drop table kept;
             delete from django_session; insert into django_session select * from kept_session; drop table kept_session",
        )
        .await;
    }
    assert_eq!(metric(&server, "rowcast_revocations_total{reason=\"ended\"}").await, 5);
    server.stop().await;
}

const USERS: &str = "
    create table users (id int primary key, username text, password text, active bool, staff bool, roles text[]);
    insert into users values (1, 'ann', '', true, false, '{mentor}'), (2, 'bob', '', true, false, '{}');
    create function roles_of(id text) returns text[] stable language sql as 'select roles from public.users u where u.id::text = $1';
    select rowcast.define_access('mentors', roles => '{mentor}'), rowcast.define_access('users'),
           rowcast.define_access('staff', allow => 'rowcast.is_staff()')";

fn with_users(config: &mut rowcast::app::Config) {
    config.auth.jwt_check_user = true;
    config.auth.roles_sql = Some("public.roles_of".into());
    config.auth.user_table = "users".into();
    config.auth.user_columns.is_active = "active".into();
    config.auth.user_columns.is_staff = "staff".into();
    config.auth.user_columns.is_superuser = String::new();
    config.auth.recheck_interval_ms = 250;
}

#[tokio::test]
async fn roles_from_sql_are_those_of_now() {
    let db = TestDb::new().await;
    db.exec(USERS).await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        with_users(c);
        with_endpoint(c);
    })
    .await;
    let (ann, bob) = (token("1", json!({})), token("2", json!({"role": "guest"})));
    let mut native = Client::connect(&with_token(&server, &ann)).await;
    let mut other = Client::connect(&with_token(&server, &bob)).await;
    for channel in ["mentors", "users"] {
        assert_eq!(subscribe(&mut native, channel).await["type"], "subscribed");
    }
    assert_eq!(subscribe(&mut other, "mentors").await["code"], "forbidden");
    let mut endpoint = Client::connect(&format!("{}/users/?token={ann}", server.ws())).await;
    let stream = stream(&server, "mentors", &ann).await;
    db.exec("update users set roles = case id when 1 then '{}'::text[] else '{mentor}' end").await;
    let gone = native.skip_to("unsubscribed").await;
    assert_eq!((gone.str_of("channel"), gone.str_of("code")), ("mentors", "access_lost"));
    assert!(stream.body().await.contains("access_lost"));
    let closed = loop {
        if let Err(closed) = endpoint.next_or_close().await {
            break closed;
        }
    };
    assert_eq!((closed.code, &*closed.reason), (1013, "who you are has changed: come again"));
    // What goes by no role stays; who has one now may use it without coming again.
    db.exec("select rowcast.send('users', 'told')").await;
    assert_eq!(native.skip_to("event").await.str_of("channel"), "users");
    patiently("his role", async { while subscribe(&mut other, "mentors").await["type"] == "error" {} }).await;
    // So with staff, and its end.
    assert_eq!(subscribe(&mut other, "staff").await["code"], "forbidden");
    db.exec("update users set staff = true where id = 2").await;
    patiently("his rank", async { while subscribe(&mut other, "staff").await["type"] == "error" {} }).await;
    db.exec("update users set staff = false where id = 2").await;
    let gone = other.skip_to("unsubscribed").await;
    assert_eq!((gone.str_of("channel"), gone.str_of("code")), ("staff", "access_lost"));
    server.stop().await;
}

#[tokio::test]
async fn users_of_tokens_are_looked_up_where_that_is_wanted() {
    let db = TestDb::new().await;
    db.exec(USERS).await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        with_users(c);
    })
    .await;
    let ask = async |user: &str| {
        let request = http_client().get(server.http("/api/channels")).bearer_auth(token(user, json!({})));
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON")["code"].clone())
    };
    assert_eq!(ask("1").await.0, 200);
    assert_eq!(ask("3").await, (401, json!("user_not_found")));
    assert_eq!(ask("no key").await, (401, json!("user_not_found")));
    let mut client = Client::connect(&with_token(&server, &token("1", json!({})))).await;
    assert_eq!(subscribe(&mut client, "users").await["type"], "subscribed");
    db.exec("update users set active = false where id = 1").await;
    let closed = client.expect_close().await;
    assert_eq!((closed.code, &*closed.reason), (4401, "the session has ended"));
    assert_eq!(ask("1").await, (401, json!("user_inactive")));
    for (method, outcome, least) in [("token", "accepted", 2), ("token", "no_user", 3), ("session", "accepted", 0)] {
        let name = format!("rowcast_authentications_total{{method=\"{method}\",outcome=\"{outcome}\"}}");
        assert_eq!(metric(&server, &name).await, least, "{name}");
    }
    server.stop().await;
}

/// The word comes after the client was found to be who it is, or while that is found out, and before it is in.
#[tokio::test]
async fn who_is_on_the_way_in_is_disconnected_as_well() {
    let db = TestDb::new().await;
    db.exec(USERS).await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        with_users(c);
        c.auth.recheck_interval_ms = 60_000;
    })
    .await;
    let url = with_token(&server, &token("1", json!({})));
    let (mut inside, mut changing) = (Client::connect(&url).await, Client::connect(&server.ws()).await);
    assert_eq!(subscribe(&mut inside, "users").await["type"], "subscribed");
    let mut holder: PgConnection = db.connect().await;
    sqlx::raw_sql("begin; lock table users in access exclusive mode").execute(&mut holder).await.expect("a lock");
    let entering = tokio::spawn({
        let url = url.clone();
        async move { Client::connect(&url).await }
    });
    changing.send(json!({"type": "auth", "token": token("1", json!({}))})).await;
    wait_until("both are being found out", async || {
        db.text("select count(*)::text from pg_locks where relation = 'users'::regclass and not granted").await == "2"
    })
    .await;
    db.exec("select rowcast.disconnect('1', 'bye')").await;
    assert_eq!(inside.expect_close().await.code, 4401);
    sqlx::raw_sql("rollback").execute(&mut holder).await.expect("an end");
    let mut entered = entering.await.expect("connected");
    for client in [&mut entered, &mut changing] {
        let closed = loop {
            if let Err(closed) = client.next_or_close().await {
                break closed;
            }
        };
        assert_eq!((closed.code, &*closed.reason), (4401, "bye"));
    }
    // Whoever comes later comes anew.
    let mut later = Client::connect(&url).await;
    assert_eq!(subscribe(&mut later, "users").await["type"], "subscribed");
    server.stop().await;
}

/// The session's user is deactivated while the session is looked at, and one of its connections has shown a token meanwhile.
#[tokio::test]
async fn who_shows_other_credentials_meanwhile_does_not_end_with_the_old_ones() {
    let db = TestDb::new().await;
    db.exec(ROWS).await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.auth.sessions = true;
        c.auth.recheck_interval_ms = 250;
    })
    .await;
    let file: Value = serde_json::from_str(SESSIONS).expect("JSON");
    let session = file["samples"][0]["django_session"]["session_key"].as_str().expect("a key");
    let (mut changing, mut staying) = (by_session(&server, session).await, by_session(&server, session).await);
    let mut holder: PgConnection = db.connect().await;
    let lock = "begin; lock table django_session in access exclusive mode";
    sqlx::raw_sql(lock).execute(&mut holder).await.expect("a lock");
    wait_until("the session is looked at", async || {
        db.text("select count(*)::text from pg_locks where relation = 'django_session'::regclass and not granted").await
            == "1"
    })
    .await;
    changing.send(json!({"type": "auth", "token": token("42", json!({}))})).await;
    assert_eq!(changing.skip_to("authenticated").await.str_of("user"), "42");
    // Whom they belong to is read after them.
    db.exec("update auth_user set is_active = false where username = 'ada'").await;
    sqlx::raw_sql("rollback").execute(&mut holder).await.expect("an end");
    assert_eq!(staying.expect_close().await.code, 4401);
    let ended = "rowcast_revocations_total{reason=\"ended\"}";
    assert_eq!(metric(&server, ended).await, 1);
    changing.send(json!({"type": "ping", "id": 1})).await;
    changing.skip_to("pong").await;
    assert_eq!(metric(&server, ended).await, 1);
    server.stop().await;
}
