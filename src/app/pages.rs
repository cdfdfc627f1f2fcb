//! The pages in the binary.

use serde_json::json;

use crate::http::Page;

/// What the demo's page offers to type.
#[derive(Clone, Debug)]
pub struct TryIt {
    pub psql: String,
    pub update: String,
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The client module for everybody; the demo's page where it has something to show.
pub fn all(try_it: Option<&TryIt>) -> Vec<Page> {
    let mut pages = vec![Page::new("/pages/rowcast.js", JAVASCRIPT, include_str!("../../pages/rowcast.js"))];
    if let Some(TryIt { psql, update }) = try_it {
        let typed = json!({ "psql": psql, "update": update }).to_string();
        pages.extend([
            Page::new("/rates", "text/html; charset=utf-8", include_str!("../../pages/rates.html")),
            Page::new("/pages/chart.js", JAVASCRIPT, include_str!("../../pages/chart.js")),
            Page::new("/pages/rates.js", JAVASCRIPT, include_str!("../../pages/rates.js")),
            Page::new("/pages/rates.css", "text/css; charset=utf-8", include_str!("../../pages/rates.css")),
            Page::new("/pages/icon.svg", "image/svg+xml", include_str!("../../pages/icon.svg")),
            Page::new("/pages/rates.json", "application/json", typed),
        ]);
    }
    pages
}
