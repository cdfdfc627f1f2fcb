use std::ffi::CStr;
use std::fs::{File, OpenOptions, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::EmbeddedError;

/// `sun_path` holds 104 bytes on macOS and 108 on Linux, the closing zero included; the socket's name takes these.
const SOCKET_DIR_BYTES_MAX: usize = 103 - "/.s.PGSQL.5432".len();

/// The directories of one cluster, held by us alone, and the user that its server runs as.
#[derive(Debug)]
pub struct Place {
    pub root: PathBuf,
    pub socket_dir: PathBuf,
    pub relocated_from: Option<PathBuf>,
    /// None: as ourselves.
    run_as: Option<User>,
    _lock: File,
}

#[derive(Clone, Copy, Debug)]
struct User {
    uid: u32,
    gid: u32,
}

impl Place {
    pub fn claim(root: &Path) -> Result<Self, EmbeddedError> {
        std::fs::create_dir_all(root).map_err(io("make", root))?;
        let wanted = root.canonicalize().map_err(io("find", root))?;
        let run_as = run_as(&wanted)?;
        let (root, relocated_from) = if parents_reachable(&wanted, run_as) {
            (wanted.clone(), None)
        } else {
            (temporary(&wanted, run_as)?, Some(wanted.clone()))
        };
        give(&root, run_as, 0o700)?;
        let lock = lock(&root, run_as)?;
        let socket_dir = if fit_for_socket(&root) { root.clone() } else { temporary(&wanted, run_as)? };
        Ok(Self { root, socket_dir, relocated_from, run_as, _lock: lock })
    }

    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The major version that the data was made by; None: there is none yet.
    pub fn data_version(&self) -> Option<u32> {
        std::fs::read_to_string(self.data().join("PG_VERSION")).ok()?.trim().parse().ok()
    }

    /// A command that runs as the server's user, in a process group of its own: the Ctrl-C of our terminal is
    /// for us, and we stop the server when our own shutdown has come that far.
    #[expect(clippy::disallowed_methods, reason = "libpq's variables must not reach the server")]
    pub fn command(&self, exe: &Path) -> Command {
        let mut c = Command::new(exe);
        if let Some(User { uid, gid }) = self.run_as {
            c.gid(gid).uid(uid); // std drops the supplementary groups, too
        }
        for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("PG")) {
            c.env_remove(name);
        }
        c.env("LC_ALL", "C").current_dir(&self.root).stdin(Stdio::null()).process_group(0);
        c
    }

    pub fn remove(&self) -> Result<(), EmbeddedError> {
        for dir in [&self.socket_dir, &self.root] {
            match std::fs::remove_dir_all(dir) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io("remove", dir)(e)),
                _ => {}
            }
        }
        Ok(())
    }
}

pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> EmbeddedError {
    let path = path.to_owned();
    move |source| EmbeddedError::Io { doing, path, source }
}

/// Postgres refuses to run as root: then as the owner of existing data, else as `postgres` or `nobody`.
fn run_as(root: &Path) -> Result<Option<User>, EmbeddedError> {
    if euid() != 0 {
        return Ok(None);
    }
    let owner = std::fs::metadata(root.join("data")).ok().map(|m| User { uid: m.uid(), gid: m.gid() });
    let user = owner.filter(|u| u.uid != 0).or_else(|| user(c"postgres")).or_else(|| user(c"nobody"));
    user.map(Some).ok_or(EmbeddedError::NoUser)
}

/// Can the server's user walk to `dir`? (`dir` itself becomes its own.)
fn parents_reachable(dir: &Path, run_as: Option<User>) -> bool {
    let Some(User { uid, gid }) = run_as else { return true };
    dir.ancestors().skip(1).all(|d| {
        std::fs::metadata(d).is_ok_and(|m| {
            let bit = if m.uid() == uid {
                0o100
            } else if m.gid() == gid {
                0o010
            } else {
                0o001
            };
            m.mode() & bit != 0
        })
    })
}

/// Postgres and its clients take lists of directories, and quote them in different ways: plain names only.
fn fit_for_socket(dir: &Path) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/._- ".contains(b);
    let bytes = dir.as_os_str().as_encoded_bytes();
    bytes.len() <= SOCKET_DIR_BYTES_MAX && bytes.iter().all(plain)
}

