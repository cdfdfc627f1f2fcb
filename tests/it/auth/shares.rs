//! What one user may take, and what a page of another origin may do in his name.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Error;

use super::{KeyFile, token, with_token};
use crate::kit::ws::Client;
use crate::kit::{Server, TestDb, http_client, wait_until};

/// The code that a handshake is refused with.
async fn refused(url: &str) -> (u16, String) {
    match Client::try_connect(url.to_owned()).await {
        Err(Error::Http(response)) => {
            let body: Value = serde_json::from_slice(response.body().as_deref().expect("a body")).expect("a problem");
            (response.status().as_u16(), body["code"].as_str().expect("a code").to_owned())
        }
        Err(e) => panic!("{e}"),
        Ok(_) => (101, String::new()),
    }
}

/// What is answered to a token in a frame.
async fn authenticate(client: &mut Client, token: &str) -> Value {
    client.send(json!({"type": "auth", "token": token})).await;
    loop {
        let frame = client.next().await;
        if !matches!(frame.str_of("type"), "welcome" | "heartbeat") {
            return frame.value.clone();
        }
    }
}

async fn stream(server: &Server, token: &str) -> reqwest::Response {
    let url = server.http(&format!("/sse?channel=users&token={token}"));
    http_client().get(url).send().await.expect("an answer")
}

#[tokio::test]
async fn a_user_has_so_many_connections_whoever_else_has_some() {
    let db = TestDb::new().await;
    db.exec("select rowcast.define_access('users')").await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.http.connections_per_user_max = 2;
    })
    .await;
    let (alice, bob) = (token("1", json!({})), token("2", json!({})));
    let first = Client::connect(&with_token(&server, &alice)).await;
    let second = stream(&server, &alice).await;
    assert_eq!(second.status(), StatusCode::OK);
    let told = (429, "connection_limit".to_owned());
    assert_eq!(refused(&with_token(&server, &alice)).await, told);
    let answer = stream(&server, &alice).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.json::<Value>().await.expect("a problem")["code"], told.1);
    // Others, and those who are nobody, have their own.
    let _bobs = (Client::connect(&with_token(&server, &bob)).await, stream(&server, &bob).await);
    let _nobodys =
        (Client::connect(&server.ws()).await, Client::connect(&server.ws()).await, Client::connect(&server.ws()).await);
    assert_eq!(refused(&with_token(&server, &bob)).await, told);
    first.close().await;
    let mut again = None;
    wait_until("the WebSocket's place is free", async || {
        again = Client::try_connect(with_token(&server, &alice)).await.ok();
        again.is_some()
    })
    .await;
    assert_eq!(refused(&with_token(&server, &alice)).await, told);
    drop(second);
    wait_until("the stream's place is free", async || stream(&server, &alice).await.status() == StatusCode::OK).await;
    server.stop().await;
}

/// However one says who one is: what is told in a frame counts, too.
#[tokio::test]
async fn a_token_in_a_frame_takes_a_place_of_its_user() {
    let db = TestDb::new().await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.http.connections_per_user_max = 1;
    })
    .await;
    let (alice, bob) = (token("1", json!({})), token("2", json!({})));
    let mut first = Client::connect(&server.ws()).await;
    let mut second = Client::connect(&server.ws()).await;
    for _ in 0..2 {
        // Said again it is no other connection.
        assert_eq!(authenticate(&mut first, &alice).await["type"], "authenticated");
    }
    let refused = authenticate(&mut second, &alice).await;
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("connection_limit")));
    assert_eq!(authenticate(&mut second, &bob).await["user"], "2");
    // Her place goes to whoever is next, once the first is somebody else.
    drop(second);
    wait_until("bob's place is free", async || authenticate(&mut first, &bob).await["user"] == "2").await;
    let mut third = Client::connect(&server.ws()).await;
    assert_eq!(authenticate(&mut third, &alice).await["user"], "1");
    server.stop().await;
}

#[tokio::test]
async fn a_user_publishes_so_often_whatever_others_do() {
    let db = TestDb::new().await;
    db.exec("select rowcast.define_access('users', 'publish')").await;
    let key = KeyFile::new();
    let server = Server::with(&db.url(), |c| {
        key.tokens(c);
        c.http.publishes_per_s_max = 1;
    })
    .await;
    let publish = async |user: &str| {
        let url = server.http("/api/channels/users/events");
        let request = http_client().post(url).bearer_auth(token(user, json!({})));
        request.json(&json!({"event": "e", "data": 1})).send().await.expect("an answer").status().as_u16()
    };
    wait_until("her share is used up", async || publish("1").await == 429).await;
    assert_eq!(publish("2").await, 202);
    server.stop().await;
}

#[tokio::test]
async fn a_page_from_anywhere_cannot_use_its_visitors_session() {
    let db = TestDb::new().await;
    db.exec("select rowcast.define_access('users', 'publish')").await;
    let key = KeyFile::new();
    let good = token("1", json!({}));
    let (bearer, cookie) = (("authorization", format!("Bearer {good}")), ("cookie", format!("access_token={good}")));
    for (origins, (name, value), status) in [
        (vec![], &cookie, 403),
        (vec!["*".to_owned()], &cookie, 403),
        (vec!["*".to_owned()], &bearer, 202),
        (vec!["https://app.example".to_owned()], &cookie, 202),
        (vec!["https://other.example".to_owned()], &bearer, 403),
    ] {
        let server = Server::with(&db.url(), |c| {
            key.tokens(c);
            c.auth.carriers.push(rowcast::auth::Carrier::Cookie);
            c.http.cors_origins = origins.clone();
        })
        .await;
        let request = http_client().post(server.http("/api/channels/users/events"));
        let request = request.header("origin", "https://app.example").header(*name, value);
        let answer = request.json(&json!({"event": "e", "data": 1})).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{origins:?} {name}");
        server.stop().await;
    }
}
