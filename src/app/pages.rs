//! The pages of the demo, compiled in: they work without internet, and under a policy that allows nothing but us.

use poem::endpoint::make_sync;
use poem::http::StatusCode;
use poem::{Endpoint, Response, Route, get};
use serde::Serialize;

/// What the demo's page offers to type.
#[derive(Clone, Debug, Serialize)]
pub struct TryIt {
    /// Must hold no password: everybody who sees the page sees it.
    pub psql: String,
    pub update: String,
}

/// No inline script, no inline style, nothing from elsewhere; 'self' covers the WebSocket of the same host.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

const HTML: &str = "text/html; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// `/rates` and what it loads from `/pages/`.
pub fn routes(try_it: Option<TryIt>) -> Route {
    let try_it = try_it.map(|t| serde_json::to_string(&t).expect("two strings are JSON"));
    Route::new()
        .at("/rates", file(HTML, include_str!("../../pages/rates.html")))
        .at("/pages/rates.css", file("text/css; charset=utf-8", include_str!("../../pages/rates.css")))
        .at("/pages/rates.js", file(JS, include_str!("../../pages/rates.js")))
        .at("/pages/rowcast.js", file(JS, include_str!("../../pages/rowcast.js")))
        .at("/pages/icon.svg", file("image/svg+xml", include_str!("../../pages/icon.svg")))
        .at(
            "/pages/rates.json",
            get(make_sync(move |_| match &try_it {
                Some(json) => answer("application/json", json.clone()),
                None => Response::builder().status(StatusCode::NOT_FOUND).finish(),
            })),
        )
}

fn file(content_type: &'static str, text: &'static str) -> impl Endpoint<Output = Response> {
    get(make_sync(move |_| answer(content_type, text)))
}

fn answer(content_type: &str, body: impl Into<poem::Body>) -> Response {
    Response::builder()
        .content_type(content_type)
        .header("content-security-policy", POLICY)
        .header("x-content-type-options", "nosniff")
        .header("referrer-policy", "no-referrer")
        // The next version of the binary is at the same address.
        .header("cache-control", "no-cache")
        .body(body)
}

#[cfg(test)]
mod tests {
    use poem::Request;

    use super::*;

    #[tokio::test]
    async fn every_file_that_the_page_names_is_served_and_nothing_is_inline() {
        let routes = routes(None);
        let page = include_str!("../../pages/rates.html");
        for attribute in ["href=\"", "src=\""] {
            for (at, _) in page.match_indices(attribute) {
                let path = page[at + attribute.len()..].split('"').next().unwrap_or_default();
                assert!(path.starts_with('/'), "{path} is not ours");
                let request = Request::builder().uri(path.parse().expect("a path")).finish();
                let response = routes.get_response(request).await;
                assert_eq!(response.status(), StatusCode::OK, "{path}");
                assert!(response.headers().contains_key("content-security-policy"));
            }
        }
        for inline in [" style=", "<style", " onclick=", "javascript:", "<script>"] {
            assert!(!page.contains(inline), "{inline}");
        }
    }

    #[tokio::test]
    async fn what_to_type_is_there_in_a_demo_only() {
        let ask = |routes: Route| async move {
            routes.get_response(Request::builder().uri_str("/pages/rates.json").finish()).await
        };
        assert_eq!(ask(routes(None)).await.status(), StatusCode::NOT_FOUND);
        let try_it = TryIt { psql: "psql \"x\"".into(), update: "update".into() };
        let body = ask(routes(Some(try_it))).await.into_body().into_string().await.expect("text");
        assert_eq!(body, r#"{"psql":"psql \"x\"","update":"update"}"#);
    }
}
