//! What the bench stands on: a database of its own, in the server that was named or in a private one.

use std::time::Duration;

use tokio_postgres::{Client, Row};

use super::report::Host;
use super::{BenchError, Plan};
use crate::domain::DatabaseUrl;
use crate::embedded::{Embedded, Options};
use crate::listener;

pub const DATABASE: &str = "rowcast_bench";
/// Of the server that the bench starts, and of what else it holds.
const CONNECTIONS_BESIDE: usize = 18;
/// Sockets are not all that a process opens.
const FILES_BESIDE: u64 = 200;
const MAJOR_MIN: i32 = 13;

pub struct Ground {
    /// Where the owner pointed us; the bench's database is made and dropped from here.
    outside: DatabaseUrl,
    inside: DatabaseUrl,
    inside_text: String,
    survey: Survey,
    embedded: Option<Embedded>,
}

struct Survey {
    version: i32,
    host: Host,
    may_create: bool,
    standby: bool,
    taken: bool,
    capture_role: bool,
    capture_member: bool,
    connections_free: i32,
}

impl Ground {
    /// Looks first, and makes the database if nothing speaks against it.
    pub async fn lay(plan: &Plan) -> Result<Self, BenchError> {
        let (embedded, outside, text) = match &plan.database {
            Some((url, text)) => (None, url.clone(), text.clone()),
            None => {
                let root = plan.root.clone();
                let started = tokio::task::spawn_blocking(move || {
                    Embedded::discard(&root)?; // of a bench that was killed
                    Embedded::start(Options { root, durable: true, settings: Vec::new() })
                });
                let embedded = started.await.expect("starting does not panic")?;
                let text = embedded.url("postgres");
                let url = DatabaseUrl::parse(&text, "postgres").expect("our own URL");
                (Some(embedded), url, text)
            }
        };
        let (mut outside, mut inside) = (outside.clone(), outside);
        inside.dbname = DATABASE.into();
        for url in [&mut outside, &mut inside] {
            url.application_name = Some("rowcast bench".into());
        }
        let client = listener::client(&outside).await?;
        let place = match &embedded {
            Some(embedded) => format!("a private one in {}", embedded.root().display()),
            None => outside.to_string(),
        };
        let survey = Survey::read(&client.query_one(include_str!("../../sql/bench/survey.sql"), &[]).await?, place);
        survey.judge(plan)?;
        client.batch_execute(include_str!("../../sql/bench/create.sql")).await?;
        let ground = Self { outside, inside, inside_text: with_database(&text), survey, embedded };
        // Its own database, already: a failure from here on must not leave it behind.
        if let Err(error) = client.batch_execute(include_str!("../../sql/bench/comment.sql")).await {
            tracing::debug!(%error, "bench.lay: no comment on the database");
        }
        Ok(ground)
    }

    /// The tables, once the schema of rowcast is there.
    pub async fn prepare(&self) -> Result<(), BenchError> {
        Ok(self.connect().await?.batch_execute(include_str!("../../sql/bench/schema.sql")).await?)
    }

    pub async fn connect(&self) -> Result<Client, BenchError> {
        Ok(listener::client(&self.inside).await?)
    }

    /// For the server's environment: with the password, if it has one.
    pub fn url(&self) -> &str {
        &self.inside_text
    }

    pub fn host(&self) -> Host {
        self.survey.host.clone()
    }

    /// Nothing stays: the database, and what the migrations gave the cluster.
    pub async fn clear(self) -> Result<(), BenchError> {
        if let Some(embedded) = self.embedded {
            tokio::task::spawn_blocking(move || embedded.remove()).await.expect("stopping does not panic")?;
            return Ok(());
        }
        let client = listener::client(&self.outside).await?;
        client.batch_execute(include_str!("../../sql/bench/drop.sql")).await?;
        let capture = match (self.survey.capture_role, self.survey.capture_member) {
            (false, _) => include_str!("../../sql/bench/drop_capture.sql"),
            (true, false) => include_str!("../../sql/bench/revoke_capture.sql"),
            (true, true) => return Ok(()),
        };
        if let Err(error) = client.batch_execute(capture).await {
            tracing::debug!(%error, "bench.clear: role rowcast_capture stays as it is");
        }
        Ok(())
    }
}

