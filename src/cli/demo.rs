use std::io::ErrorKind;
use std::net::TcpListener;

use clap::Args;

use super::Failure;
use super::globals::Globals;
use super::migrate::{migrate, migrate_reference};
use super::out::Out;
use super::serve::{Server, open_database, ready_line, refused, say};
use crate::app::{self, Account, Accounts, Extras, Job, TryIt};

/// About ten of 60 rates move each second.
const CRON: &str = "* * * * * *";
/// The reference applications: prices each time, the rest now and then.
const REFERENCE_CRON: &str = "*/2 * * * * *";
/// As sql/demo/reference.sql makes them.
const ACCOUNTS: [Account; 6] = [
    account("alice", 1, false),
    account("bob", 2, false),
    account("mia", 3, false),
    account("max", 4, false),
    account("carl", 5, false),
    account("ada", 6, true),
];
/// To paste into psql.
const UPDATE: &str = include_str!("../../sql/demo/try.sql").trim_ascii_end();
/// The same for each page.
const STATEMENTS: [(&str, &str); 5] = [
    ("index", UPDATE),
    ("rates", UPDATE),
    ("portfolio", include_str!("../../sql/demo/try_portfolio.sql").trim_ascii_end()),
    ("order", include_str!("../../sql/demo/try_order.sql").trim_ascii_end()),
    ("learning", include_str!("../../sql/demo/try_learning.sql").trim_ascii_end()),
];

/// See it move: 60 exchange rates, changed by a scheduled job each second, on a live page
///
/// Without DATABASE_URL it runs on a private Postgres under .rowcast/.
#[derive(Debug, Args)]
pub struct Demo {}

impl Demo {
    pub fn run(self, globals: &Globals, _out: &mut Out) -> Result<(), Failure> {
        let mut config = globals.config()?;
        config.serve_reference();
        // What the demo says should not drown in what a server logs, unless somebody asked for it.
        if config.log.level == "info" {
            config.log.level = "warn".into();
        }
        app::start_logging(&config)?;
        if taken(&config.http.listen) {
            say(&format!("{} is in use by another program: taking a free port", config.http.listen));
            config.http.listen = any_port(&config.http.listen);
        }
        config.say_why_refused();
        let accounts = Accounts::open(&mut config, &ACCOUNTS)?;
        let server = Server::prepare()?;
        let database = open_database(&config)?;
        let psql = database.psql();
        let start = async {
            let store = app::store_at(&config, &database)?;
            migrate(&store).await?;
            store.install_demo().await?;
            migrate_reference(&store).await?;
            store.install_demo_reference().await?;
            let reference = store.clone();
            let reference = Job::new("demo-reference", REFERENCE_CRON, move || {
                let store = reference.clone();
                async move { store.move_demo_reference().await }
            });
            let job = Job::new("demo-rates", CRON, move || {
                let store = store.clone();
                async move { store.move_demo_rates().await }
            });
            let try_it = TryIt { psql: psql.clone(), statements: STATEMENTS.into() };
            let extras = Extras { jobs: vec![job, reference], try_it: Some(try_it), accounts };
            app::start(config, &database, extras).await.map_err(refused)
        };
        server.run(start, |running| {
            if let Some(sentence) = database.announcement() {
                say(&sentence);
            }
            say(&ready_line(&running.url()));
            let url = running.url();
            say(&format!(
                "\n  look around           {url}/\n  watch 60 rates move   {url}/rates\n  connect with psql     {psql}\n  \
                 and change one        {UPDATE}\n  stop                  Ctrl-C\n",
            ));
        })
    }
}

const fn account(name: &'static str, id: i64, staff: bool) -> Account {
    Account { name, id, staff }
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
