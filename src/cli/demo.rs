use std::cell::OnceCell;
use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener};

use clap::Args;

use super::Failure;
use super::globals::Globals;
use super::migrate::{migrate, migrate_reference};
use super::out::Out;
use super::serve::{Server, open_database, ready_line, refused, say};
use crate::app::{self, Account, Accounts, Config, Extras, Job, Store, TryIt};

/// The walk has about one currency in three move in each step.
const CRON: &str = "*/2 * * * * *";
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
/// How this machine is called on itself, as Django has it in development.
const LOCAL: [&str; 4] = ["localhost", ".localhost", "127.0.0.1", "[::1]"];
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

/// See it move: 60 exchange rates, refreshed by a job every two seconds, on a live page
///
/// Without DATABASE_URL it runs on a private Postgres under .rowcast/.
#[derive(Debug, Args)]
pub struct Demo {}

impl Demo {
    pub fn run(self, globals: &Globals, _out: &mut Out) -> Result<(), Failure> {
        let mut config = globals.config()?;
        config.serve_reference();
        // Whoever tries rowcast is at home here.
        config.router.tell_view_errors = true;
        // What the demo says should not drown in what a server logs, unless somebody asked for it.
        if config.log.level == "info" {
            config.log.level = "warn".into();
        }
        // It shows itself to whoever looks; what a rule speaks of is as it says.
        config.connection.open = true;
        // Nor is it for pages of a name that was made to lead to this machine.
        if config.http.hosts.is_empty() && is_local(&config.http.listen) {
            config.http.hosts = LOCAL.map(str::to_owned).to_vec();
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
        if let Some(sentence) = database.announcement() {
            say(&sentence);
        }
        let psql = database.psql();
        let update = OnceCell::new();
        let start = async {
            let store = app::store_at(&config, &database)?;
            migrate(&store).await?;
            migrate_reference(&store).await?;
            store.install_demo_reference().await?;
            simulate_rates(&mut config, &store).await?;
            // In a database of ours alone, `rates` is enough of a name; in another it may be anything.
            let short = database.is_private() && store.shorten_rates().await?;
            let update =
                update.get_or_init(|| if short { UPDATE.replacen("rowcast_fx.", "", 1) } else { UPDATE.into() });
            let reference = Job::new("demo-reference", REFERENCE_CRON, move || {
                let store = store.clone();
                async move { store.move_demo_reference().await }
            });
            let statement = |(page, sql): &(&'static str, &str)| {
                (*page, if *sql == UPDATE { update.clone() } else { (*sql).to_owned() })
            };
            let try_it = TryIt { psql: psql.clone(), statements: STATEMENTS.iter().map(statement).collect() };
            let extras = Extras { jobs: vec![reference], try_it: Some(try_it), accounts };
            app::start(config, &database, extras).await.map_err(refused)
        };
        server.run(start, |running| {
            say(&ready_line(&running.url()));
            let url = running.url();
            let update = update.get().map_or(UPDATE, String::as_str);
            say(&format!(
                "\n  look around           {url}/\n  watch 60 rates move   {url}/rates\n  connect with psql     {psql}\n  \
                 and change one        {update}\n  stop                  Ctrl-C\n",
            ));
        })
    }
}

/// Where no provider is configured; and not over anybody's real rates.
async fn simulate_rates(config: &mut Config, store: &Store) -> Result<(), Failure> {
    if !config.provider.source.is_empty() {
        return Ok(());
    }
    if store.has_real_rates().await? {
        let why = "this database has exchange rates of other providers: the demo would overwrite them";
        return Err(
            Failure::new(why).hint("Run the demo on another database, or without DATABASE_URL on a private one.")
        );
    }
    config.provider.source.insert("simulated".into(), Default::default());
    config.rates.refresh_cron = CRON.into();
    Ok(())
}

const fn account(name: &'static str, id: i64, staff: bool) -> Account {
    Account { name, id, staff }
}

/// Only an address that somebody has: what else is wrong with it, the start will say.
fn taken(address: &str) -> bool {
    matches!(TcpListener::bind(address), Err(e) if e.kind() == ErrorKind::AddrInUse)
}

/// Is this an address that only this machine reaches?
fn is_local(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
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
        for (address, local) in [
            ("127.0.0.1:8080", true),
            ("127.1.2.3:1", true),
            ("[::1]:8080", true),
            ("localhost:8080", true),
            ("0.0.0.0:8080", false),
            ("[::]:8080", false),
            ("192.0.2.1:8080", false),
            ("example.com:8080", false),
        ] {
            assert_eq!(is_local(address), local, "{address}");
        }
    }
}
