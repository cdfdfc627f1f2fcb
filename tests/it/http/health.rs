//! Alive, ready, measured.

use serde_json::{Value, json};

use crate::kit::{http_client, wait_until};
use crate::native::server::{Server, Settings};

async fn ready(server: &Server) -> (u16, Value) {
    let response = http_client().get(server.url("/readyz")).send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.expect("text")).expect("JSON"))
}

#[tokio::test]
async fn ready_means_a_stream_and_a_database_and_not_stopping() {
    let server = Server::with(Settings { silent: true, ..Default::default() }).await;
    let alive = http_client().get(server.url("/healthz")).send().await.expect("an answer");
    assert_eq!((alive.status().as_u16(), &*alive.text().await.expect("text")), (200, r#"{"status":"ok"}"#));
    let (status, body) = ready(&server).await;
    assert_eq!((status, &body["reasons"]), (503, &json!([{ "what": "stream", "why": "has not begun" }])));
    server.world.begin(1);
    assert_eq!(ready(&server).await, (200, json!({ "status": "ready" })));

    server.world.database(false);
    // The last answer of the database is good for a second.
    wait_until("the database is missed", async || ready(&server).await.0 == 503).await;
    let (_, body) = ready(&server).await;
    assert_eq!(body["reasons"], json!([{ "what": "database", "why": "does not answer" }]));
    server.readiness.lower("is stopping");
    let (status, body) = ready(&server).await;
    assert_eq!((status, &body["reasons"]), (503, &json!([{ "what": "process", "why": "is stopping" }])));
}

#[tokio::test]
async fn metrics_are_what_the_app_says() {
    let server = Server::start().await;
    let response = http_client().get(server.url("/metrics")).send().await.expect("an answer");
    assert!(response.headers()["content-type"].to_str().expect("ASCII").starts_with("application/openmetrics-text"));
    assert_eq!(response.text().await.expect("text"), "# EOF\n");
}