/// A short directory under the system's temporary one that is the same for the same root. The name can be
/// guessed, so what stands there already must be ours, and no link.
fn temporary(root: &Path, run_as: Option<User>) -> Result<PathBuf, EmbeddedError> {
    let mut hash = DefaultHasher::new();
    (root, euid()).hash(&mut hash);
    let name = format!("rowcast-{:016x}", hash.finish());
    let fits = |d: &PathBuf| parents_reachable(d, run_as) && fit_for_socket(d);
    let dir = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()]
        .into_iter()
        .filter(|d| d.is_dir())
        .map(|d| d.join(&name))
        .find(fits)
        .ok_or_else(|| EmbeddedError::Unreachable { root: root.to_owned() })?;
    match std::fs::DirBuilder::new().mode(0o700).create(&dir) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(io("make", &dir)(e)),
        _ => {}
    }
    let found = std::fs::symlink_metadata(&dir).map_err(io("look at", &dir))?;
    let ours = found.uid() == euid() || run_as.is_some_and(|u| found.uid() == u.uid);
    if !found.is_dir() || !ours {
        return Err(EmbeddedError::Foreign { dir });
    }
    give(&dir, run_as, 0o700)?;
    Ok(dir)
}

fn give(path: &Path, to: Option<User>, mode: u32) -> Result<(), EmbeddedError> {
    if let Some(User { uid, gid }) = to {
        chown(path, Some(uid), Some(gid)).map_err(io("give away", path))?;
    }
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).map_err(io("set the rights of", path))
}

/// The kernel frees the lock with its holder, so it never has to be judged stale. The pid in it is for people.
fn lock(root: &Path, run_as: Option<User>) -> Result<File, EmbeddedError> {
    let path = root.join("lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).custom_flags(libc::O_NOFOLLOW);
    let mut file = options.open(&path).map_err(io("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            return Err(EmbeddedError::InUse { root: root.to_owned(), pid: pid.trim().parse().ok() });
        }
        Err(TryLockError::Error(e)) => return Err(io("lock", &path)(e)),
    }
    // A holder that removes the cluster removes this file, too: then we have locked a ghost.
    let locked = file.metadata().map_err(io("look at", &path))?.ino();
    if std::fs::metadata(&path).map(|m| m.ino()).ok() != Some(locked) {
        return Err(EmbeddedError::InUse { root: root.to_owned(), pid: None });
    }
    give(&path, run_as, 0o600)?;
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(io("write", &path))?;
    Ok(file)
}

fn euid() -> u32 {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() }
}

fn user(name: &CStr) -> Option<User> {
    let mut buffer = vec![0 as libc::c_char; 16 * 1024];
    let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
    let mut found: *mut libc::passwd = std::ptr::null_mut();
    // SAFETY: every pointer is valid for the call, and `buffer.len()` is the buffer's true length.
    let rc =
        unsafe { libc::getpwnam_r(name.as_ptr(), entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &mut found) };
    if rc != 0 || found.is_null() {
        return None;
    }
    // SAFETY: a non-null `found` says that getpwnam_r has filled `entry`.
    let entry = unsafe { entry.assume_init() };
    (entry.pw_uid != 0).then_some(User { uid: entry.pw_uid, gid: entry.pw_gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_parent_is_seen() {
        let dir = std::env::temp_dir().join(format!("rowcast-reach-{}", std::process::id()));
        let inner = dir.join("a/b");
        std::fs::create_dir_all(&inner).expect("a temporary directory");
        let stranger = Some(User { uid: 4_000_001, gid: 4_000_001 });
        let seen: Vec<bool> = [0o755, 0o700, 0o711, 0o766]
            .into_iter()
            .map(|mode| {
                std::fs::set_permissions(dir.join("a"), PermissionsExt::from_mode(mode)).expect("our own directory");
                parents_reachable(&inner, stranger)
            })
            .collect();
        std::fs::remove_dir_all(&dir).expect("our own directory");
        assert_eq!(seen, [true, false, true, false]);
    }
}
