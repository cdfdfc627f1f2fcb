//! The flags that every command knows, and what they lead to: the configuration, the store, a runtime.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use crate::app::{self, Config, Overrides, Store};

use super::Failure;

#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Globals {
    /// Settings file; default: rowcast.toml, if it is there
    #[arg(long, global = true, value_name = "FILE", env = "ROWCAST_CONFIG")]
    config: Option<PathBuf>,
    /// Where Postgres is; without it, serve and demo start a private one under .rowcast/
    #[arg(long, global = true, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Address to serve on; port 0 takes a free one
    #[arg(long, global = true, value_name = "HOST:PORT", env = "ROWCAST_LISTEN")]
    listen: Option<String>,
    /// How the log looks on stderr
    #[arg(long, global = true, value_enum)]
    log_format: Option<LogFormat>,
    /// Log more: -v what happens, -vv how
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Globals {
    pub fn config(&self) -> Result<Config, Failure> {
        let overrides = Overrides {
            file: self.config.clone(),
            database_url: self.database_url.clone(),
            listen: self.listen.clone(),
            log_format: self.log_format.map(|f| f.to_possible_value().expect("none is skipped").get_name().to_owned()),
            verbose: self.verbose,
        };
        app::load_config(&overrides).map_err(|e| Failure::usage(e.to_string()))
    }

    pub fn listen_address(&self) -> Result<String, Failure> {
        Ok(self.config()?.listen())
    }

    /// Runs `ask` on a store of the configured database.
    pub fn with_store<T>(&self, ask: impl AsyncFnOnce(&Store) -> Result<T, Failure>) -> Result<T, Failure> {
        let config = self.config()?;
        runtime()?.block_on(async {
            let store = app::store(&config)?;
            let answer = ask(&store).await;
            store.close().await;
            answer
        })
    }
}

pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(format!("cannot start threads: {e}")))
}
