//! The pages of the demo, compiled in: they work without internet and under a policy that allows nothing but us.

use serde::Serialize;

use crate::http::Page;

/// What the demo's page offers to type.
#[derive(Clone, Debug, Serialize)]
pub struct TryIt {
    /// Must hold no password: everybody who sees the page sees it.
    pub psql: String,
    pub update: String,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// The client module for pages of anybody, at `/pages/rowcast.js`.
pub fn client() -> Page {
    Page::new("/pages/rowcast.js", JS, include_str!("../../pages/rowcast.js"))
}

/// `/rates` and what it loads; it needs `client`, too.
pub fn demo(try_it: &TryIt) -> Vec<Page> {
    let try_it = serde_json::to_string(try_it).expect("two strings are JSON");
    vec![
        Page::new("/rates", HTML, include_str!("../../pages/rates.html")),
        Page::new("/pages/rates.css", CSS, include_str!("../../pages/rates.css")),
        Page::new("/pages/rates.js", JS, include_str!("../../pages/rates.js")),
        Page::new("/pages/icon.svg", "image/svg+xml", include_str!("../../pages/icon.svg")),
        Page::new("/pages/rates.json", "application/json", try_it),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_page_names_is_there_and_nothing_is_inline() {
        let mut pages = demo(&TryIt { psql: "psql \"x\"".into(), update: "update".into() });
        pages.push(client());
        let text = |page: &Page| String::from_utf8(page.body.to_vec()).expect("UTF-8");
        let find = |path: &str| pages.iter().find(|p| p.path == path).unwrap_or_else(|| panic!("no {path}"));
        let html = text(find("/rates"));
        for attribute in ["href=\"", "src=\""] {
            for (at, _) in html.match_indices(attribute) {
                find(html[at + attribute.len()..].split('"').next().unwrap_or_default());
            }
        }
        for inline in [" style=", "<style", " onclick=", "javascript:", "<script>"] {
            assert!(!html.contains(inline), "{inline}");
        }
        assert_eq!(text(find("/pages/rates.json")), r#"{"psql":"psql \"x\"","update":"update"}"#);
    }
}
