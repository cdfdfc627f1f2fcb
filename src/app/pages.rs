//! The pages in the binary.

use serde_json::{Map, Value, json};

use crate::http::Page;

/// What the demo's pages offer to type.
#[derive(Clone, Debug)]
pub struct TryIt {
    pub psql: String,
    /// A page's name, and the statement that changes what it shows.
    pub statements: Vec<(&'static str, String)>,
}

const HTML: &str = "text/html; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Path, type and content of each file.
macro_rules! files {
    ($($path:literal: $content_type:ident $file:literal;)*) => {
        [$(($path, $content_type, include_str!(concat!("../../pages/", $file)))),*]
    };
}

/// The client module for everybody; the demo's pages where they have something to show.
pub fn all(try_it: Option<&TryIt>) -> Vec<Page> {
    let client = files! { "/pages/rowcast.js": JAVASCRIPT "rowcast.js"; };
    let mut pages: Vec<Page> = client.into_iter().map(page).collect();
    if let Some(TryIt { psql, statements }) = try_it {
        let statements: Map<String, Value> =
            statements.iter().map(|(page, statement)| ((*page).into(), statement.as_str().into())).collect();
        let typed = json!({ "psql": psql, "statements": statements }).to_string();
        pages.extend(demo().into_iter().map(page));
        pages.push(Page::new("/pages/try.json", "application/json", typed));
    }
    pages
}

fn demo() -> Vec<(&'static str, &'static str, &'static str)> {
    files! {
        "/": HTML "index.html";
        "/rates": HTML "rates.html";
        "/live-portfolio": HTML "portfolio.html";
        "/order": HTML "order.html";
        "/learning": HTML "learning.html";
        "/connections": HTML "connections.html";
        "/pages/base.css": CSS "base.css";
        "/pages/index.css": CSS "index.css";
        "/pages/rates.css": CSS "rates.css";
        "/pages/portfolio.css": CSS "portfolio.css";
        "/pages/order.css": CSS "order.css";
        "/pages/learning.css": CSS "learning.css";
        "/pages/connections.css": CSS "connections.css";
        "/pages/index.js": JAVASCRIPT "index.js";
        "/pages/rates.js": JAVASCRIPT "rates.js";
        "/pages/portfolio.js": JAVASCRIPT "portfolio.js";
        "/pages/order.js": JAVASCRIPT "order.js";
        "/pages/learning.js": JAVASCRIPT "learning.js";
        "/pages/connections.js": JAVASCRIPT "connections.js";
        "/pages/chart.js": JAVASCRIPT "chart.js";
        "/pages/shell.js": JAVASCRIPT "shell.js";
        "/pages/who.js": JAVASCRIPT "who.js";
        "/pages/icon.svg": SVG "icon.svg";
    }
    .into()
}

fn page((path, content_type, body): (&'static str, &'static str, &'static str)) -> Page {
    Page::new(path, content_type, body)
}
