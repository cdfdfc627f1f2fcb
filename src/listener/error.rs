use std::error::Error as _;
use std::path::PathBuf;

/// Why there is no connection, or no longer. Each sentence says what to do; none holds a password.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    #[error("cannot connect to {host}: {cause}")]
    Connect { host: String, cause: String },
    #[error("sslrootcert {}: {cause}", path.display())]
    RootCert { path: PathBuf, cause: String },
    #[error("this machine offers no trusted root certificates ({0}); name a file with sslrootcert")]
    SystemRoots(String),
    #[error("Postgres {major} is too old: rowcast needs version 13 or newer")]
    TooOld { major: i32 },
    #[error("this server is a standby, which takes no writes and no LISTEN: connect to the primary")]
    Standby,
    #[error("database {database} has no {}: run `rowcast migrate`", missing.join(", "))]
    NotInstalled { database: String, missing: Vec<String> },
    #[error("role {role} has no {}: connect as the owner of schema rowcast, or grant it", missing.join(", "))]
    Rights { role: String, missing: Vec<String> },
    #[error("rowcast.state is empty: run `rowcast migrate`")]
    NoState,
    #[error("rowcast.incarnation() returned {0:?}, not 16 hexadecimal digits: run `rowcast migrate`")]
    Incarnation(String),
    #[error("event {id} has the unknown operation '{letter}': is this rowcast older than the schema?")]
    Op { id: i64, letter: char },
    #[error("event {id} is {cause}: is this rowcast older than the schema?")]
    Batch { id: i64, cause: crate::domain::UnpackError },
    #[error("the server gave no answer for {after_ms} ms")]
    NoReply { after_ms: u64 },
    #[error("no ring came back: LISTEN does not work through a transaction pooler, set LISTEN_DATABASE_URL")]
    NoRing,
    #[error("the connection ended: {0}")]
    Ended(String),
    #[error("{}", explained(.0))]
    Query(#[from] tokio_postgres::Error),
    /// The receiver of the feed is gone; the listener has nothing more to do.
    #[error("nobody receives the feed")]
    FeedClosed,
}

/// The client's errors say "db error" and hide the rest in their sources.
pub(super) fn explained(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} ({})", db.message(), db.code().code()),
        None => {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            text
        }
    }
}
