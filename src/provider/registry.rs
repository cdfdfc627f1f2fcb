//! From the configuration to the providers that are asked.

use std::sync::Mutex;
use std::time::Duration;

use reqwest::Url;

use super::Provider;
use super::client::{ClientError, Wire};
use super::config::{Cadence, Config, SourceConfig};
use super::currencyapi::{self, CurrencyApi};
use super::currencylayer::{self, Currencylayer};
use super::ecb::{self, Ecb};
use super::exchangerate_api::{self, ExchangerateApi};
use super::exchangerate_host::{self, ExchangerateHost};
use super::fixer::{self, Fixer};
use super::flutterwave::{self, Flutterwave};
use super::frankfurter::{self, Frankfurter};
use super::guarded::Guarded;
use super::open_er_api::{self, OpenErApi};
use super::openexchangerates::{self, OpenExchangeRates};
use super::polled::{Feed, Polled};
use super::secret::Secret;
use super::simulated::{Market, Simulated};

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("there is no provider {name:?}: known are {}", names().join(", "))]
    Unknown { name: String },
    #[error("provider {name} needs a key: set {key_env} in the environment, or `api_key`")]
    NoKey { name: &'static str, key_env: String },
    #[error("provider {name} has no option `{option}`")]
    NoSuchOption { name: &'static str, option: &'static str },
    #[error("provider {name}: `{option}` must be {must}")]
    Bad { name: &'static str, option: &'static str, must: &'static str },
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// All providers that the configuration names and enables, in the order of their names. `env` looks up an
/// environment variable; `client` is [`super::client`]'s.
pub fn registry(
    config: &Config,
    client: &reqwest::Client,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Guarded>, RegistryError> {
    let mut providers = Vec::new();
    for (name, source) in &config.source {
        let spec =
            SPECS.iter().find(|s| s.name == name).ok_or_else(|| RegistryError::Unknown { name: name.clone() })?;
        spec.check(source)?;
        if !source.enabled {
            continue;
        }
        let wire = spec.wire(config, source, client, env)?;
        let min_interval_ms = source.min_interval_ms.unwrap_or(spec.min_interval_ms);
        let cadence = source.cadence.unwrap_or(spec.cadence_at(min_interval_ms));
        let provider = (spec.build)(Parts { name: spec.name, cadence, source, wire });
        let min_interval = Duration::from_millis(min_interval_ms);
        providers.push(Guarded::new(provider, min_interval));
    }
    Ok(providers)
}

/// Of all providers there are.
pub fn names() -> Vec<&'static str> {
    SPECS.iter().map(|s| s.name).collect()
}

struct Parts<'a> {
    name: &'static str,
    cadence: Cadence,
    source: &'a SourceConfig,
    wire: Wire,
}

struct Spec {
    name: &'static str,
    base_url: &'static str,
    /// None: it takes no key.
    key_env: Option<&'static str>,
    /// How often it has news.
    cadence: Cadence,
    /// What a free plan's quota, or politeness, allows.
    min_interval_ms: u64,
    /// Of the options that not every provider has.
    options: &'static [&'static str],
    build: fn(Parts<'_>) -> Box<dyn Provider>,
}

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const FIVE_MINUTES_MS: u64 = 5 * MINUTE_MS;

static SPECS: &[Spec] = &[
    Spec {
        name: "currencyapi",
        base_url: currencyapi::BASE_URL,
        key_env: Some("CURRENCYAPI_KEY"),
        cadence: Cadence::Daily,
        min_interval_ms: 3 * HOUR_MS, // 300 a month
        options: &[],
        build: |parts| polled(parts, CurrencyApi),
    },
    Spec {
        name: "currencylayer",
        base_url: currencylayer::BASE_URL,
        key_env: Some("CURRENCYLAYER_KEY"),
        cadence: Cadence::Hourly,
        min_interval_ms: 8 * HOUR_MS, // 100 a month
        options: &[],
        build: |parts| polled(parts, Currencylayer),
    },
    Spec {
        name: "ecb",
        base_url: ecb::BASE_URL,
        key_env: None,
        cadence: Cadence::Daily,
        min_interval_ms: 15 * MINUTE_MS,
        options: &[],
        build: |parts| polled(parts, Ecb),
    },
    Spec {
        name: "exchangerate_api",
        base_url: exchangerate_api::BASE_URL,
        key_env: Some("EXCHANGERATE_API_KEY"),
        cadence: Cadence::Daily,
        min_interval_ms: HOUR_MS, // 1500 a month
        options: &[],
        build: |parts| polled(parts, ExchangerateApi),
    },
    Spec {
        name: "exchangerate_host",
        base_url: exchangerate_host::BASE_URL,
        key_env: Some("EXCHANGERATE_HOST_KEY"),
        cadence: Cadence::Hourly,
        min_interval_ms: 8 * HOUR_MS, // 100 a month
        options: &[],
        build: |parts| polled(parts, ExchangerateHost),
    },
    Spec {
        name: "fixer",
        base_url: fixer::BASE_URL,
        key_env: Some("FIXER_KEY"),
        cadence: Cadence::Hourly,
        min_interval_ms: 8 * HOUR_MS, // 100 a month
        options: &[],
        build: |parts| polled(parts, Fixer),
    },
    Spec {
        name: "flutterwave",
        base_url: flutterwave::BASE_URL,
        key_env: Some("FLUTTERWAVE_SECRET_KEY"),
        cadence: Cadence::Hourly,
        min_interval_ms: MINUTE_MS,
        options: &["concurrency", "amount"],
        build: |Parts { cadence, source, wire, .. }| {
            let (concurrency, amount) = (source.concurrency.unwrap_or(4), source.amount.unwrap_or(1));
            Box::new(Flutterwave { wire, cadence, symbols: source.symbols.clone(), concurrency, amount })
        },
    },
    Spec {
        name: "frankfurter",
        base_url: frankfurter::BASE_URL,
        key_env: None,
        cadence: Cadence::Daily,
        min_interval_ms: 15 * MINUTE_MS,
        options: &["version"],
        build: |parts| {
            let version = if parts.source.version == Some(1) { Frankfurter::V1 } else { Frankfurter::V2 };
            polled(parts, version)
        },
    },
    Spec {
        name: "open_er_api",
        base_url: open_er_api::BASE_URL,
        key_env: None,
        cadence: Cadence::Daily,
        min_interval_ms: HOUR_MS,
        options: &[],
        build: |parts| polled(parts, OpenErApi),
    },
    Spec {
        name: "openexchangerates",
        base_url: openexchangerates::BASE_URL,
        key_env: Some("OPENEXCHANGERATES_APP_ID"),
        cadence: Cadence::Hourly,
        min_interval_ms: HOUR_MS, // 1000 a month
        options: &[],
        build: |parts| polled(parts, OpenExchangeRates),
    },
    Spec {
        name: "simulated",
        base_url: "http://localhost",
        key_env: None,
        cadence: Cadence::Minute,
        min_interval_ms: 0,
        options: &["seed", "step_bps_max"],
        build: |Parts { cadence, source, .. }| {
            let market = Market::new(source.seed.unwrap_or(1), source.step_bps_max.unwrap_or(5));
            Box::new(Simulated { cadence, symbols: source.symbols.clone(), market: Mutex::new(market) })
        },
    },
];

fn polled<F: Feed>(Parts { name, cadence, source, wire }: Parts<'_>, feed: F) -> Box<dyn Provider> {
    Box::new(Polled { name, cadence, symbols: source.symbols.clone(), wire, feed })
}

impl Spec {
    /// Asked more rarely than it has news, it is for us a source of a slower cadence: its quotes must not go stale, nor speak as
    /// loud as if they were new, because we do not ask.
    fn cadence_at(&self, min_interval_ms: u64) -> Cadence {
        match self.cadence {
            _ if min_interval_ms > HOUR_MS => Cadence::Daily,
            Cadence::Minute if min_interval_ms > FIVE_MINUTES_MS => Cadence::Hourly,
            own => own,
        }
    }

    fn check(&self, source: &SourceConfig) -> Result<(), RegistryError> {
        let name = self.name;
        let set = [
            ("version", source.version.is_some()),
            ("concurrency", source.concurrency.is_some()),
            ("amount", source.amount.is_some()),
            ("seed", source.seed.is_some()),
            ("step_bps_max", source.step_bps_max.is_some()),
        ];
        if let Some((option, _)) = set.into_iter().find(|(option, set)| *set && !self.options.contains(option)) {
            return Err(RegistryError::NoSuchOption { name, option });
        }
        if self.key_env.is_none() && (source.api_key.is_some() || source.key_env.is_some()) {
            return Err(RegistryError::NoSuchOption { name, option: "api_key" });
        }
        for (option, good, must) in [
            ("version", source.version.is_none_or(|v| (1..=2).contains(&v)), "1 or 2"),
            ("concurrency", source.concurrency.is_none_or(|c| (1..=32).contains(&c)), "1 to 32"),
            ("amount", source.amount != Some(0), "at least 1"),
            ("timeout_ms", source.timeout_ms > 0, "at least 1"),
        ] {
            if !good {
                return Err(RegistryError::Bad { name, option, must });
            }
        }
        Ok(())
    }

    fn wire(
        &self,
        config: &Config,
        source: &SourceConfig,
        client: &reqwest::Client,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Wire, RegistryError> {
        let key = match self.key_env {
            None => None,
            Some(usual) => {
                let key_env = source.key_env.as_deref().unwrap_or(usual);
                let found = env(key_env).map(Secret::from).filter(|key| !key.is_empty()).or(source.api_key.clone());
                let no_key = || RegistryError::NoKey { name: self.name, key_env: key_env.to_owned() };
                Some(found.filter(|key| !key.is_empty()).ok_or_else(no_key)?)
            }
        };
        let bad = RegistryError::Bad {
            name: self.name,
            option: "base_url",
            must: "an http or https address with a host, without user, query and fragment",
        };
        let url = source.base_url.as_deref().unwrap_or(self.base_url);
        let Ok(url) = url.parse::<Url>() else { return Err(bad) };
        let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !bare || url.fragment().is_some() {
            return Err(bad);
        }
        let timeout = Duration::from_millis(source.timeout_ms);
        Ok(Wire::new(client.clone(), url, key, timeout, config.answer_bytes_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_goes_stale_because_we_do_not_ask() {
        for spec in SPECS {
            let at = |cadence| match cadence {
                // News come that often, and are fresh for so long by the default of [rates].
                Cadence::Minute => (60, 600),
                Cadence::Hourly => (3_600, 10_800),
                Cadence::Daily => (86_400, 129_600),
            };
            for min_interval_ms in [spec.min_interval_ms, 0, MINUTE_MS, 5 * MINUTE_MS, HOUR_MS, 8 * HOUR_MS] {
                let (_, fresh_s) = at(spec.cadence_at(min_interval_ms));
                // What it had just before it had news, until it is asked again.
                let age_s = at(spec.cadence).0 + min_interval_ms / 1_000;
                assert!(age_s <= fresh_s, "{} every {min_interval_ms} ms", spec.name);
            }
        }
        let fixer = SPECS.iter().find(|s| s.name == "fixer").expect("it is there");
        assert_eq!((fixer.cadence_at(8 * HOUR_MS), fixer.cadence_at(HOUR_MS)), (Cadence::Daily, Cadence::Hourly));
    }

    #[test]
    fn every_own_address_is_a_good_one_and_names_are_sorted_and_unique() {
        for spec in SPECS {
            let url: Url = spec.base_url.parse().expect(spec.name);
            assert!(url.scheme() == "https" || spec.name == "simulated", "{url}");
        }
        assert!(names().is_sorted_by(|a, b| a < b));
    }
}
