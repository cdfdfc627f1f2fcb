//! The REST interface, and its errors.

use reqwest::{Method, StatusCode};
use rowcast::domain::ReadError;
use rowcast::http;
use serde_json::{Value, json};

use crate::kit::{http_client, patiently};
use crate::native::server::{Server, Settings};
use crate::native::world::all_of;

async fn get(server: &Server, path: &str) -> (StatusCode, Value) {
    let response = patiently(path, http_client().get(server.url(path)).send()).await.expect("an answer");
    let status = response.status();
    let text = patiently("the body", response.text()).await.expect("text");
    (status, serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e} in {text}")))
}

#[tokio::test]
async fn every_error_is_a_problem_with_its_code() {
    let config = http::Config { body_bytes_max: 100, ..Default::default() };
    let server = Server::with(Settings { http: config, ..Default::default() }).await;
    server.world.state_view("s", |_| Ok("1".into()));
    server.world.event_view("bad", |_| Err(ReadError::View { detail: "division by zero".into() }));
    server.world.event_view("slow", |_| Err(ReadError::Timeout { limit_ms: 5 }));
    server.world.event_view("large", |_| Err(ReadError::TooLarge { bytes: 9, limit: 5 }));
    let other = rowcast::domain::Cursor {
        incarnation: rowcast::domain::Incarnation(7),
        ..server.world.cursor().parse().expect("a cursor")
    };
    let long = format!("/api/channels/{}", "x".repeat(256));
    let expired = format!("/api/channels/a/events?cursor={other}");
    let body = |text: &'static str| Some(("application/json", text));
    let big: &'static str = Box::leak(format!(r#"{{"event":"e","data":"{}"}}"#, "x".repeat(100)).into_boxed_str());
    /// Method, path, content type and body, status, code.
    type Case<'a> = (Method, &'a str, Option<(&'a str, &'a str)>, u16, &'a str);
    let cases: Vec<Case<'_>> = vec![
        (Method::GET, "/nowhere", None, 404, "not_found"),
        (Method::GET, "/api/nowhere", None, 404, "not_found"),
        (Method::GET, "/api", None, 404, "not_found"),
        (Method::DELETE, "/api/channels", None, 405, "method_not_allowed"),
        (Method::POST, "/healthz", None, 405, "method_not_allowed"),
        (Method::PUT, "/api/channels/a/events", body("{}"), 405, "method_not_allowed"),
        (Method::GET, "/api/channels?limit=0", None, 400, "bad_request"),
        (Method::GET, "/api/channels?limit=1001", None, 400, "bad_request"),
        (Method::GET, "/api/channels?limit=x", None, 400, "bad_request"),
        (Method::GET, &long, None, 400, "bad_channel"),
        (Method::GET, "/api/channels/a%00b", None, 400, "bad_channel"),
        (Method::GET, "/api/channels/bad/snapshot", None, 500, "view_failed"),
        (Method::GET, "/api/channels/slow/snapshot", None, 504, "view_timeout"),
        (Method::GET, "/api/channels/large/snapshot", None, 500, "message_too_large"),
        (Method::GET, "/api/channels/s/events", None, 409, "not_replayable"),
        (Method::GET, "/api/channels/a/events?cursor=xyz", None, 400, "bad_cursor"),
        (Method::GET, &expired, None, 410, "cursor_expired"),
        (Method::POST, "/api/channels/a/events", None, 415, "unsupported_media_type"),
        (Method::POST, "/api/channels/a/events", Some(("text/plain", "{}")), 415, "unsupported_media_type"),
        (Method::POST, "/api/channels/a/events", body(""), 400, "bad_request"),
        (Method::POST, "/api/channels/a/events", body("{"), 400, "bad_request"),
        (Method::POST, "/api/channels/a/events", body("[]"), 422, "invalid"),
        (Method::POST, "/api/channels/a/events", body(r#"{"event":"e"}"#), 422, "invalid"),
        (Method::POST, "/api/channels/a/events", body(r#"{"event":7,"data":1}"#), 422, "invalid"),
        (Method::POST, "/api/channels/a/events", body(r#"{"event":"","data":1}"#), 422, "invalid"),
        (Method::POST, "/api/channels/a/events", body(r#"{"event":"a\nb","data":1}"#), 422, "invalid"),
        (Method::POST, "/api/channels/a/events", body(r#"{"event":"refused","data":1}"#), 422, "refused"),
        (Method::POST, "/api/channels/a/events", body(big), 413, "body_too_large"),
        (Method::GET, "/sse", None, 400, "bad_channel"),
        (Method::GET, "/sse?channel=", None, 400, "bad_channel"),
        (Method::GET, "/sse?channel=a&cursor=xyz", None, 400, "bad_cursor"),
        (Method::POST, "/sse?channel=a", None, 405, "method_not_allowed"),
        (Method::GET, "/ws", None, 426, "upgrade_required"),
    ];
    for (method, path, body, status, code) in cases {
        let what = format!("{method} {} {body:?}", &path[..path.len().min(60)]);
        let mut request = http_client().request(method, server.url(path));
        if let Some((kind, body)) = body {
            request = request.header("content-type", kind).body(body.to_owned());
        }
        let response = patiently(&what, request.send()).await.expect("an answer");
        assert_eq!(response.status(), status, "{what}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{what}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{what}");
        assert_eq!(response.headers().contains_key("allow"), status == 405, "{what}");
        let problem: Value = serde_json::from_str(&response.text().await.expect("text")).expect("JSON");
        assert_eq!(problem["code"], code, "{what}");
        assert_eq!(problem["status"], status, "{what}");
        assert_eq!(problem["type"], format!("urn:rowcast:problem:{code}"), "{what}");
        let said = |member: &str| problem[member].as_str().is_some_and(|s| s.len() > 5);
        assert!(said("title") && said("detail"), "{what}: {problem}");
    }

    server.world.database(false);
    for (path, code) in
        [("/api/channels/s/snapshot", "database_unavailable"), ("/api/channels/a/snapshot", "database_unavailable")]
    {
        let (status, problem) = get(&server, path).await;
        assert_eq!((status.as_u16(), &problem["code"]), (503, &json!(code)));
        assert!(!problem.to_string().contains("secret"), "{problem}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_parameter_is_said_in_our_words() {
    let server = Server::start().await;
    for (query, detail) in [
        ("limit=0", "'limit' is 1 at least."),
        ("limit=1001", "'limit' is 1000 at most."),
        ("limit=x", "'limit' cannot be read: /docs says what it may be."),
    ] {
        let (status, problem) = get(&server, &format!("/api/channels?{query}")).await;
        assert_eq!((status.as_u16(), &problem["detail"]), (400, &json!(detail)), "{query}");
    }
}

#[tokio::test]
async fn before_the_stream_begins_reads_say_so() {
    let server = Server::with(Settings { silent: true, ..Default::default() }).await;
    for path in ["/api/channels/a/snapshot", "/api/channels/a/events"] {
        let (status, problem) = get(&server, path).await;
        assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("not_ready")));
    }
}

#[tokio::test]
async fn channels_are_listed_with_their_families_in_pages() {
    let server = Server::start().await;
    server.world.state_view("rates", |_| Ok("1".into()));
    server.world.event_view("log", |_| Ok("[]".into()));
    let mut client = server.client().await;
    let names: Vec<String> = (0..5).map(|n| format!("o/{n}")).collect();
    client.send(json!({ "type": "subscribe", "channels": names })).await;
    for _ in 0..5 {
        client.skip_to("snapshot").await;
    }
    let _second = server.subscriber("o/3").await;

    let (status, all) = get(&server, "/api/channels/").await;
    assert_eq!(status, 200);
    let families = json!([
        { "pattern": "log", "kind": "event", "has_view": true },
        { "pattern": "rates", "kind": "state", "has_view": true },
    ]);
    assert_eq!(all["families"], families);
    let counts: Vec<u64> =
        all["channels"].as_array().expect("a list").iter().map(|c| c["subscribers"].as_u64().expect("n")).collect();
    assert_eq!(counts, [1, 1, 1, 2, 1]);
    assert!(all.get("next").is_none());

    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let (_, page) = get(&server, &format!("/api/channels?prefix=o&limit=2&after={after}")).await;
        assert_eq!(page["families"], json!([]));
        for c in page["channels"].as_array().expect("a list") {
            seen.push(c["channel"].as_str().expect("text").to_owned());
        }
        match page["next"].as_str() {
            Some(next) => after = next.replace('/', "%2F"),
            None => break,
        }
    }
    assert_eq!(seen, names);

    let (_, one) = get(&server, "/api/channels/o%2F3").await;
    let want = json!({ "channel": "o/3", "pattern": "o/3", "kind": "event", "has_view": false, "subscribers": 2 });
    assert_eq!(one, want);
}

#[tokio::test]
async fn a_snapshot_has_its_digits_its_cursor_and_its_tag() {
    let server = Server::start().await;
    server.world.event_view("a", all_of("a"));
    server.world.say("a", "10.50");
    let url = server.url("/api/channels/a/snapshot");
    let response = http_client().get(&url).send().await.expect("an answer");
    let (cursor, etag) = (response.headers()["rowcast-cursor"].clone(), response.headers()["etag"].clone());
    let cursor = cursor.to_str().expect("ASCII").to_owned();
    let text = response.text().await.expect("text");
    assert_eq!(text, format!(r#"{{"channel":"a","kind":"event","data":[10.50],"cursor":"{cursor}"}}"#));

    let again = || http_client().get(&url).header("if-none-match", etag.clone()).send();
    let unchanged = again().await.expect("an answer");
    assert_eq!((unchanged.status().as_u16(), &unchanged.headers()["etag"]), (304, &etag));
    assert!(unchanged.headers().contains_key("rowcast-cursor"));
    server.world.say("a", "2");
    assert_eq!(again().await.expect("an answer").status(), 200);

    // The cursor meets the stream exactly.
    let mut client = server.client().await;
    client.send(json!({ "type": "subscribe", "channel": "a", "cursor": cursor })).await;
    assert_eq!(client.next_of("subscribed").await["resumed"], true);
    assert_eq!(client.next_of("event").await.raw_of("data"), "2");
}

#[tokio::test]
async fn events_are_read_page_by_page_from_a_cursor() {
    let server = Server::start().await;
    let (status, now) = get(&server, "/api/channels/a/events").await;
    assert_eq!((status.as_u16(), &now["events"], &now["more"]), (200, &json!([]), &json!(false)));
    let mut cursor = now["cursor"].as_str().expect("text").to_owned();
    for n in 0..5 {
        server.world.commit(&[("a", &format!("{n}.0")), ("b", "0")]);
    }
    server.world.drain();
    let mut seen = String::new();
    for (count, more) in [(2, true), (2, true), (1, false), (0, false)] {
        let url = server.url(&format!("/api/channels/a/events?limit=2&cursor={cursor}"));
        let text = http_client().get(url).send().await.expect("an answer").text().await.expect("text");
        let page: Value = serde_json::from_str(&text).expect("JSON");
        let events = page["events"].as_array().expect("a list");
        assert_eq!((events.len(), page["more"].as_bool()), (count, Some(more)), "{text}");
        for n in 0..5 {
            if text.contains(&format!(r#""event":"insert","data":{n}.0,"at":"2023-"#)) {
                seen.push_str(&n.to_string());
            }
        }
        cursor = page["cursor"].as_str().expect("text").to_owned();
    }
    assert_eq!(seen, "01234");
}

#[tokio::test]
async fn what_is_published_keeps_its_text() {
    let server = Server::start().await;
    let body = r#"{ "event": "price", "data": {"p": 10.50, "n": 9007199254740993} }"#;
    let request =
        http_client().post(server.url("/api/channels/o%2F1/events")).header("content-type", "application/json");
    let response = request.body(body).send().await.expect("an answer");
    assert_eq!(response.status(), 202);
    let answer: Value = serde_json::from_str(&response.text().await.expect("text")).expect("JSON");
    assert_eq!(answer, json!({ "channel": "o/1", "event": "price" }));
    let sent = server.world.sent.lock().expect("whole").clone();
    assert_eq!(sent, [("o/1".into(), "price".into(), r#"{"p": 10.50, "n": 9007199254740993}"#.into())]);

    let config = http::Config { publish: false, ..Default::default() };
    let server = Server::with(Settings { http: config, ..Default::default() }).await;
    let request = http_client().post(server.url("/api/channels/a/events")).header("content-type", "application/json");
    assert_eq!(request.body(body).send().await.expect("an answer").status(), 403);
}

#[tokio::test]
async fn other_origins_read_only_where_they_are_listed() {
    let config = http::Config { cors_origins: vec!["https://app.example.com".into()], ..Default::default() };
    let open = Server::with(Settings { http: config, ..Default::default() }).await;
    let config = http::Config { cors_origins: vec!["*".into()], ..Default::default() };
    let all = Server::with(Settings { http: config, ..Default::default() }).await;
    let answer = http_client().get(all.url("/api/channels")).header("origin", "https://any.example.com");
    let answer = answer.send().await.expect("an answer");
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    let allowed = answer.headers()["access-control-allow-headers"].to_str().expect("ASCII");
    assert!(!answer.headers().contains_key("access-control-allow-credentials") && !allowed.contains("authorization"));

    let closed = Server::start().await;
    let cases = [
        (&open, "https://app.example.com", true),
        (&open, "https://evil.example.com", false),
        (&closed, "https://app.example.com", false),
    ];
    for (server, origin, allowed) in cases {
        let url = server.url("/api/channels");
        let plain = http_client().get(&url).header("origin", origin).send().await.expect("an answer");
        assert_eq!(plain.status(), 200);
        let said = plain.headers().get("access-control-allow-origin").map(|v| v.to_str().expect("ASCII").to_owned());
        assert_eq!(said, allowed.then(|| origin.to_owned()));
        let preflight = http_client()
            .request(Method::OPTIONS, &url)
            .header("origin", origin)
            .header("access-control-request-method", "POST");
        let preflight = preflight.send().await.expect("an answer");
        assert_eq!(preflight.status().is_success(), allowed, "{origin}");
        let may_send = preflight.headers().get("access-control-allow-headers").map(|v| v.to_str().expect("ASCII"));
        assert_eq!(may_send.is_some_and(|h| h.contains("authorization")), allowed);
        let credentials = preflight.headers().get("access-control-allow-credentials");
        assert_eq!(credentials.is_some_and(|v| v == "true"), allowed);
    }
}
