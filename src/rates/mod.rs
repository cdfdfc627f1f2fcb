//! Exchange rates: aggregate the providers' quotes, publish what changed.
//!
//! ```text
//!  Panel: all providers at once
//!     │
//!  answers ─▶ aggregate ─▶ settle ─▶ publish ─▶ one statement: rates, rate_quote, rate_mark, rate_refresh
//!             (a middle    (jumps    (pairs, and
//!              each)        held,     which of them
//!                           last      changed enough)
//!                           good)
//! ```
//!
//! All but [`Refresher`] is pure. What a refresh must know of those before (`rate_mark`) and what is published (`rates`)
//! is read from the database each time: several instances and the command line may refresh, and psql may write a rate.

pub mod aggregate;
mod config;
pub mod consensus;
mod figure;
mod memory;
mod pair;
mod panel;
pub mod price;
pub mod publish;
mod quote;
mod refresh;
mod report;
mod rows;
mod settle;

pub use crate::domain::{Currency, CurrencyError};
pub use config::{Config, Rules};
pub use consensus::Confidence;
pub use figure::{Figure, FigureError};
pub use pair::Pair;
pub use panel::{Fared, Outcome, Panel, Progress, Round};
pub use quote::{Answer, Judged, Pace, Quoted, Reason};
pub use refresh::Refresher;
pub use report::{Cached, Change, Held, Report};
pub use settle::Standing;

#[derive(Debug, thiserror::Error)]
pub enum RatesError {
    #[error(transparent)]
    Currency(#[from] CurrencyError),
    #[error("{0}")]
    Config(&'static str),
    #[error("others refreshed the rates again and again meanwhile")]
    Contended,
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}
