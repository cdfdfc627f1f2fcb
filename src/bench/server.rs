//! The server that is measured: this program's own `serve`, with default settings, in a process of its own.

use std::collections::VecDeque;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::ground::{Ground, PATIENCE};
use super::{BenchError, Plan};

const READY: &str = "rowcast listening on http://";
const LAST_WORDS_MAX: usize = 5;
const ENDS_WITHIN: Duration = Duration::from_secs(15);

pub struct Server {
    child: Child,
    authority: String,
}

impl Server {
    /// Migrates the database and waits until the server is ready.
    pub async fn start(plan: &Plan, ground: &Ground) -> Result<Self, BenchError> {
        let failed = |e: std::io::Error| BenchError::Server(format!("does not start: {e}"));
        let mut command = Command::new(&plan.program);
        command
            // No settings file: what somebody set for production (TLS, rules, limits) is not for this.
            .args(["--config", "/dev/null", "serve", "--migrate", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C goes to us, and we end it in order.
            .process_group(0)
            .kill_on_drop(true);
        for (name, _) in environment().filter(|(name, _)| name.to_string_lossy().starts_with("ROWCAST_")) {
            command.env_remove(name);
        }
        command
            .env_remove("LISTEN_DATABASE_URL")
            .env("DATABASE_URL", ground.url())
            .env("ROWCAST_CONNECTION_OPEN", "true")
            .env("ROWCAST_HTTP_NEW_CONNECTIONS_PER_S_MAX", "0")
            .env("ROWCAST_LOG_LEVEL", "warn")
            .env("ROWCAST_LOG_FORMAT", "text");
        end_with_us(&mut command);
        let mut child = command.spawn().map_err(failed)?;
        let words = last_words(child.stderr.take().expect("piped"));
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let ready = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(authority) = line.strip_prefix(READY) {
                    return Some(authority.trim().to_owned());
                }
            }
            None
        };
        let Ok(Some(authority)) = timeout(PATIENCE * 2, ready).await else {
            // It ends by itself, but for one that hangs.
            let _ = timeout(Duration::from_secs(1), child.wait()).await;
            let words: Vec<_> = words.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
            return Err(BenchError::Server(format!("does not become ready: {}", words.join(" "))));
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { child, authority })
    }

    /// `host:port`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    pub async fn stop(mut self) {
        if let Some(pid) = self.child.id().and_then(|pid| libc::pid_t::try_from(pid).ok()) {
            // SAFETY: two integers; the child has not been waited for, so the pid is its own.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
        if timeout(ENDS_WITHIN, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await; // gone is gone
        }
    }
}

/// Where we are killed and can end nothing ourselves, the kernel does. It means the thread that starts the child, so this
/// runs on one that lives as long as the process: the one that `run` is awaited on.
#[cfg(target_os = "linux")]
fn end_with_us(command: &mut Command) {
    // SAFETY: between fork and exec it makes one system call, and touches no memory of ours.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn end_with_us(_: &mut Command) {}

/// The end of what it says, for when it fails.
fn last_words(pipe: impl AsyncRead + Unpin + Send + 'static) -> Arc<Mutex<VecDeque<String>>> {
    let words = Arc::new(Mutex::new(VecDeque::new()));
    let kept = words.clone();
    tokio::spawn(async move {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push_back(line);
            if kept.len() > LAST_WORDS_MAX {
                kept.pop_front();
            }
        }
    });
    words
}

#[expect(clippy::disallowed_methods, reason = "to keep settings away from the server, not to read them")]
fn environment() -> std::env::VarsOs {
    std::env::vars_os()
}
