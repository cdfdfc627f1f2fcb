//! Which database this process talks to: the configured one, or a private Postgres of its own.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::config::{Config, Secret};
use crate::embedded::{Embedded, EmbeddedError, Options};

/// Where a private Postgres lives, in the working directory.
const ROOT: &str = ".rowcast/postgres";
/// In which its URL is noted while it runs, for commands in other terminals.
const NOTE: &str = ".rowcast/database_url";
const DBNAME: &str = "postgres";

/// The database of a server. Dropping it stops a private one.
pub struct Database {
    url: Secret,
    /// The configured URL is from the environment, so a shell knows it by name.
    by_variable: bool,
    private: Option<Private>,
}

struct Private {
    postgres: Embedded,
    note: PathBuf,
}

impl Database {
    /// Starts a private Postgres where none is configured. Blocks while it starts.
    #[expect(clippy::disallowed_methods, reason = "whether a shell knows the URL by name, not what it is")]
    pub fn open(config: &Config) -> Result<Self, EmbeddedError> {
        if let Some(url) = &config.database.url {
            let by_variable = std::env::var("DATABASE_URL").is_ok_and(|v| v == url.expose());
            return Ok(Self { url: url.clone(), by_variable, private: None });
        }
        let postgres = Embedded::start(Options { root: ROOT.into(), durable: true, settings: Vec::new() })?;
        let url = postgres.url(DBNAME);
        let note = PathBuf::from(NOTE);
        if let Err(error) = write_note(&note, &url) {
            tracing::warn!(%error, "other terminals need --database-url: its URL cannot be noted in {NOTE}");
        }
        Ok(Self { url: Secret::new(url), by_variable: false, private: Some(Private { postgres, note }) })
    }

    /// What a command uses that starts no Postgres: the configured database, or the private one that runs here.
    pub fn known(config: &Config) -> Option<Secret> {
        let noted = || std::fs::read_to_string(NOTE).ok().map(|url| Secret::new(url.trim()));
        config.database.url.clone().or_else(noted)
    }

    /// Started by this process, for it alone.
    pub fn is_private(&self) -> bool {
        self.private.is_some()
    }

    pub fn url(&self) -> &Secret {
        &self.url
    }

    /// The line to say where a private Postgres runs.
    pub fn announcement(&self) -> Option<String> {
        let private = self.private.as_ref()?;
        Some(format!(
            "private Postgres {} in {}: for development, set DATABASE_URL for anything else",
            private.postgres.version(),
            private.postgres.root().display()
        ))
    }

    /// The line that connects psql; never with a password.
    pub fn psql(&self) -> String {
        match &self.private {
            Some(private) => private.postgres.psql(DBNAME),
            None if self.by_variable => "psql \"$DATABASE_URL\"".into(),
            None => "psql (with the URL that rowcast was given)".into(),
        }
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // Not there any more is as good as removed.
        let _ = std::fs::remove_file(&self.note);
    }
}

fn write_note(path: &Path, url: &str) -> std::io::Result<()> {
    // What a killed process left behind may be somebody else's: made anew.
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{url}")
}
