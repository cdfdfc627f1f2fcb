//! The sources of exchange rates, against local servers that answer with the bytes of `tests/fixtures/providers`.

mod faults;
mod fixtures;
mod flutterwave;
mod guarded;
mod registry;
mod secrets;
pub mod server;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use rowcast::provider::{self, Config, Currency, Guarded, Luck, Pair, ProviderError, Refreshed, Wanted};

/// Needs to be escaped in a URL.
const KEY: &str = "s3cr3t&k/y=1";
const KEY_ESCAPED: &str = "s3cr3t%26k%2Fy%3D1";
const DAY: &str = "2026-11-20T16:30:00Z";

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/providers").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{e}: {}", path.display()))
}

fn time(text: &str) -> DateTime<Utc> {
    text.parse().expect(text)
}

fn currency(code: &str) -> Currency {
    code.parse().expect(code)
}

fn pair(text: &str) -> Pair {
    let (base, quote) = text.split_once('/').expect(text);
    Pair { base: currency(base), quote: currency(quote) }
}

/// `codes` against USD.
fn wanted(codes: &str) -> Wanted {
    Wanted {
        base: Currency::USD,
        currencies: codes.split_whitespace().map(currency).collect(),
        pairs: codes.split_whitespace().map(|c| pair(&format!("USD/{c}"))).collect(),
        now: time(DAY),
        progress: None,
    }
}

fn config(toml: &str) -> Config {
    let config: Config = toml::from_str(toml).unwrap_or_else(|e| panic!("{e} in {toml}"));
    Config { proxy_from_env: false, ..config }
}

/// The one provider `name` of a configuration that points it at `url`; it gets the test's key.
fn one(name: &str, url: &str, options: &str) -> Guarded {
    let config = config(&format!("[source.{name}]\nbase_url = '{url}'\nmin_interval_ms = 0\n{options}"));
    let mut all = provider::registry(&config, &client(), &|_| Some(KEY.to_owned())).expect(name);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// One for all tests: making it reads the system's certificates. None of their connections is kept open.
fn client() -> reqwest::Client {
    static CLIENT: std::sync::LazyLock<reqwest::Client> = std::sync::LazyLock::new(|| {
        crate::kit::install_tls();
        provider::client(&config("")).expect("a client")
    });
    CLIENT.clone()
}

async fn ask(provider: &Guarded, wanted: &Wanted) -> Result<std::sync::Arc<provider::Answer>, ProviderError> {
    match crate::kit::patiently(provider.name(), provider.refresh(wanted, Luck::new(500))).await {
        Refreshed::Answered(answer) => Ok(answer),
        Refreshed::Failed { error, .. } => Err(error),
        Refreshed::Held { held, .. } => panic!("{} {held}", provider.name()),
    }
}
