//! A private Postgres as a child process, for development and tests.
//!
//! ```text
//! root/ lock    held (flock) by the owner; one owner at a time, freed by the kernel whatever kills it
//!       data/   made by initdb beside it and renamed into place, so that it is whole or absent
//!       log     the server's words
//!       .s.PGSQL.5432   the only way in: no TCP
//! ```
//! Whoever holds the lock and finds a running server in `data` found the leftover of an owner that was
//! killed: it stops that server and starts its own. As root the server runs as an unprivileged user.

mod binaries;
mod place;
mod process;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use binaries::Binaries;
use place::Place;
use process::Server;

/// The superuser's name; everybody who reaches the socket (a 0700 directory) is trusted. Not `rowcast`: tables that it
/// makes would end up in the schema of that name, by way of `"$user"` in the search_path.
pub const USER: &str = "postgres";
/// Part of the socket's name, never a TCP port.
const PORT: u16 = 5432;
const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(15);

#[derive(Clone, Debug)]
pub struct Options {
    /// Where the cluster lives; made when it is not there.
    pub root: PathBuf,
    /// false: no fsync and no waiting for the log, for tests. A killed server then loses its last commits, unless
    /// the settings have `synchronous_commit = on`.
    pub durable: bool,
    /// Server settings, as in `postgresql.conf`. They win over what `durable` sets.
    pub settings: Vec<(String, String)>,
}

/// How to end the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Waits for the clients to leave.
    Smart,
    /// Ends the sessions, writes a checkpoint.
    Fast,
    /// Leaves crash recovery to the next start.
    Immediate,
    /// SIGKILL to the postmaster.
    Kill9,
}

#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error(
        "no Postgres server binaries found (PG_BIN, /usr/lib/postgresql/*/bin, /usr/local/pgsql/bin, Homebrew, \
         pg_config). Install them: `scripts/install-deps.sh` or `apt-get install postgresql` on Debian and Ubuntu, \
         `dnf install postgresql-server` on Fedora, `brew install postgresql` on macOS; or set PG_BIN to their \
         directory; or set DATABASE_URL to use a Postgres that runs already"
    )]
    NoBinaries,
    #[error("{} has no initdb and postgres that run: {reason}", dir.display())]
    BadBinaries { dir: PathBuf, reason: String },
    #[error(
        "the data in {} was made by Postgres {data}, the binaries are Postgres {binaries}: set PG_BIN to those of \
         {data}, or remove the directory to start anew", dir.display()
    )]
    OtherVersion { dir: PathBuf, data: u32, binaries: u32 },
    #[error("{} is in use by another process{}: one at a time", root.display(), pid.map(|p| format!(" (pid {p})")).unwrap_or_default())]
    InUse { root: PathBuf, pid: Option<u32> },
    #[error("Postgres does not run as root, and there is no user 'postgres' or 'nobody' to run it as")]
    NoUser,
    #[error("neither {} nor a directory for temporary files can be reached by the user that Postgres runs as", root.display())]
    Unreachable { root: PathBuf },
    #[error("{} belongs to somebody else", dir.display())]
    Foreign { dir: PathBuf },
    #[error("a Postgres that a killed process left behind (pid {pid}) does not stop")]
    Leftover { pid: u32 },
    #[error("initdb failed: {0}")]
    Initdb(String),
    #[error("pg_basebackup failed: {0}")]
    BaseBackup(String),
    #[error("Postgres ended while it started ({status}): {log}")]
    Failed { status: String, log: String },
    #[error("Postgres was not ready within {} s: {log}", READY_WITHIN.as_secs())]
    NotReady { log: String },
    #[error("cannot {doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: std::io::Error },
}

/// A running cluster. Dropping it stops the server (fast) and frees the directory.
#[derive(Debug)]
pub struct Embedded {
    place: Place,
    binaries: Binaries,
    settings: Vec<(String, String)>,
    server: Mutex<Option<Server>>,
}

impl Embedded {
    /// Starts the cluster and waits until it takes connections; the first time in `root` it is made, which
    /// takes about a second. Blocks.
    pub fn start(options: Options) -> Result<Self, EmbeddedError> {
        Self::start_from(options, process::initdb)
    }

