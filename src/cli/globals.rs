//! The flags that every command knows, and what they lead to: the configuration, the store, a runtime.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use crate::app::{self, Config, Store};

use super::Failure;

/// Not by clap's `env`: the configuration reads the environment itself, and says which variable is wrong.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Globals {
    /// Settings file; default: rowcast.toml, if it is there [env: ROWCAST_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where Postgres is; without it, serve and demo start a private one under .rowcast/ [env: DATABASE_URL]
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// Address to serve on; port 0 takes a free one [env: ROWCAST_LISTEN]
    #[arg(long, global = true, value_name = "HOST:PORT")]
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
    Auto,
    Text,
    Json,
}

impl Globals {
    pub fn config(&self) -> Result<Config, Failure> {
        let mut flags: Vec<(String, String)> = Vec::new();
        let mut set = |key: &str, value: Option<&str>| flags.extend(value.map(|v| (key.to_owned(), v.to_owned())));
        set("database.url", self.database_url.as_deref());
        set("http.listen", self.listen.as_deref());
        set(
            "log.format",
            self.log_format.map(|f| match f {
                LogFormat::Auto => "auto",
                LogFormat::Text => "text",
                LogFormat::Json => "json",
            }),
        );
        let level = match self.verbose {
            0 => None,
            1 => Some("info,rowcast=debug"),
            _ => Some("info,rowcast=trace"),
        };
        set("log.level", level);
        Config::load(self.config.clone(), flags).map_err(|e| Failure::usage(e.to_string()))
    }

    /// Runs `ask` on a store of the configured database.
    pub fn with_store<T>(&self, ask: impl AsyncFnOnce(&Store) -> Result<T, Failure>) -> Result<T, Failure> {
        let config = self.config()?;
        runtime()?.block_on(async {
            let store = app::store(&config)?;
            store.reach().await?;
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
