//! The command line: one file per command, each a clap `Args` and a `run`. It parses, asks `app`, and prints.

mod bench;
mod chaos;
mod demo;
mod doctor;
mod failure;
mod globals;
mod healthcheck;
mod key;
mod migrate;
mod openapi;
mod out;
mod rates;
mod send;
mod serve;
mod tail;
mod token;
mod unwatch;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;
use globals::Globals;
use out::Out;

const AFTER_HELP: &str = "\
Settings: flags go over the environment (DATABASE_URL, LISTEN_DATABASE_URL, ROWCAST_LISTEN, ROWCAST_…), the
environment over rowcast.toml, and that over the defaults.

Exit codes: 0 done; 1 failed, the reason is on stderr; 2 wrong usage or configuration.

Output is for people on a terminal and JSON lines in a pipe; NO_COLOR is respected.";

/// Postgres in, live updates out: a committed row reaches every subscriber of its channel.
#[derive(Debug, Parser)]
#[command(name = "rowcast", version, after_help = AFTER_HELP, max_term_width = 110)]
#[command(propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Demo(demo::Demo),
    Migrate(migrate::Migrate),
    Watch(watch::Watch),
    Unwatch(unwatch::Unwatch),
    Tail(tail::Tail),
    Send(send::Send),
    Rates(rates::Rates),
    Token(token::Token),
    Key(key::Key),
    Doctor(doctor::Doctor),
    Openapi(openapi::Openapi),
    Bench(bench::Bench),
    Chaos(chaos::Chaos),
    #[command(hide = true)]
    Healthcheck(healthcheck::Healthcheck),
}

/// Runs the command that the process was given. Errors go to stderr: a sentence, and a hint where there is one.
pub fn main() -> ExitCode {
    // Prints help, version and usage errors itself; the latter end with 2.
    let cli = Cli::parse();
    let mut out = Out::new();
    match run(cli, &mut out).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli, out: &mut Out) -> Result<(), Failure> {
    let globals = cli.globals;
    match cli.command {
        Command::Serve(c) => c.run(&globals, out),
        Command::Demo(c) => c.run(&globals, out),
        Command::Migrate(c) => c.run(&globals, out),
        Command::Watch(c) => c.run(&globals, out),
        Command::Unwatch(c) => c.run(&globals, out),
        Command::Tail(c) => c.run(out),
        Command::Send(c) => c.run(&globals, out),
        Command::Rates(c) => c.run(&globals, out),
        Command::Token(c) => c.run(&globals, out),
        Command::Key(c) => c.run(&globals, out),
        Command::Doctor(c) => c.run(&globals, out),
        Command::Openapi(c) => c.run(out),
        Command::Bench(c) => c.run(&globals, out),
        Command::Chaos(c) => c.run(out),
        Command::Healthcheck(c) => c.run(&globals),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_says_the_exit_codes_and_never_a_secret() {
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("Exit codes: 0 done; 1 failed"));
        assert!(help.contains("[env: DATABASE_URL]"), "{help}");
    }

    #[test]
    fn wrong_usage_is_refused_before_anything_runs() {
        for line in [
            "rowcast",
            "rowcast fly",
            "rowcast tail",
            "rowcast tail a --count 0",
            "rowcast tail a --url ftp://x",
            "rowcast watch orders",
            "rowcast watch orders orders:{id} --operations insert,upsert",
            "rowcast watch orders orders:{id} --bulk --no-bulk",
            "rowcast send a",
            "rowcast send a b {broken",
            "rowcast migrate --with lunch",
            "rowcast rates",
            "rowcast bench --writers 0",
            "rowcast bench --writers 1,257",
            "rowcast bench --seconds 0",
            "rowcast bench --clients 0",
            "rowcast bench --clients many",
            "rowcast chaos --minutes 0",
            "rowcast chaos --instances 0",
            "rowcast token",
            "rowcast key",
            "rowcast key create",
            "rowcast rates refresh --sometimes",
        ] {
            let error = Cli::try_parse_from(line.split(' ')).map(|_| ()).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