    /// A standby that follows this running cluster by streaming replication, until `pg_promote()`. It is a copy, made the first
    /// time in `root`.
    pub fn start_standby(&self, options: Options) -> Result<Self, EmbeddedError> {
        Self::start_from(options, |place, binaries, durable| {
            process::base_backup(place, binaries, durable, self.socket_dir())
        })
    }

    fn start_from(
        options: Options,
        make: impl FnOnce(&Place, &Binaries, bool) -> Result<(), EmbeddedError>,
    ) -> Result<Self, EmbeddedError> {
        let place = Place::claim(&options.root)?;
        let data_version = place.data_version();
        let binaries = Binaries::find(data_version)?;
        if let Some(data) = data_version.filter(|&v| v != binaries.major) {
            return Err(EmbeddedError::OtherVersion { dir: place.data(), data, binaries: binaries.major });
        }
        process::stop_leftover(&place)?;
        if data_version.is_none() {
            make(&place, &binaries, options.durable)?;
        }
        let mut settings: Vec<(String, String)> = Vec::new();
        if !options.durable {
            settings.extend(["fsync", "synchronous_commit", "full_page_writes"].map(|s| (s.into(), "off".into())));
        }
        settings.extend(options.settings);
        let server = Server::start(&place, &binaries, &settings)?;
        Ok(Self { place, binaries, settings, server: Mutex::new(Some(server)) })
    }

    /// Stops what runs in `root` without an owner, and removes the whole cluster.
    pub fn discard(root: &Path) -> Result<(), EmbeddedError> {
        let place = Place::claim(root)?;
        process::stop_leftover(&place)?;
        place.remove()
    }

    /// A libpq URL, understood by sqlx, tokio-postgres and psql. Port and user are spelled out, so that
    /// neither PGPORT nor PGUSER changes its meaning.
    pub fn url(&self, dbname: &str) -> String {
        self.url_as(USER, dbname)
    }

    pub fn url_as(&self, user: &str, dbname: &str) -> String {
        let (user, db, dir) = (percent(user), percent(dbname), percent(&self.socket_dir().to_string_lossy()));
        format!("postgres:///{db}?host={dir}&port={PORT}&user={user}")
    }

    /// The line to type in a shell.
    pub fn psql(&self, dbname: &str) -> String {
        let socket_dir = shell(&self.socket_dir().to_string_lossy());
        format!("psql -h {socket_dir} -p {PORT} -U {USER} {}", shell(dbname))
    }

    pub fn socket_dir(&self) -> &Path {
        &self.place.socket_dir
    }

    /// Where the cluster really is.
    pub fn root(&self) -> &Path {
        &self.place.root
    }

    /// The wanted root, where the server's user could not reach it and another one was taken: say so.
    pub fn relocated_from(&self) -> Option<&Path> {
        self.place.relocated_from.as_deref()
    }

    pub fn bin_dir(&self) -> &Path {
        &self.binaries.dir
    }

    /// Major version: 15.
    pub fn version(&self) -> u32 {
        self.binaries.major
    }

    /// The postmaster's, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server().as_ref().map(Server::pid)
    }

    /// Ends the server and waits for its end. Smart and fast shutdowns that take longer than 15 s become
    /// immediate. The directory stays ours.
    pub fn stop(&self, mode: Mode) {
        if let Some(server) = self.server().take() {
            server.stop(mode);
        }
    }

    /// `stop`, then a start as before; recovery included. Starts a stopped server, too.
    pub fn restart(&self, mode: Mode) -> Result<(), EmbeddedError> {
        let mut server = self.server();
        if let Some(running) = server.take() {
            running.stop(mode);
        }
        *server = Some(Server::start(&self.place, &self.binaries, &self.settings)?);
        Ok(())
    }

    /// Stops the server at once and removes the cluster.
    pub fn remove(&self) -> Result<(), EmbeddedError> {
        self.stop(Mode::Immediate);
        self.place.remove()
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop(Mode::Fast);
    }
}

fn percent(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"/-._~".contains(&b) {
            out.push(b.into());
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
        out
    })
}

fn shell(text: &str) -> String {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._".contains(&b)) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
