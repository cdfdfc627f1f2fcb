//! `rowcast bench`: asks before it writes, shows how far it is, and prints what was measured.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Failure;
use super::globals::{Globals, runtime};
use super::out::{Out, note};
use crate::app::{self, Shutdown};
use crate::bench::{self, BenchError, CLIENTS_MAX, DATABASE, Phase, Plan, Report, Spread, Step, WRITERS_MAX};

const ROOT: &str = ".rowcast/bench";

/// Measure what rowcast costs and gives on your own Postgres
///
/// What watching a table costs its writers, how soon a change reaches a client, and how many clients at which rate. It works in
/// a database of its own, rowcast_bench, which it makes beside yours and drops at the end, also after Ctrl-C or an
/// error; nothing of yours is touched. The load is real all the same: not for a production server at a busy hour.
/// Without DATABASE_URL it measures a private Postgres in this directory.
#[derive(Debug, Args)]
#[command(after_help = "\
Needs a role that may create databases (alter role … createdb). Writers, clients and a server with default settings run on \
this machine: run it where rowcast is to run, and on nothing else meanwhile. Ratios tell more than absolute figures.

Example: rowcast bench --seconds 5 --clients 1000 --yes --json > bench.json")]
pub struct Bench {
    /// How many write at once, one measurement each
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,8,32", value_parser = writers)]
    writers: Vec<u64>,
    /// How long each figure is measured; the whole takes about eight times as long
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Subscribers of one table, for the fan-out
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clients)]
    clients: u64,
    /// Write to the configured Postgres without asking
    #[arg(long)]
    yes: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Bench {
    pub fn run(self, globals: &Globals, out: &mut Out) -> Result<(), Failure> {
        app::install_tls();
        let config = globals.config()?;
        let plan = Plan {
            database: app::configured_url(&config)?,
            root: ROOT.into(),
            program: std::env::current_exe().map_err(|e| Failure::new(format!("cannot find myself: {e}")))?,
            writers: self.writers.iter().map(|&n| n as usize).collect(),
            clients: self.clients as usize,
            lasts: Duration::from_secs(self.seconds),
        };
        self.consent(&plan)?;
        let report = runtime()?.block_on(async {
            let signals = Shutdown::on_signals().map_err(|e| Failure::new(format!("cannot wait for signals: {e}")))?;
            let (phase, shown) = watch::channel(Phase::first());
            let showing = tokio::spawn(show(shown));
            let report = bench::run(&plan, signals.wait(), &phase).await;
            drop(phase);
            let _ = showing.await; // it ends with the phases
            report.map_err(refused)
        });
        if plan.database.is_none() {
            // Gone already, or somebody else keeps something there: both are as they should be.
            let _ = std::fs::remove_dir(ROOT);
            let _ = Path::new(ROOT).parent().map(std::fs::remove_dir);
        }
        let report = report?;
        match self.json {
            true => out.json(&json_of(&report)),
            false => out.line(report.to_string().trim_end()),
        }
    }

    /// Somebody's server gets load only from somebody who means it.
    fn consent(&self, plan: &Plan) -> Result<(), Failure> {
        let Some((url, _)) = plan.database.as_ref().filter(|_| !self.yes) else { return Ok(()) };
        let about = format!(
            "This makes a database {DATABASE} on {url}, writes to it as fast as it can for about {} s (some hundred megabytes, \
             WAL included), and drops it again.",
            bench::agenda_of(plan).as_secs()
        );
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Err(Failure::usage(format!("nobody is here to agree: {}", about.replacen("This", "it", 1)))
                .hint("Say --yes, or unset DATABASE_URL to measure a private Postgres."));
        }
        note(&about);
        let _ = write!(std::io::stderr(), "Go on? [y/N] "); // without it the cursor waits all the same
        let mut answer = String::new();
        let _ = std::io::stdin().lock().read_line(&mut answer); // nothing read is no
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Failure::new("nothing was done")),
        }
    }
}

