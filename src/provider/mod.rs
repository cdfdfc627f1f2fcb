//! Where exchange rates come from: one source per file, each with its own wire shapes, all with one face.
//!
//! ```text
//!  rates ──refresh──▶ Guarded (circuit breaker, minimal interval, last answer) ──▶ Provider ──▶ Wire (one bounded GET)
//! ```
//! Rates are decimals from the wire's text on. A key is in a [`Secret`], and in no error, log line or `Debug`.

mod answer;
mod apilayer;
mod client;
mod config;
mod currencyapi;
mod currencylayer;
mod ecb;
mod error;
mod exchangerate_api;
mod exchangerate_host;
mod fixer;
mod flutterwave;
mod frankfurter;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod guard;
mod guarded;
mod held;
mod number;
mod open_er_api;
mod openexchangerates;
mod pair;
mod polled;
mod registry;
mod secret;
mod simulated;

use crate::domain::Boxed;

pub use crate::domain::{Currency, CurrencyError};
pub use answer::{Answer, Missing, Quote, Wanted};
pub use client::{ClientError, client};
pub use config::{Cadence, Config, SourceConfig};
pub use error::ProviderError;
pub use guard::{Circuit, Guard, Luck, Memory};
pub use guarded::{Guarded, Refreshed, Status};
pub use held::{Held, Why};
pub use pair::Pair;
pub use registry::{RegistryError, names, registry};
pub use secret::Secret;
pub use simulated::Market;

/// A source of exchange rates.
pub trait Provider: Send + Sync {
    /// As in the configuration.
    fn name(&self) -> &'static str;
    fn kind(&self) -> Kind;
    /// How often it has news, and with that how old its quotes may be.
    fn cadence(&self) -> Cadence;
    /// One round. Bounded in time and size; cancelled by dropping it.
    fn fetch<'a>(&'a self, wanted: &'a Wanted) -> Boxed<'a, Result<Answer, ProviderError>>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All rates against one base, from one request: mid-market.
    Snapshot,
    /// Each pair by itself, executable and directional: not to be inverted, crossed or mixed into a median.
    Pairs,
}