impl Survey {
    fn read(row: &Row, place: String) -> Self {
        let (synchronous_commit, fsync): (String, String) = (row.get("synchronous_commit"), row.get("fsync"));
        Self {
            version: row.get("version"),
            host: Host {
                postgres: row.get("version_text"),
                place,
                durable: fsync == "on" && synchronous_commit != "off",
                synchronous_commit,
                fsync,
                role: row.get("role"),
            },
            may_create: row.get("may_create"),
            standby: row.get("standby"),
            taken: row.get("taken"),
            capture_role: row.get("capture_role"),
            capture_member: row.get("capture_member"),
            connections_free: row.get("connections_free"),
        }
    }

    fn judge(&self, plan: &Plan) -> Result<(), BenchError> {
        let writers = plan.writers.iter().copied().max().unwrap_or(1);
        let needed = (writers + CONNECTIONS_BESIDE) as i32;
        if self.version / 10_000 < MAJOR_MIN {
            return Err(BenchError::TooOld { major: self.version / 10_000 });
        }
        if self.standby {
            return Err(BenchError::Standby);
        }
        if self.taken {
            return Err(BenchError::Taken);
        }
        if !self.may_create {
            return Err(BenchError::MayNotCreate { role: self.host.role.clone() });
        }
        if self.connections_free < needed {
            return Err(BenchError::Connections { free: self.connections_free, needed, writers });
        }
        Ok(())
    }
}

/// The same address with the bench's database: of a parameter that comes twice, the last one counts.
fn with_database(text: &str) -> String {
    let text = text.trim();
    match text.split_once("://") {
        Some((_, rest)) => format!("{text}{}dbname={DATABASE}", if rest.contains('?') { '&' } else { '?' }),
        None => format!("{text} dbname={DATABASE}"),
    }
}

/// Each client is a socket here and one in the server, which inherits our bound.
pub fn allow_files(clients: usize) -> Result<(), BenchError> {
    let needed = clients as u64 + FILES_BESIDE;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: it writes one struct of ours.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 || limit.rlim_cur >= needed {
        return Ok(()); // what cannot be asked will be seen
    }
    limit.rlim_cur = limit.rlim_max.min(needed.max(limit.rlim_cur));
    // SAFETY: it reads one struct of ours.
    let raised = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } == 0;
    if raised && limit.rlim_cur >= needed {
        return Ok(());
    }
    Err(BenchError::Files { clients, needed, limit: limit.rlim_cur })
}

/// Waits for several things of one kind at once, and fails with the first that does.
pub async fn all<T: Send + 'static>(
    work: impl IntoIterator<Item = impl Future<Output = Result<T, BenchError>> + Send + 'static>,
) -> Result<Vec<T>, BenchError> {
    let mut tasks = tokio::task::JoinSet::new();
    for one in work {
        tasks.spawn(one);
    }
    let mut done = Vec::with_capacity(tasks.len());
    while let Some(one) = tasks.join_next().await {
        done.push(one.expect("the bench's tasks do not panic")?);
    }
    Ok(done)
}

/// How long to wait for what should come at once.
pub const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_database_is_named_last_in_every_form() {
        for text in [
            "postgres://ann:s3@db:6000/shop",
            "postgres://ann@db",
            "postgres:///shop?host=/run/pg&user=x",
            "postgres:///?dbname=shop&host=/run/pg",
            "host=h dbname=shop password='a b'",
        ] {
            let url = DatabaseUrl::parse(text, "me").expect("as libpq reads it");
            let ours = DatabaseUrl::parse(&with_database(text), "me").expect("still");
            let mut want = url;
            want.dbname = DATABASE.into();
            assert_eq!(ours, want, "{text}");
        }
    }
}
