//! `rowcast rates refresh`: one round, and what it changed.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;

use super::Failure;
use super::globals::{Globals, runtime};
use super::out::{Out, Style, note};
use crate::app::{self, Outcome, Progress, Rates as Refreshing, RatesSetupError, Report};

/// Exchange rates
#[derive(Debug, Args)]
pub struct Rates {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Refresh(Refresh),
}

/// Ask the providers once, publish what changed, and show it
///
/// The same as a run of the job `refresh-rates`; a server need not run. Providers are configured in rowcast.toml under
/// [provider.source.NAME].
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 refreshed, also if nothing changed; 1 no quote could be used, or the database refused; \
    2 no provider is configured, or wrongly."
)]
struct Refresh {
    /// Once and no more; that is what it does without this, too
    #[arg(long)]
    once: bool,
    /// Ask the simulated provider only: no network, no keys
    #[arg(long)]
    simulated: bool,
}

impl Rates {
    pub fn run(self, globals: &Globals, out: &mut Out) -> Result<(), Failure> {
        let Command::Refresh(refresh) = self.command;
        refresh.run(globals, out)
    }
}

impl Refresh {
    fn run(self, globals: &Globals, out: &mut Out) -> Result<(), Failure> {
        let _ = self.once;
        let mut config = globals.config()?;
        if self.simulated {
            config.provider.source = [("simulated".to_owned(), Default::default())].into();
        }
        app::install_tls();
        runtime()?.block_on(async {
            let store = app::store(&config)?;
            let rates = Refreshing::new(&config, &store).map_err(refused)?;
            let rates = rates.ok_or_else(|| {
                Failure::usage("no provider is configured")
                    .hint("Name some in rowcast.toml, such as [provider.source.ecb], or see it work with --simulated.")
            })?;
            store.reach().await?;
            let report = rates.refresh(std::io::stderr().is_terminal().then(progress)).await;
            clear();
            let report = report.map_err(|e| match e {
                app::RatesError::Store(e) => Failure::from(e),
                other => Failure::new(other.to_string()),
            })?;
            store.close().await;
            show(&report, out)
        })
    }
}

fn show(report: &Report, out: &mut Out) -> Result<(), Failure> {
    match out.terminal() {
        true => table(report, out)?,
        false => lines(report, out)?,
    }
    for provider in &report.providers {
        let (name, why) = match &provider.outcome {
            Outcome::Answered => continue,
            Outcome::Held(why) => (&provider.provider, format!("was not asked: {why}")),
            Outcome::Failed(why) => (&provider.provider, why.clone()),
            Outcome::Slow => (&provider.provider, "took too long".into()),
        };
        note(&format!("{name}: {why}"));
    }
    if report.used == 0 && !report.superseded {
        return Err(Failure::new("no quote could be used"));
    }
    Ok(())
}

fn table(report: &Report, out: &mut Out) -> Result<(), Failure> {
    if !report.changed.is_empty() {
        let head =
            format!("{:<8} {:>20} {:>20} {:>9}  {:<10} {}", "pair", "before", "now", "change", "confidence", "sources");
        out.line(&out.paint(Style::Bold, &head))?;
    }
    for change in &report.changed {
        let before = change.old.map_or_else(|| "–".into(), |old| old.to_string());
        let (moved, style) = match change.old {
            None => ("new".into(), Style::Cyan),
            Some(old) if old == change.new => ("same".into(), Style::Dim),
            Some(old) => {
                let up = old < change.new;
                let percent = change.new.deviation(old) * rust_decimal::Decimal::ONE_HUNDRED;
                let percent = percent.round_dp(3).normalize();
                (format!("{}{percent} %", if up { '+' } else { '-' }), if up { Style::Green } else { Style::Red })
            }
        };
        let moved = out.paint(style, &format!("{moved:>9}"));
        let (pair, confidence) = (change.pair.to_string(), change.confidence.as_str());
        let line = format!(
            "{pair:<8} {before:>20} {:>20} {moved}  {confidence:<10} {}",
            change.new.to_string(),
            change.sources.join(", ")
        );
        out.line(&line)?;
    }
    out.line(&report.to_string())
}

fn lines(report: &Report, out: &mut Out) -> Result<(), Failure> {
    for change in &report.changed {
        out.json(&json!({
            "pair": change.pair.to_string(),
            "before": change.old.map(|old| old.to_string()),
            "now": change.new.to_string(),
            "confidence": change.confidence.as_str(),
            "sources": change.sources.iter().map(|s| &**s).collect::<Vec<_>>(),
            "warnings": change.warnings,
        }))?;
    }
    out.json(&json!({
        "cycle": report.cycle,
        "changed": report.changed.len(),
        "written": report.written,
        "unchanged": report.unchanged,
        "by_hand": report.by_hand,
        "used": report.used,
        "rejected": report.rejected,
        "superseded": report.superseded,
        "summary": report.to_string(),
    }))
}

/// Of those who are asked pair by pair; one line that overwrites itself.
fn progress() -> Progress {
    Arc::new(|done, total| {
        const WIDTH: usize = 30;
        let full = (done * WIDTH).checked_div(total).unwrap_or(0);
        let bar = format!("{}{}", "█".repeat(full), "░".repeat(WIDTH - full));
        let _ = write!(std::io::stderr(), "\r  {bar} {done}/{total} pairs");
    })
}

fn clear() {
    if std::io::stderr().is_terminal() {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}

fn refused(error: RatesSetupError) -> Failure {
    Failure::usage(error.to_string())
}
