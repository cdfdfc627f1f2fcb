//! What rowcast costs under load, beside a floor and beside peers measured turn by turn in the same run. The clients are a
//! process of their own, so that the server's CPU and memory are the server's alone.
//!
//!     cargo bench --bench load -- fanout  [connections …, default 1000 5000]   CPU per delivered frame
//!     cargo bench --bench load -- channels                                      the same over very many channels
//!     cargo bench --bench load -- memory  [connections, default 5000]           bytes per idle connection
//!     cargo bench --bench load -- matrix  [subscribers:changes_per_s …]         a table, and all who follow it
//!
//! Linux only: CPU clocks of other processes, /proc. Needs up to three file descriptors per connection (`ulimit -n`);
//! `memory` and `matrix` a Postgres server's binaries (`PG_BIN`). `fanout` takes the peers along where
//! `cargo build --release --manifest-path benches/peers/Cargo.toml` has built them.

mod bare;
mod channels;
mod clients;
mod fanout;
mod matrix;
mod measure;
mod memory;
mod program;

use std::error::Error;

/// As the program has it.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    // cargo adds `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let (what, rest) = args.split_first().map_or(("all", &[][..]), |(what, rest)| (what.as_str(), rest));
    match what {
        "clients" => clients::run(rest),
        "fanout" => fanout::run(rest),
        "channels" => channels::run(),
        "memory" => memory::run(rest),
        "matrix" => matrix::run(rest),
        "all" => {
            fanout::run(&[])?;
            channels::run()?;
            memory::run(&[])?;
            matrix::run(&[])
        }
        other => Err(format!("'{other}': fanout, channels, memory or matrix").into()),
    }
}
