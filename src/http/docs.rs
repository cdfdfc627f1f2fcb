//! Swagger UI at `/docs`, from the binary.
//!
//! poem-openapi gives it as one page with everything inline. We take it apart, so that it runs under the policy of
//! all our pages (no inline script) and the browser keeps the large parts.

use super::page::Page;
use super::rest;

const PAGE: &str = include_str!("docs.html");
const START: &str = include_str!("docs.js");

/// The page, its parts and the description it shows: of what this server answers.
pub(super) fn pages(reference: bool) -> Vec<Page> {
    let (json, yaml) = match reference {
        true => (rest::service_of_nothing().spec(), super::openapi_yaml()),
        false => (rest::service_without_reference().spec(), rest::service_without_reference().spec_yaml()),
    };
    let whole = rest::service_of_nothing().swagger_ui_html();
    let part = |from: &str, to: &str| {
        let begin = whole.find(from).map(|at| at + from.len());
        let end = begin.and_then(|at| whole[at..].find(to).map(|n| at + n));
        let (Some(begin), Some(end)) = (begin, end) else {
            // poem-openapi is pinned by Cargo.lock, and a test looks at the parts.
            unreachable!("Swagger UI's page has one {from} element");
        };
        whole[begin..end].to_owned()
    };
    vec![
        Page::new("/docs", "text/html; charset=utf-8", PAGE),
        Page::new("/docs/swagger-ui.css", "text/css; charset=utf-8", part("<style charset=\"UTF-8\">", "</style>")),
        Page::new(
            "/docs/swagger-ui.js",
            "text/javascript; charset=utf-8",
            part("<script charset=\"UTF-8\">", "</script>"),
        ),
        Page::new("/docs/start.js", "text/javascript; charset=utf-8", START),
        Page::new("/openapi.json", "application/json", json),
        Page::new("/openapi.yaml", "application/yaml", yaml),
        Page::new("/asyncapi.yaml", "application/yaml", include_str!("../../openapi/asyncapi.yaml")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_whole() {
        let pages = pages(false);
        let body = |path: &str| {
            let page = pages.iter().find(|p| p.path == path).expect(path);
            String::from_utf8(page.body.to_vec()).expect("UTF-8")
        };
        assert!(body("/docs/swagger-ui.css").contains(".swagger-ui"));
        let js = body("/docs/swagger-ui.js");
        assert!(js.contains("SwaggerUIBundle") && js.len() > 500_000, "{}", js.len());
        assert!(!body("/docs").contains("<script>"), "no inline script");
        assert!(body("/openapi.json").contains("/channels/{channel}/events"));
    }
}
