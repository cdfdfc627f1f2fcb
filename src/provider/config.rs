use std::collections::BTreeMap;

use serde::Deserialize;

use super::secret::Secret;
use crate::domain::Currency;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub connect_timeout_ms: u64,
    /// An answer larger than this is refused.
    pub answer_bytes_max: usize,
    /// `HTTPS_PROXY` and friends are heeded.
    pub proxy_from_env: bool,
    /// By the provider's name (`provider.source.ecb`). Only what is named here is asked; nothing by default.
    pub source: BTreeMap<String, SourceConfig>,
}

/// One provider. What is None is the provider's own default.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceConfig {
    pub enabled: bool,
    /// In place of the provider's own address, the version part of the path included.
    pub base_url: Option<String>,
    /// Better in the environment, see `key_env`.
    pub api_key: Option<Secret>,
    /// The environment variable that holds the key; goes before `api_key` when it is set.
    pub key_env: Option<String>,
    /// Of one request, connecting and the whole body included.
    pub timeout_ms: u64,
    /// Between the starts of two rounds, whatever the schedule says: keeps a free plan's quota. After a failed round
    /// at most a minute, the circuit breaker does the rest.
    pub min_interval_ms: Option<u64>,
    /// How old its newest quote may be. As often as it has news, or more slowly where `min_interval_ms` says so.
    pub cadence: Option<Cadence>,
    /// Only these currencies are asked for; empty: all that are wanted.
    pub symbols: Vec<Currency>,
    /// frankfurter: 1 or 2.
    pub version: Option<u8>,
    /// flutterwave: requests at the same time.
    pub concurrency: Option<usize>,
    /// flutterwave: the amount to receive that is asked for.
    pub amount: Option<u32>,
    /// simulated: where the walk begins.
    pub seed: Option<u64>,
    /// simulated: the largest move of one step, in hundredths of a percent.
    pub step_bps_max: Option<u32>,
}

/// How often a source has news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cadence {
    Daily,
    Hourly,
    Minute,
}

impl Default for Config {
    fn default() -> Self {
        Self { connect_timeout_ms: 5_000, answer_bytes_max: 1 << 20, proxy_from_env: true, source: BTreeMap::new() }
    }
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            base_url: None,
            api_key: None,
            key_env: None,
            timeout_ms: 10_000,
            min_interval_ms: None,
            cadence: None,
            symbols: Vec::new(),
            version: None,
            concurrency: None,
            amount: None,
            seed: None,
            step_bps_max: None,
        }
    }
}