/// On a terminal a bar that overwrites itself; else a line for each phase.
async fn show(mut phase: watch::Receiver<Phase>) {
    const WIDTH: usize = 30;
    let terminal = std::io::stderr().is_terminal();
    let mut beat = tokio::time::interval(Duration::from_millis(200));
    loop {
        let changed = tokio::select! {
            changed = phase.changed() => match changed {
                Ok(()) => true,
                Err(_) => break,
            },
            _ = beat.tick(), if terminal => false,
        };
        let now = phase.borrow_and_update().clone();
        if terminal {
            let full = (now.share() * WIDTH as f64) as usize;
            let bar = format!("{}{}", "█".repeat(full), "░".repeat(WIDTH - full.min(WIDTH)));
            let _ = write!(std::io::stderr(), "\r\x1b[K  {bar} {:>3.0} %  {}", now.share() * 100.0, now.name);
        } else if changed {
            note(&format!("{:>3.0} %  {}", now.from * 100.0, now.name));
        }
    }
    if terminal {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}

fn refused(error: BenchError) -> Failure {
    let failure = Failure::new(error.to_string());
    match error {
        BenchError::Taken => failure.hint(format!("If no bench is running, drop it: psql … -c 'drop database {DATABASE}'.")),
        BenchError::MayNotCreate { role } => failure.hint(format!(
            "Let a superuser say `alter role \"{role}\" createdb`, name another role in the URL, or unset DATABASE_URL to measure a \
             private Postgres."
        )),
        BenchError::Standby => failure.hint("Name the primary."),
        BenchError::Connections { .. } => failure.hint("Ask for fewer --writers, or raise max_connections."),
        BenchError::Files { .. } => failure.hint("Ask for fewer --clients, or raise the bound with `ulimit -n`."),
        BenchError::Connect(_) => failure.hint("Is Postgres running, and does `psql \"$DATABASE_URL\"` connect?"),
        BenchError::Cluster(_) => failure.hint("Set DATABASE_URL to use a Postgres that runs already."),
        BenchError::LeftBehind { .. } => failure.hint(format!("Drop it: psql … -c 'drop database {DATABASE} with (force)'.")),
        BenchError::Missing { .. } => failure.hint("The machine may be too slow for so many: ask for fewer --clients."),
        _ => failure,
    }
}

/// A name once given stays; units are last in names.
fn json_of(report: &Report) -> Value {
    let spread = |s: &Spread| json!({"p50_ms": s.p50_ms, "p95_ms": s.p95_ms, "p99_ms": s.p99_ms});
    let step = |s: &Step| {
        json!({
            "asked_per_s": s.asked_per_s, "changes_per_s": s.changes_per_s, "messages_per_s": s.messages_per_s,
            "p50_ms": s.p50_ms, "p95_ms": s.p95_ms, "complete": s.complete, "in_time": s.in_time,
        })
    };
    let host = &report.host;
    json!({
        "rowcast": env!("CARGO_PKG_VERSION"),
        "postgres": {
            "version": host.postgres, "address": host.place, "synchronous_commit": host.synchronous_commit,
            "fsync": host.fsync, "durable": host.durable,
        },
        "seconds": report.lasts.as_secs_f64(),
        "writers": report.writers.iter().map(|w| json!({
            "writers": w.writers, "unwatched_per_s": w.unwatched_per_s, "watched_per_s": w.watched_per_s, "ratio": w.ratio,
        })).collect::<Vec<_>>(),
        "bulk": report.bulk.iter().map(|b| json!({
            "statement": b.statement, "rows": b.rows, "unwatched_ms": b.unwatched_ms, "watched_ms": b.watched_ms,
            "by_statement_ms": b.by_statement_ms, "watched_ratio": b.watched_ratio,
            "by_statement_ratio": b.by_statement_ratio,
        })).collect::<Vec<_>>(),
        "latency": {
            "clients": report.latency.clients, "commits_per_s": report.latency.commits_per_s,
            "commit": spread(&report.latency.commit), "after_commit": spread(&report.latency.after_commit),
            "whole": spread(&report.latency.whole),
        },
        "fanout": {
            "clients": report.fanout.clients, "best": report.fanout.best.as_ref().map(step),
            "writers_were_the_limit": report.fanout.writers_were_the_limit,
            "steps": report.fanout.steps.iter().map(step).collect::<Vec<_>>(),
        },
    })
}

fn writers(text: &str) -> Result<u64, String> {
    bounded(text, "writers", WRITERS_MAX)
}

fn clients(text: &str) -> Result<u64, String> {
    bounded(text, "clients", CLIENTS_MAX)
}

fn bounded(text: &str, what: &str, max: usize) -> Result<u64, String> {
    match text.trim().parse() {
        Ok(n) if (1..=max as u64).contains(&n) => Ok(n),
        _ => Err(format!("a number of {what} from 1 to {max}")),
    }
}
