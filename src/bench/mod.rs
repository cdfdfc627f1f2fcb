//! `rowcast bench`: what rowcast costs and gives on this Postgres. It makes a database of its own beside the others, starts a
//! server on it, measures, and drops the database whatever happened.
//!
//! ```text
//! survey ─▶ create database ─▶ server, tables ─▶ writers ─▶ bulk ─▶ latency ─▶ fan-out ─▶ drop database
//!             └──────────── a signal or an error, anywhere ────────────────────────────────▲
//! ```

mod bulk;
mod crowd;
mod fanout;
mod figures;
mod ground;
mod latency;
mod marker;
mod report;
mod server;
mod ticker;
mod writers;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::domain::DatabaseUrl;
use crate::embedded::EmbeddedError;
use crate::listener::ListenerError;
use ground::Ground;
use server::Server;

pub use figures::Spread;
pub use ground::DATABASE;
pub use report::{Bulk, Fanout, Host, Latency, Report, Step, Writers};

pub const WRITERS_MAX: usize = 256;
pub const CLIENTS_MAX: usize = 20_000;

#[derive(Clone)]
pub struct Plan {
    /// Parsed, and as it was given; None: a private Postgres below `root`.
    pub database: Option<(DatabaseUrl, String)>,
    pub root: PathBuf,
    /// rowcast itself, started as `serve`.
    pub program: PathBuf,
    /// Each up to `WRITERS_MAX`.
    pub writers: Vec<usize>,
    pub clients: usize,
    /// How long each figure is measured.
    pub lasts: Duration,
}

/// What is going on, for a progress bar.
#[derive(Clone, Debug)]
pub struct Phase {
    pub name: String,
    /// Of the whole run, as shares of 1.
    pub from: f64,
    pub to: f64,
    pub began: Instant,
    pub lasts: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error(
        "there is a database {DATABASE} already: another bench is running, or one was killed before it could clean up"
    )]
    Taken,
    #[error("role {role} may not create databases, and the bench works in one of its own")]
    MayNotCreate { role: String },
    #[error("Postgres {major} is too old: rowcast needs version 13 or newer")]
    TooOld { major: i32 },
    #[error("this server is a standby, which takes no writes")]
    Standby,
    #[error("the server has {free} connections left, and {writers} writers with a rowcast need {needed}")]
    Connections { free: i32, needed: i32, writers: usize },
    #[error("{clients} clients need {needed} open files in this process, and {limit} are allowed")]
    Files { clients: usize, needed: u64, limit: u64 },
    #[error(transparent)]
    Cluster(#[from] EmbeddedError),
    #[error(transparent)]
    Connect(#[from] ListenerError),
    #[error("Postgres refused a statement of the bench: {}", said(.0))]
    Postgres(#[from] tokio_postgres::Error),
    #[error("the server that the bench started {0}")]
    Server(String),
    #[error("a client of the bench failed: {0}")]
    Client(String),
    #[error("{missing} of {expected} messages did not arrive within {within_s} s")]
    Missing { missing: u64, expected: u64, within_s: u64 },
    #[error("stopped before the end; database {DATABASE} is gone again")]
    Stopped,
    #[error("{why}; and database {DATABASE} stays behind: {left}")]
    LeftBehind { why: String, left: String },
}

/// Measures everything. `stop` ends it early; what was made is removed in any case.
pub async fn run(
    plan: &Plan,
    stop: impl Future<Output = ()>,
    phase: &watch::Sender<Phase>,
) -> Result<Report, BenchError> {
    ground::allow_files(plan.clients)?;
    let agenda = Agenda { plan, phase, total: agenda_of(plan) };
    agenda.begin("looking at the database", Duration::ZERO);
    let ground = Ground::lay(plan).await?;
    let mut server = None;
    let outcome = tokio::select! {
        biased;
        () = stop => Err(BenchError::Stopped),
        outcome = measure(&agenda, &ground, &mut server) => outcome,
    };
    if let Some(server) = server {
        server.stop().await;
    }
    match (outcome, ground.clear().await) {
        (outcome, Ok(())) => outcome,
        (outcome, Err(left)) => {
            let why = outcome.map_or_else(|e| e.to_string(), |_| "measured".into());
            Err(BenchError::LeftBehind { why, left: left.to_string() })
        }
    }
}

async fn measure(agenda: &Agenda<'_>, ground: &Ground, server: &mut Option<Server>) -> Result<Report, BenchError> {
    let plan = agenda.plan;
    agenda.begin("starting a server", PREPARES);
    let server = server.insert(Server::start(plan, ground).await?);
    ground.prepare().await?;
    let marker = marker::Marker::new(ground, server).await?;
    let writers = writers::measure(agenda, ground, &marker).await?;
    let bulk = bulk::measure(agenda, ground, &marker).await?;
    let latency = latency::measure(agenda, ground, server).await?;
    let fanout = fanout::measure(agenda, ground, server).await?;
    agenda.begin("cleaning up", Duration::ZERO);
    Ok(Report { host: ground.host(), lasts: plan.lasts, writers, bulk, latency, fanout })
}

/// Says what is measured now, and how far that is along.
struct Agenda<'a> {
    plan: &'a Plan,
    phase: &'a watch::Sender<Phase>,
    total: Duration,
}

const PREPARES: Duration = Duration::from_secs(3);

/// About how long all of it takes.
pub fn agenda_of(plan: &Plan) -> Duration {
    PREPARES + plan.lasts * (plan.writers.len() as u32 + 2 + 1 + 2)
}

impl Agenda<'_> {
    fn begin(&self, name: &str, lasts: Duration) {
        self.phase.send_modify(|phase| {
            let (from, to) = (phase.to, phase.to + lasts.as_secs_f64() / self.total.as_secs_f64());
            *phase = Phase { name: name.into(), from, to: to.min(1.0), began: Instant::now(), lasts };
        });
    }
}

impl Phase {
    pub fn first() -> Self {
        Self { name: String::new(), from: 0.0, to: 0.0, began: Instant::now(), lasts: Duration::ZERO }
    }

    /// Of the whole run, 0 to 1. A phase that takes longer than was thought waits at its end.
    pub fn share(&self) -> f64 {
        let within = match self.lasts.as_secs_f64() {
            0.0 => 1.0,
            lasts => (self.began.elapsed().as_secs_f64() / lasts).min(1.0),
        };
        self.from + (self.to - self.from) * within
    }
}

fn said(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} ({})", db.message(), db.code().code()),
        None => error.to_string(),
    }
}
