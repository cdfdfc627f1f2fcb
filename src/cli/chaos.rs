use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::Failure;
use super::globals::runtime;
use super::out::Out;
use crate::app::Shutdown;
use crate::chaos::{self, Gathering, Plan};

/// Break everything under load, and see whether a single event is lost
///
/// On a private Postgres and its own instances; nothing else is touched. The same seed gives the same load and faults.
#[derive(Debug, Args)]
#[command(after_help = "Ends with 1 when a promise of docs/GUARANTEES.md was broken, and says which.")]
pub struct Chaos {
    #[arg(long, value_enum, default_value_t)]
    scene: Scene,
    /// Clients of the scenes `dead-readers` (1000) and `storm` (5000)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(10..=50_000))]
    clients: Option<u64>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, value_name = "M", default_value_t = 2.0, value_parser = minutes)]
    minutes: f64,
    /// Servers side by side
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=16))]
    instances: u64,
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=64))]
    writers: u64,
    /// The load alone, at a constant rate
    #[arg(long)]
    no_faults: bool,
    /// Where the cluster and the instances' logs are
    #[arg(long, value_name = "DIR", default_value = ".rowcast/chaos")]
    dir: PathBuf,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Scene {
    /// Writers, followers of all kinds, faults at random moments
    #[default]
    Faults,
    /// One client in ten never reads: do the others notice?
    DeadReaders,
    /// All clients are cut at once, and come back at once
    Storm,
}

impl Chaos {
    fn many(&self, out: &mut Out, program: PathBuf, root: PathBuf) -> Result<(), Failure> {
        let tell = |what: &str| eprintln!("{what}");
        let clients = |default: u64| self.clients.unwrap_or(default) as usize;
        let gathers = async {
            if self.scene == Scene::Storm {
                let report = chaos::storm(&Gathering { clients: clients(5_000), program, root }, tell).await?;
                return Ok::<_, chaos::ChaosError>((report.to_string(), report.violations.len()));
            }
            let report = chaos::dead_readers(&Gathering { clients: clients(1_000), program, root }, tell).await?;
            Ok((report.to_string(), report.violations.len()))
        };
        let (text, violations) =
            runtime()?.block_on(until_signalled(gathers))?.map_err(|e| Failure::new(e.to_string()))?;
        out.line(text.trim_end())?;
        match violations {
            0 => Ok(()),
            n => Err(Failure::new(format!("{n} promises were broken"))),
        }
    }

    pub fn run(self, out: &mut Out) -> Result<(), Failure> {
        crate::app::install_tls();
        let program = std::env::current_exe().map_err(|e| Failure::new(format!("cannot find myself: {e}")))?;
        std::fs::create_dir_all(&self.dir)
            .map_err(|e| Failure::new(format!("cannot make {}: {e}", self.dir.display())))?;
        let root = self.dir.canonicalize().map_err(|e| Failure::new(e.to_string()))?;
        if self.scene != Scene::Faults {
            return self.many(out, program, root);
        }
        let plan = Plan {
            seed: self.seed,
            lasts: Duration::from_secs_f64(self.minutes * 60.0),
            instances: self.instances as usize,
            writers: self.writers as usize,
            program,
            root,
            faults: !self.no_faults,
        };
        let shows = std::io::stderr().is_terminal();
        let tell = |passed: Duration| {
            if shows {
                eprint!("\r{:>4.0} of {:.0} s ", passed.as_secs_f64(), plan.lasts.as_secs_f64());
            }
        };
        let report = runtime()?.block_on(until_signalled(chaos::run(&plan, tell)))?;
        if shows {
            eprintln!();
        }
        let report = report.map_err(|e| Failure::new(e.to_string()))?;
        out.line(report.to_string().trim_end())?;
        match report.violations.len() {
            0 => Ok(()),
            n => Err(Failure::new(format!("{n} promises were broken"))
                .hint(format!("The instances' logs are in {}.", plan.root.display()))),
        }
    }
}

/// What it started ends with it.
async fn until_signalled<T>(running: impl Future<Output = T>) -> Result<T, Failure> {
    let signals = Shutdown::on_signals().map_err(|e| Failure::new(format!("cannot wait for signals: {e}")))?;
    tokio::select! {
        done = running => Ok(done),
        () = signals.wait() => Err(Failure::new("stopped before the end")),
    }
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(m) if (0.05..=1_440.0).contains(&m) => Ok(m),
        _ => Err("a number of minutes from 0.05 to 1440".into()),
    }
}
