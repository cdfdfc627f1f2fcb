//! What strangers may see, and by which name the server is asked.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::auth::{KeyFile, token};
use crate::kit::ws::Client;
use crate::kit::{Server, TestDb, http_client};

#[tokio::test]
async fn a_page_whose_name_was_made_to_lead_here_is_none_of_ours() {
    let db = TestDb::new().await;
    let server = Server::with(&db.url(), |c| c.http.hosts = vec!["localhost".into(), ".shop.example".into()]).await;
    let port = server.url.rsplit_once(':').expect("a port").1;
    let ask = async |path: &str, host: &str| {
        let answer = http_client().get(server.http(path)).header("host", host).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap_or_default()["code"].clone())
    };
    let told = (421, json!("host_not_allowed"));
    for path in ["/api/channels", "/metrics", "/sse?channel=news", "/", "/nothing"] {
        assert_eq!(ask(path, &format!("rebound.example:{port}")).await, told, "{path}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(ask(path, "10.1.2.3:8080").await.0, 200, "{path}: a prober has no name for us");
    }
    for (host, status) in [("localhost", 200), ("eu.shop.example:443", 200), ("shop.example.evil.org", 421)] {
        assert_eq!(ask("/api/channels", host).await.0, status, "{host}");
    }
    // Of the same origin as the name it asks by, which is all that auth.origins could say.
    for (host, status) in [(format!("rebound.example:{port}"), 421), (format!("localhost:{port}"), 101)] {
        let mut request = server.ws().into_client_request().expect("a URL");
        for (name, value) in [("host", host.clone()), ("origin", format!("http://{host}"))] {
            request.headers_mut().insert(name, value.parse().expect("a header"));
        }
        let got = match Client::try_connect(request).await {
            Ok(client) => client.response.status().as_u16(),
            Err(Error::Http(answer)) => answer.status().as_u16(),
            Err(e) => panic!("{e}"),
        };
        assert_eq!(got, status, "{host}");
    }
    server.stop().await;
}

#[tokio::test]
async fn metrics_and_families_are_shown_to_whom_the_settings_say() {
    let db = TestDb::new().await;
    db.exec("create table t (id int); select rowcast.watch('t', 'secret-plan:{id}')").await;
    let key = KeyFile::new();
    let admin = db.text("select rowcast.create_api_key('prometheus', admin => true)").await;
    let (user, staff) = (token("1", json!({})), token("2", json!({"is_staff": true})));
    for public in [true, false] {
        let server = Server::with(&db.url(), |c| {
            key.tokens(c);
            c.http.metrics_public = public;
        })
        .await;
        let metrics = async |who: &str, from_here: bool| {
            let mut get = http_client().get(server.http("/metrics"));
            if !from_here {
                get = get.header("x-forwarded-for", "192.0.2.1");
            }
            if !who.is_empty() {
                get = get.bearer_auth(who);
            }
            get.send().await.expect("an answer").status().as_u16()
        };
        let (nobodys, users) = if public { (200, 200) } else { (401, 403) };
        for (who, from_here, status) in
            [("", true, 200), ("", false, nobodys), (&user, false, users), (&staff, false, 200), (&admin, false, 200)]
        {
            assert_eq!(metrics(who, from_here).await, status, "public: {public}, {who}, from here: {from_here}");
        }
        let families = async |who: &str| {
            let get = http_client().get(server.http("/api/channels"));
            let get = if who.is_empty() { get } else { get.bearer_auth(who) };
            let body: Value = get.send().await.expect("an answer").json().await.expect("JSON");
            body["families"].to_string()
        };
        assert_eq!(families("").await, "[]");
        assert!(families(&user).await.contains("secret-plan:{id}"));
        server.stop().await;
    }
    let open = Server::start(&db).await;
    let all = http_client().get(open.http("/api/channels")).send().await.expect("an answer");
    assert!(all.text().await.expect("text").contains("secret-plan:{id}"), "who opens everything shows everything");
    open.stop().await;
}
