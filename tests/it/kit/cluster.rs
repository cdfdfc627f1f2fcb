use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rowcast::embedded::{Embedded, EmbeddedError, Options};

use super::{Dir, db};

static CLUSTER: OnceLock<Embedded> = OnceLock::new();

/// The Postgres of this test run, started by the first test that asks, removed when the process ends. Should the
/// process be killed, the next run stops what it left. `PG_BIN` chooses the version.
pub fn cluster() -> &'static Embedded {
    CLUSTER.get_or_init(|| {
        let cluster = start();
        db::make_role(&cluster);
        // SAFETY: the handler is a plain function that lives as long as the process.
        unsafe { libc::atexit(remove) };
        cluster
    })
}

/// Runs outside of any test: what fails here must not take the result of the run with it.
extern "C" fn remove() {
    if let Some(Err(e)) = CLUSTER.get().map(Embedded::remove) {
        eprintln!("the test cluster stays behind: {e}");
    }
}

/// Two runs at once in one checkout each find their own directory.
fn start() -> Embedded {
    let settings = settings(&[("max_connections", "300"), ("max_prepared_transactions", "20")]);
    for slot in 0..16 {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pg{slot}"));
        let fresh = Embedded::discard(&root)
            .and_then(|()| Embedded::start(Options { root, durable: false, settings: settings.clone() }));
        match fresh {
            Err(EmbeddedError::InUse { .. }) => {}
            other => return other.unwrap_or_else(|e| panic!("no Postgres for the tests: {e}")),
        }
    }
    panic!("16 test runs at once in one directory")
}

fn settings(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

/// A Postgres of the test's own, to be stopped, killed and restarted. Removed when dropped.
pub struct OwnCluster {
    pg: Embedded,
    _dir: Dir,
}

impl OwnCluster {
    pub fn start() -> Self {
        Self::with(&[])
    }

    pub fn with(extra: &[(&str, &str)]) -> Self {
        let dir = Dir::new("own");
        let mut all = vec![("max_connections", "60"), ("shared_buffers", "16MB"), ("max_prepared_transactions", "5")];
        all.push(("synchronous_commit", "on")); // what was committed outlives a kill
        all.extend(extra);
        let options = Options { root: dir.path().join("pg"), durable: false, settings: settings(&all) };
        let pg = Embedded::start(options).unwrap_or_else(|e| panic!("no Postgres of one's own: {e}"));
        db::make_role(&pg);
        Self { pg, _dir: dir }
    }

    /// Follows `primary` by streaming replication.
    pub fn standby_of(primary: &Self) -> Self {
        let dir = Dir::new("standby");
        let all = [("max_connections", "60"), ("shared_buffers", "16MB"), ("max_prepared_transactions", "5")];
        let options = Options { root: dir.path().join("pg"), durable: false, settings: settings(&all) };
        let pg = primary.pg.start_standby(options).unwrap_or_else(|e| panic!("no standby: {e}"));
        Self { pg, _dir: dir }
    }

    pub fn socket(&self) -> PathBuf {
        self.pg.socket_dir().join(".s.PGSQL.5432")
    }
}

impl std::ops::Deref for OwnCluster {
    type Target = Embedded;

    fn deref(&self) -> &Embedded {
        &self.pg
    }
}

impl Drop for OwnCluster {
    fn drop(&mut self) {
        if let Err(e) = self.pg.remove() {
            eprintln!("a cluster stays behind: {e}");
        }
    }
}
