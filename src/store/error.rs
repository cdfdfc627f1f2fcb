use sqlx::migrate::MigrateError;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nobody answered, or the connection broke: worth trying again.
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// `statement_timeout` ended it.
    #[error("the database took too long")]
    Timeout,
    /// Postgres refused what was asked: its sentence, and its hint where it gave one.
    #[error("{message}")]
    Refused { sqlstate: String, message: String, hint: Option<String> },
    /// An answer that is not what the query promises.
    #[error("unexpected answer of the database: {0}")]
    Answer(String),
    #[error("{0}")]
    Migration(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(e) => {
                let sqlstate = e.code().unwrap_or_default().into_owned();
                match sqlstate.as_str() {
                    "57014" => Self::Timeout,
                    // admin shutdown, crash shutdown, cannot connect now, too many connections
                    "57P01" | "57P02" | "57P03" | "53300" => Self::Unavailable(e.message().into()),
                    s if s.starts_with("08") => Self::Unavailable(e.message().into()),
                    _ => {
                        let hint = e
                            .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
                            .and_then(|e| e.hint())
                            .map(str::to_owned);
                        Self::Refused { sqlstate, message: e.message().into(), hint }
                    }
                }
            }
            sqlx::Error::Io(e) => Self::Unavailable(e.to_string()),
            sqlx::Error::Tls(e) => Self::Unavailable(e.to_string()),
            sqlx::Error::PoolTimedOut => Self::Unavailable("no connection of the pool became free in time".into()),
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Self::Unavailable("the pool is closed".into()),
            sqlx::Error::Protocol(e) => Self::Unavailable(e),
            other => Self::Answer(other.to_string()),
        }
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(e) => e.into(),
            MigrateError::ExecuteMigration(e, version) => match Self::from(e) {
                Self::Refused { message, hint, .. } => {
                    let hint = hint.map(|h| format!(" ({h})")).unwrap_or_default();
                    Self::Migration(format!("migration {version} failed: {message}{hint}"))
                }
                other => other,
            },
            MigrateError::VersionMissing(v) => Self::Migration(format!(
                "the database has migration {v}, which this rowcast does not know: it was migrated by a newer version"
            )),
            MigrateError::VersionMismatch(v) => {
                Self::Migration(format!("migration {v} differs from the one that was applied to this database"))
            }
            other => Self::Migration(other.to_string()),
        }
    }
}
