use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::binaries::Binaries;
use super::place::{Place, io};
use super::{EmbeddedError, Mode, PORT, READY_WITHIN, STOPPED_WITHIN, USER};

/// Files and processes of others give us no event to wait for.
const POLL: Duration = Duration::from_millis(5);
const LOG_TAIL_BYTES: usize = 2000;

#[derive(Debug)]
pub struct Server {
    child: Child,
}

impl Server {
    pub fn start(place: &Place, binaries: &Binaries, settings: &[(String, String)]) -> Result<Self, EmbeddedError> {
        let since = Instant::now();
        loop {
            let mut server = Self { child: spawn(place, binaries, settings)? };
            loop {
                if let Some(status) = server.child.try_wait().map_err(io("wait for", &binaries.dir))? {
                    let log = log_tail(place);
                    // The backends of a killed postmaster take a moment to notice its death; a postmaster whose owner was
                    // killed early takes one to write its pid file.
                    let taken = ["pre-existing shared memory block", "lock file \"postmaster.pid\" already exists"];
                    if taken.iter().any(|t| log.contains(t)) && since.elapsed() < STOPPED_WITHIN {
                        stop_leftover(place)?;
                        pause(POLL * 10);
                        break;
                    }
                    return Err(EmbeddedError::Failed { status: status.to_string(), log });
                }
                if PidFile::read(&place.data()).is_some_and(|f| f.ready && f.pid == server.pid()) {
                    return Ok(server);
                }
                if since.elapsed() > READY_WITHIN {
                    server.stop(Mode::Immediate);
                    return Err(EmbeddedError::NotReady { log: log_tail(place) });
                }
                pause(POLL);
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stop(mut self, mode: Mode) {
        let last = [(mode, STOPPED_WITHIN), (Mode::Immediate, STOPPED_WITHIN / 3), (Mode::Kill9, Duration::MAX)];
        for (mode, within) in last {
            // Not yet waited for, so the pid is still our child's.
            signal(self.pid(), mode);
            if exited(&mut self.child, within).is_some() {
                return;
            }
        }
    }
}

pub fn initdb(place: &Place, binaries: &Binaries, durable: bool) -> Result<(), EmbeddedError> {
    whole_or_absent(place, |fresh| {
        let exe = binaries.dir.join("initdb");
        let mut initdb = place.command(&exe);
        initdb.arg("-D").arg(fresh).args(["-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale"]);
        run(initdb, &exe, durable, EmbeddedError::Initdb)
    })
}

/// A copy that will follow the running server behind `socket_dir`.
pub fn base_backup(place: &Place, binaries: &Binaries, durable: bool, socket_dir: &Path) -> Result<(), EmbeddedError> {
    whole_or_absent(place, |fresh| {
        let exe = binaries.dir.join("pg_basebackup");
        let mut backup = place.command(&exe);
        backup.arg("-D").arg(fresh).arg("-h").arg(socket_dir);
        backup.args(["-p", &PORT.to_string(), "-U", USER, "--checkpoint=fast", "--write-recovery-conf"]);
        run(backup, &exe, durable, EmbeddedError::BaseBackup)
    })
}

/// Makes the data beside its place: a cut-off beginning must not look like a cluster. Under a name of its own, for the
/// process of a killed owner may still be at work.
fn whole_or_absent(place: &Place, make: impl FnOnce(&Path) -> Result<(), EmbeddedError>) -> Result<(), EmbeddedError> {
    let data = place.data();
    for entry in std::fs::read_dir(&place.root).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("data.new") {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let fresh = place.root.join(format!("data.new.{}", std::process::id()));
    make(&fresh)?;
    std::fs::rename(&fresh, &data).map_err(io("name", &data))
}

fn run(
    mut command: Command,
    exe: &Path,
    durable: bool,
    failed: fn(String) -> EmbeddedError,
) -> Result<(), EmbeddedError> {
    if !durable {
        command.arg("--no-sync");
    }
    let out = command.output().map_err(io("run", exe))?;
    match out.status.success() {
        true => Ok(()),
        false => Err(failed(String::from_utf8_lossy(&out.stderr).trim().to_owned())),
    }
}

/// With the place's lock in our hands, a server that runs in it has lost its owner.
pub fn stop_leftover(place: &Place) -> Result<(), EmbeddedError> {
    let data = place.data();
    for (mode, within) in [(Mode::Fast, STOPPED_WITHIN), (Mode::Immediate, STOPPED_WITHIN / 3)] {
        let Some(pid) = leftover(&data) else { return Ok(()) };
        signal(pid, mode);
        let since = Instant::now();
        while leftover(&data).is_some() && since.elapsed() < within {
            pause(POLL);
        }
    }
    leftover(&data).map_or(Ok(()), |pid| Err(EmbeddedError::Leftover { pid }))
}

fn spawn(place: &Place, binaries: &Binaries, settings: &[(String, String)]) -> Result<Child, EmbeddedError> {
    let log_path = place.log();
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(true).custom_flags(libc::O_NOFOLLOW);
    let log = options.open(&log_path).map_err(io("open", &log_path))?;
    // The quotes keep a space.
    let socket_dir = format!("\"{}\"", place.socket_dir.to_string_lossy());
    let ours = [
        ("listen_addresses", String::new()),
        ("port", PORT.to_string()),
        ("unix_socket_directories", socket_dir),
        ("logging_collector", "off".to_owned()),
    ];
    let settings = settings.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    let exe = binaries.dir.join("postgres");
    let mut postgres = place.command(&exe);
    postgres.arg("-D").arg(place.data());
    for (name, value) in settings.chain(ours.iter().map(|(k, v)| (*k, v.as_str()))) {
        postgres.arg("-c").arg(format!("{name}={value}"));
    }
    postgres.stdout(Stdio::null()).stderr(log).spawn().map_err(io("run", &exe))
}

fn signal(pid: u32, mode: Mode) {
    let signal = match mode {
        Mode::Smart => libc::SIGTERM,
        Mode::Fast => libc::SIGINT,
        Mode::Immediate => libc::SIGQUIT,
        Mode::Kill9 => libc::SIGKILL,
    };
    let pid = libc::pid_t::try_from(pid).expect("a pid that the kernel gave us fits its own type");
    // SAFETY: kill takes two integers and touches no memory of ours.
    unsafe { libc::kill(pid, signal) };
}

fn exited(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let since = Instant::now();
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if since.elapsed() >= within {
            return None;
        }
        pause(POLL);
    }
}

/// The postmaster that runs in `data`. A pid file outlives a crash and its pid may be anybody's since, so the
/// process must have been started on this very directory.
fn leftover(data: &Path) -> Option<u32> {
    let pid = PidFile::read(data)?.pid;
    let args = match std::fs::read(format!("/proc/{pid}/cmdline")) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).replace('\0', " "),
        Err(_) => {
            let ps =
                std::process::Command::new("ps").args(["-ww", "-o", "args=", "-p", &pid.to_string()]).output().ok()?;
            String::from_utf8_lossy(&ps.stdout).into_owned()
        }
    };
    args.contains(&format!("-D {} ", data.to_string_lossy())).then_some(pid)
}

/// What `postmaster.pid` says: the pid in line 1, the state in line 8.
struct PidFile {
    pid: u32,
    ready: bool,
}

impl PidFile {
    fn read(data: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let pid = text.lines().next()?.trim().parse().ok()?;
        Some(Self { pid, ready: text.lines().nth(7).is_some_and(|l| ["ready", "standby"].contains(&l.trim())) })
    }
}

fn log_tail(place: &Place) -> String {
    let log = std::fs::read(place.log()).unwrap_or_default();
    let tail = &log[log.len().saturating_sub(LOG_TAIL_BYTES)..];
    String::from_utf8_lossy(tail).trim().to_owned()
}

#[expect(clippy::disallowed_methods, reason = "on the thread that starts or stops the cluster, and nobody else's")]
fn pause(d: Duration) {
    std::thread::sleep(d);
}
