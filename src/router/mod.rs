//! Log rows -> channels and messages.
//!
//! ```text
//! Feed ──▶ dispatcher ──event families──▶ messages ─────────────▶ Outlet (hub)
//!              │ state families                                      ▲
//!              └──dirty keys──▶ reader of the family ──one query─────┘
//! subscribe ──▶ snapshot ──▶ the same reader        resume ──▶ replay from the log
//! ```
//!
//! The dispatcher never waits for a view: readers are tasks of their own, one running query per family, and what
//! becomes dirty meanwhile goes into the next one. Configuration is versioned by log id, so that a row is always
//! routed as it was when it was captured, live or replayed.

mod dispatcher;
mod fields;
mod keys;
#[doc(hidden)]
pub mod measured;
mod occupants;
mod reader;
mod replay;
mod route;
mod routing;
mod source;
mod spelling;

pub use dispatcher::Stats;
pub use source::{Clock, Router};

use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A larger message is not sent; the channel's subscribers get an error instead.
    pub message_bytes_max: usize,
    /// Keys read in one query of a view; more go into the next.
    pub read_keys_max: usize,
    /// Rows waiting for a `keys` query; beyond this, every subscribed key of the family is read again.
    pub pending_rows_max: usize,
    /// How long to wait before a query that found no database is tried again.
    pub retry_ms: u64,
    /// Rows of the log that one replay scans at the most; clients further behind start over.
    pub replay_rows_max: usize,
    /// Do clients hear what Postgres said of a view that failed? It may quote data and name tables.
    pub tell_view_errors: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            message_bytes_max: 4 << 20,
            read_keys_max: 1_000,
            pending_rows_max: 10_000,
            retry_ms: 500,
            replay_rows_max: 200_000,
            tell_view_errors: false,
        }
    }
}
