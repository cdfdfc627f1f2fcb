//! The demo's page in a real browser: headless Chromium, driven over the DevTools protocol.

mod cdp;
mod rates;
