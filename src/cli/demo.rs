use std::io::ErrorKind;
use std::net::TcpListener;

use clap::Args;

use super::Failure;
use super::globals::Globals;
use super::migrate::migrate;
use super::out::Out;
use super::serve::{Server, open_database, ready_line, refused, say};
use crate::app::{self, Extras, Job, TryIt};

/// About ten of 60 rates move each second.
const CRON: &str = "* * * * * *";
/// To paste into psql.
const UPDATE: &str = include_str!("../../sql/demo/try.sql").trim_ascii_end();

/// See it move: 60 exchange rates, changed by a scheduled job each second, on a live page
///
/// Without DATABASE_URL it runs on a private Postgres under .rowcast/.
#[derive(Debug, Args)]
pub struct Demo {}

impl Demo {
    pub fn run(self, globals: &Globals, _out: &mut Out) -> Result<(), Failure> {
        let mut config = globals.config()?;
        // Whoever tries rowcast is at home here.
        config.router.tell_view_errors = true;
        // What the demo says should not drown in what a server logs, unless somebody asked for it.
        if config.log.level == "info" {
            config.log.level = "warn".into();
        }
        app::start_logging(&config)?;
        if taken(&config.http.listen) {
            say(&format!("{} is in use by another program: taking a free port", config.http.listen));
            config.http.listen = any_port(&config.http.listen);
        }
        let server = Server::prepare()?;
        let database = open_database(&config)?;
        let psql = database.psql();
        let start = async {
            let store = app::store_at(&config, &database)?;
            migrate(&store).await?;
            store.install_demo().await?;
            let job = Job::new("demo-rates", CRON, move || {
                let store = store.clone();
                async move { store.move_demo_rates().await }
            });
            let try_it = TryIt { psql: psql.clone(), update: UPDATE.into() };
            let extras = Extras { jobs: vec![job], try_it: Some(try_it) };
            app::start(config, &database, extras).await.map_err(refused)
        };
        server.run(start, |running| {
            if let Some(sentence) = database.announcement() {
                say(&sentence);
            }
            say(&ready_line(&running.url()));
            say(&format!(
                "\n  watch 60 rates move   {}/rates\n  connect with psql     {psql}\n  and change one        {UPDATE}\n  \
                 stop                  Ctrl-C\n",
                running.url()
            ));
        })
    }
}

/// Only an address that somebody has: what else is wrong with it, the start will say.
fn taken(address: &str) -> bool {
    matches!(TcpListener::bind(address), Err(e) if e.kind() == ErrorKind::AddrInUse)
}

fn any_port(address: &str) -> String {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    format!("{host}:0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_address_is_seen_and_its_host_kept() {
        let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = holder.local_addr().expect("bound").to_string();
        assert!(taken(&address));
        assert!(!taken(&any_port(&address)));
        assert_eq!(any_port("[::1]:8080"), "[::1]:0");
    }
}
