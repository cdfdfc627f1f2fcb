//! Credentials are told to nobody: not in the log, whatever its level, not in metrics, answers or frames.

use serde_json::json;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{SECRET, token};
use crate::kit::ws::Client;
use crate::kit::{Binary, TestDb, http_client};

const SETTINGS: &str = r#"
    [auth]
    jwt = true
    sessions = true
    secret_key_file = "secret"
    carriers = ["header", "subprotocol", "frame", "cookie", "query"]
    [log]
    level = "trace"
    [http]
    unlimited_addresses = []"#;

#[tokio::test]
async fn no_credential_is_logged_counted_or_told_back() {
    let db = TestDb::new().await;
    db.exec(include_str!("../../fixtures/django_sessions/rows_django_5.2.sql")).await;
    let api_key = db.text("select rowcast.create_api_key('server', publish => '{a}')").await;
    let mut server = Binary::new(&["serve", "--listen", "127.0.0.1:0"])
        .env("DATABASE_URL", &db.url())
        .file("secret", SECRET)
        .file("rowcast.toml", SETTINGS)
        .start()
        .ready()
        .await;
    let good = token("42", json!({"email": "somebody@example.com"}));
    let expired = token("42", json!({"exp": 1}));
    let forged = format!("{}x", token("42", json!({"forged": true})));
    let session = "abcdefghijklmnopqrstuvwxyz012345";
    let mut told = String::new();
    for token in [&*good, &expired, &forged, &api_key] {
        for (name, value, query) in [
            ("x-nothing", "1".to_owned(), format!("token={token}")),
            ("x-nothing", "1".to_owned(), format!("access_token={token}")),
            ("authorization", format!("Bearer {token}"), String::new()),
            ("sec-websocket-protocol", format!("rowcast.v1, bearer.{token}"), String::new()),
            ("cookie", format!("access_token={token}; sessionid={session}"), String::new()),
        ] {
            let mut request = format!("{}?{query}", server.ws("/ws")).into_client_request().expect("a URL");
            let header = tokio_tungstenite::tungstenite::http::HeaderName::try_from(name).expect("a name");
            request.headers_mut().insert(header, value.parse().expect("a value"));
            match Client::try_connect(request).await {
                Ok(mut client) => {
                    client.send(json!({"type": "subscribe", "channel": "a"})).await;
                    client.send(json!({"type": "auth", "token": token})).await;
                    client.send(json!({"type": "auth", "token": token, "id": {"token": 1}, "type ": 1})).await;
                    client.send(json!({"type": "ping"})).await;
                    loop {
                        let frame = client.next().await;
                        told.push_str(&frame.raw);
                        if frame["type"] == "pong" {
                            break;
                        }
                    }
                    told.push_str(&format!("{:?}", client.response.headers()));
                }
                Err(error) => told.push_str(&format!("{error:?}")),
            }
            for path in ["/api/channels", "/api/channels/a/snapshot", "/nowhere", "/sse"] {
                let request = http_client().get(server.http(&format!("{path}?{query}"))).header(name, &value);
                let answer = request.send().await.expect("an answer");
                told.push_str(&format!("{:?}", answer.headers()));
                told.push_str(&answer.text().await.expect("text"));
            }
        }
    }
    told.push_str(
        &http_client().get(server.http("/metrics")).send().await.expect("an answer").text().await.expect("text"),
    );
    server.signal(libc::SIGTERM);
    server.ended().await;
    let log = server.errors().await;
    assert!(log.contains("\"level\":\"DEBUG\""), "the log says everything: {log:.300}");
    let payload = |token: &str| token.split('.').nth(1).expect("a payload").to_owned();
    let mark = |token: &str| token.rsplit('.').next().expect("a signature").to_owned();
    for (what, secret) in [
        ("a token's payload", payload(&good)),
        ("a token's signature", mark(&good)),
        ("an expired token's signature", mark(&expired)),
        ("a forged token's payload", payload(&forged)),
        ("an API key", api_key),
        ("a session's key", session.to_owned()),
        ("the secret key", SECRET.to_owned()),
    ] {
        let line = log.lines().find(|line| line.contains(&secret));
        assert!(line.is_none(), "{what} is in the log: {}", line.unwrap_or_default());
        assert!(!told.contains(&secret), "{what} is told back");
    }
}
