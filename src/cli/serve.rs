use std::io::Write;

use clap::Args;

use super::Failure;
use super::globals::{Globals, runtime};
use super::migrate::migrate;
use super::out::Out;
use crate::app::{self, Config, Database, Extras, StartError};

/// Serve WebSocket, SSE and REST until SIGINT or SIGTERM
#[derive(Debug, Args)]
#[command(after_help = "Ready when stdout says `rowcast listening on http://HOST:PORT` and GET /readyz answers 200.")]
pub struct Serve {
    /// Bring the database's schema up to date first, as `rowcast migrate` does; a private Postgres always is
    #[arg(long)]
    migrate: bool,
}

impl Serve {
    pub fn run(self, globals: &Globals, _out: &mut Out) -> Result<(), Failure> {
        let config = globals.config()?;
        app::start_logging(&config)?;
        let database = open_database(&config)?;
        if let Some(sentence) = database.announcement() {
            say(&sentence);
        }
        runtime()?.block_on(async {
            if self.migrate || database.is_private() {
                let store = app::store_at(&config, &database)?;
                migrate(&store).await?;
                store.close().await;
            }
            let running = app::start(config, &database, Extras::default()).await.map_err(refused)?;
            say(&ready_line(&running.url()));
            Ok(running.until_stopped().await?)
        })
    }
}

/// What process managers and tests wait for, word for word.
pub fn ready_line(url: &str) -> String {
    format!("rowcast listening on {url}")
}

/// A server goes on when nobody reads its stdout.
pub fn say(line: &str) {
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

pub fn open_database(config: &Config) -> Result<Database, Failure> {
    Database::open(config)
        .map_err(|e| Failure::new(e.to_string()).hint("Set DATABASE_URL to use a Postgres that runs already."))
}

pub fn refused(error: StartError) -> Failure {
    match error {
        StartError::AddressInUse { address } => Failure::new(format!("{address} is in use by another program"))
            .hint("Choose another with --listen, or a free one with --listen 127.0.0.1:0."),
        StartError::Unmigrated { .. } => {
            Failure::new(error.to_string()).hint("Run `rowcast migrate` on it first, or serve with --migrate.")
        }
        StartError::Other(error) => error.into(),
    }
}
