use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use rowcast::embedded::Embedded;

/// A directory of the test's own, removed when dropped.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = base().join(format!("{name}-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).expect("cargo's directory for tests can be written");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn base() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// What runs that were killed have left: directories, and clusters that still run in them.
fn sweep() {
    for entry in std::fs::read_dir(base()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.rsplit('-').nth(1).and_then(|pid| pid.parse::<libc::pid_t>().ok());
        // SAFETY: signal 0 only asks whether the process is there.
        if owner.is_none_or(|pid| pid != std::process::id() as libc::pid_t && unsafe { libc::kill(pid, 0) } == 0) {
            continue;
        }
        for root in clusters(&entry.path(), 3) {
            let _ = Embedded::discard(&root);
        }
        let _ = std::fs::remove_dir_all(entry.path());
    }
}

/// Directories that are the root of a cluster, here or at most `depth` below; an empty one may be the root of a cluster
/// that had to go elsewhere.
fn clusters(dir: &Path, depth: usize) -> Vec<PathBuf> {
    let inside: Vec<PathBuf> = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    if inside.is_empty() || dir.join("lock").exists() {
        return vec![dir.to_owned()];
    }
    let below = inside.into_iter().filter(|p| depth > 0 && p.is_dir());
    below.flat_map(|p| clusters(&p, depth - 1)).collect()
}
