//! The demo's pages in a real browser: headless Chromium, driven over the DevTools protocol.

pub mod cdp;
mod learning;
mod order;
mod others;
mod portfolio;
mod rates;

use crate::kit::{Binary, Running, TestDb};

const LIVE: &str = "document.querySelector('#phase').textContent === 'live'";

async fn demo(db: &TestDb<'_>, listen: &str) -> Running {
    Binary::new(&["demo", "--listen", listen]).env("DATABASE_URL", &db.url()).start().ready().await
}

/// A small phone, in the dark and without motion: nothing sticks out, nothing moves by itself.
async fn fits_a_phone(page: &mut cdp::Page) {
    page.resize(320, 640).await;
    page.prefer("prefers-color-scheme", "dark").await;
    assert_eq!(page.eval("document.documentElement.scrollWidth <= 320").await, true);
    assert_eq!(page.eval("getComputedStyle(document.body).backgroundColor").await, "rgb(15, 20, 26)");
    page.prefer("prefers-reduced-motion", "reduce").await;
    page.until("document.getAnimations().length === 0").await;
}
