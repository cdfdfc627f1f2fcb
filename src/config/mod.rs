//! The settings: what each module may be told, gathered, and where it was said.
//!
//! ```text
//! default.toml (compiled in) <- rowcast.toml <- environment <- flags
//! ```
//! Modules own their `Config`; a new section is a field here and a table in `default.toml`, which names every key:
//! it is the list of what may be set.

mod database;
mod endpoints;
mod layers;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

pub use database::{Database, Secret};
pub use endpoints::{EndpointTable, Endpoints, With};

/// The commented default.
pub const DEFAULT: &str = include_str!("default.toml");

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub database: Database,
    pub auth: crate::auth::Config,
    pub store: crate::store::Config,
    pub listener: crate::listener::Config,
    pub router: crate::router::Config,
    pub hub: crate::hub::Config,
    pub scheduler: crate::scheduler::Config,
    pub provider: crate::provider::Config,
    pub rates: crate::rates::Config,
    pub connection: crate::connection::Config,
    pub endpoints: Endpoints,
    /// By name.
    pub endpoint: BTreeMap<String, EndpointTable>,
    pub http: crate::http::Config,
    pub log: crate::telemetry::logging::Config,
    pub shutdown: crate::shutdown::Config,
}

/// Where settings come from, besides the default.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Must exist. None: what ROWCAST_CONFIG names, else `rowcast.toml` in the working directory, if it is there.
    pub file: Option<PathBuf>,
    pub env: Vec<(String, String)>,
    /// Key and value, such as `("http.listen", "127.0.0.1:0")`.
    pub flags: Vec<(String, String)>,
}

/// Where a setting was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Variable(String),
    Flag,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{origin}: {message}")]
    Syntax { origin: Origin, message: String },
    #[error("{origin}: there is no setting {key}{}", nearest.as_ref().map(|n| format!("; did you mean {n}?")).unwrap_or_default())]
    Unknown { origin: Origin, key: String, nearest: Option<String> },
    #[error("{origin}: {key}: {message}")]
    Value { origin: Origin, key: String, message: String },
}

impl Config {
    /// From the process's environment and working directory, under these flags.
    #[expect(clippy::disallowed_methods, reason = "this is where the environment comes in")]
    pub fn load(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Result<Self, ConfigError> {
        // A variable that is not Unicode can be none of ours.
        let env = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self::from_sources(&Sources { file, env: env.collect(), flags })
    }

    /// The compiled-in endpoints that are switched on, and those of the configuration.
    pub fn all_endpoints(&self) -> Result<BTreeMap<String, crate::connection::endpoint::Config>, ConfigError> {
        endpoints::all(&self.endpoints.with, &self.endpoint).map_err(|(name, message)| {
            let origin = Origin::Default;
            ConfigError::Value { origin, key: format!("endpoint.{name}"), message }
        })
    }

    /// Switches the reference's endpoints on.
    pub fn serve_reference(&mut self) {
        if !self.serves_reference() {
            self.endpoints.with.push(With::Reference);
        }
    }

    /// The reference's endpoints say by close code why they refuse: a browser shows its page nothing else.
    pub fn say_why_refused(&mut self) {
        endpoints::reject_by_close(&mut self.endpoint);
    }

    pub fn serves_reference(&self) -> bool {
        self.endpoints.with.contains(&With::Reference)
    }

    pub fn from_sources(sources: &Sources) -> Result<Self, ConfigError> {
        layers::merge(sources)?.read()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Variable(name) => write!(f, "environment variable {name}"),
            Origin::Flag => f.write_str("command line"),
        }
    }
}

#[cfg(test)]
mod tests;
