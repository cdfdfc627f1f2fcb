//! Pages from the binary, and nothing from elsewhere.

use reqwest::Response;

use crate::kit::http_client;
use crate::native::server::Server;

async fn get(server: &Server, path: &str) -> Response {
    http_client().get(server.url(path)).send().await.expect("an answer")
}

#[tokio::test]
async fn swagger_ui_needs_nothing_from_elsewhere() {
    let server = Server::start().await;
    for path in ["/docs", "/docs/"] {
        let page = get(&server, path).await;
        assert_eq!(page.status(), 200);
        let policy = page.headers()["content-security-policy"].to_str().expect("ASCII").to_owned();
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
        let html = page.text().await.expect("text");
        assert!(!html.contains("http://") && !html.contains("https://"), "{html}");
        let sources: Vec<&str> = html.split(['"']).filter(|s| s.starts_with('/')).collect();
        assert_eq!(sources, ["/docs/swagger-ui.css", "/docs/swagger-ui.js", "/docs/start.js"]);
        for source in sources {
            let asset = get(&server, source).await;
            assert_eq!(asset.status(), 200, "{source}");
            let text = asset.text().await.expect("text");
            if source.ends_with(".css") {
                // data: and names of XML namespaces are not loaded.
                let loaded = text.replace("http://www.w3.org/", "").replace("https://www.w3.org/", "");
                assert!(!loaded.contains("url(http") && !loaded.contains("url(//"), "{source}");
                assert!(!loaded.contains("@import"), "{source}");
            }
        }
    }
    let start = get(&server, "/docs/start.js").await.text().await.expect("text");
    assert!(start.contains("validatorUrl: null") && start.contains("url: '/openapi.json'"), "{start}");
}

#[tokio::test]
async fn pages_have_a_tag_and_a_policy() {
    let server = Server::start().await;
    let page = get(&server, "/hello").await;
    let etag = page.headers()["etag"].clone();
    assert_eq!(page.headers()["x-frame-options"], "DENY");
    assert!(page.headers()["content-security-policy"].to_str().expect("ASCII").contains("connect-src 'self'"));
    assert_eq!(page.text().await.expect("text"), "<p>hello");
    let again = http_client().get(server.url("/hello")).header("if-none-match", etag).send().await.expect("an answer");
    assert_eq!((again.status().as_u16(), &*again.text().await.expect("text")), (304, ""));
    let head = http_client().head(server.url("/hello")).send().await.expect("an answer");
    assert_eq!((head.status().as_u16(), head.headers().contains_key("etag")), (200, true));
}

#[tokio::test]
async fn the_descriptions_are_served() {
    let server = Server::start().await;
    let json = get(&server, "/openapi.json").await.text().await.expect("text");
    let spec: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(spec["openapi"].as_str().map(|v| &v[..3]), Some("3.0"));
    for path in spec["paths"].as_object().expect("paths").keys() {
        let path = format!("/api{}", path.replace("{channel}", "a"));
        assert_ne!(get(&server, &path).await.status(), 404, "{path}");
    }
    assert!(get(&server, "/openapi.yaml").await.text().await.expect("text").contains("/channels/{channel}/snapshot"));
    assert!(get(&server, "/asyncapi.yaml").await.text().await.expect("text").starts_with("asyncapi: 3.0.0"));
}
