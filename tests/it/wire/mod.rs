//! The endpoints of other applications, byte for byte: `tests/fixtures/wire`, one file per frame or body.

mod crowd;
mod fx_engine;
mod refresh;
mod remittance;
mod rest;

use rowcast::domain::DatabaseUrl;
use rowcast::store::Store;

use crate::kit::ws::Client;
use crate::kit::{APP_ROLE, Server, TestDb};

/// Three rates whose two directions cannot be confused, and one that has expired.
const RATES: &str = "insert into rowcast_fx.rates
    (source_currency, destination_currency, rate, updated_at, confidence, sources, executed_by, cached, expired, warnings) values
    ('USD', 'NGN', 1600, '2026-11-20T16:05:00Z', 'high', '{ecb,fixer,frankfurter}', null, false, false, '{}'),
    ('USD', 'KES', 128.50, '2026-11-20T16:05:00.25Z', 'low', '{ecb}', null, true, false, '{\"No fresh quote: the \\\"last\\\" good value\"}'),
    ('EUR', 'NGN', 1750, '2026-11-20T16:05:00Z', 'medium', '{flutterwave}', 'flutterwave', false, false, '{}'),
    ('GBP', 'NGN', 2000, '2026-11-20T16:05:00Z', 'low', '{}', null, true, true, '{expired}')";
const MALFORMED: &str = r#"{"type":"error","message":"Invalid JSON format"}"#;

async fn world() -> (TestDb<'static>, Server) {
    let db = TestDb::new().await;
    let url = DatabaseUrl::parse(&db.url(), APP_ROLE).expect("our own URL");
    let store = Store::new(&url, Default::default());
    store.open_rate_channels().await.expect("the owner opens channels");
    store.close().await;
    db.exec(RATES).await;
    let server = Server::start(&db).await;
    (db, server)
}

async fn connect(server: &Server, path: &str) -> Client {
    Client::connect(&format!("{}{path}", server.url.replacen("http", "ws", 1))).await
}

async fn refreshed(db: &TestDb<'_>) {
    db.exec("insert into rowcast_fx.rate_refresh (cycle, at, changed, used, rejected) values (1, now(), 1, 1, 0)")
        .await;
}

/// Compares with `tests/fixtures/wire/{name}`; points in time are `<time>` there.
fn golden(name: &str, text: &str) {
    let path = format!("{}/tests/fixtures/wire/{name}", env!("CARGO_MANIFEST_DIR"));
    let want = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}\nfor: {text}"));
    assert_eq!(timeless(text), want.trim_end_matches('\n'), "{name}");
}

/// With every RFC 3339 time in UTC replaced.
fn timeless(text: &str) -> String {
    let time = |part: &str| part.len() == 27 && part.ends_with('Z') && part.as_bytes()[10] == b'T';
    let parts: Vec<&str> = text.split('"').map(|part| if time(part) { "<time>" } else { part }).collect();
    parts.join("\"")
}
