use std::io::Write;

use clap::{Args, ValueEnum};

use super::Failure;
use super::failure::told;
use super::globals::{Globals, runtime};
use super::migrate::{migrate, migrate_reference};
use super::out::Out;
use crate::app::{self, Config, Database, Extras, Running, Shutdown, StartError};

/// Serve WebSocket, SSE and REST until SIGINT or SIGTERM
#[derive(Debug, Args)]
#[command(after_help = "Ready when stdout says `rowcast listening on http://HOST:PORT` and GET /readyz answers 200.")]
pub struct Serve {
    /// Bring the database's schema up to date first, as `rowcast migrate` does; a private Postgres always is
    #[arg(long)]
    migrate: bool,
    /// Endpoints that are compiled in: those of orders, portfolios and the learning platform, on the tables of
    /// `rowcast migrate --with reference`
    #[arg(long, value_enum, value_name = "WHAT")]
    with: Vec<With>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum With {
    Reference,
}

impl Serve {
    pub fn run(self, globals: &Globals, _out: &mut Out) -> Result<(), Failure> {
        let mut config = globals.config()?;
        for With::Reference in self.with {
            config.serve_reference();
        }
        app::start_logging(&config)?;
        let server = Server::prepare()?;
        let database = open_database(&config)?;
        if let Some(sentence) = database.announcement() {
            say(&sentence);
        }
        server.run(
            async {
                if self.migrate || database.is_private() {
                    let store = app::store_at(&config, &database)?;
                    migrate(&store).await?;
                    if config.serves_reference() {
                        migrate_reference(&store).await?;
                    }
                    store.close().await;
                }
                app::start(config, &database, Extras::default()).await.map_err(refused)
            },
            |running| say(&ready_line(&running.url())),
        )
    }
}

/// The process of a server. It hears signals before it starts anything: one that comes early ends what has been
/// started, too, and a private Postgres never stays behind.
pub struct Server {
    runtime: tokio::runtime::Runtime,
    signals: Shutdown,
}

impl Server {
    pub fn prepare() -> Result<Self, Failure> {
        let runtime = runtime()?;
        let signals = runtime.block_on(async { Shutdown::on_signals() });
        let signals = signals.map_err(|e| Failure::new(format!("cannot wait for signals: {e}")))?;
        Ok(Self { runtime, signals })
    }

    /// From `start` to a signal; `ready` is called in between.
    pub fn run(
        self,
        start: impl Future<Output = Result<Running, Failure>>,
        ready: impl FnOnce(&Running),
    ) -> Result<(), Failure> {
        self.runtime.block_on(async {
            let running = tokio::select! {
                () = self.signals.wait() => return Ok(()),
                running = start => running?,
            };
            ready(&running);
            Ok(running.until_stopped(&self.signals).await?)
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
        StartError::Settings(error) => Failure::usage(told(&error)),
        StartError::Other(error) => error.into(),
    }
}
