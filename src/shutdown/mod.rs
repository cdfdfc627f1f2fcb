//! When to end. One token, cloned to whoever must know; `app` decides the order in which things end.
//!
//! ```text
//! running ──SIGTERM, SIGINT, trigger()──▶ ending ──a second signal──▶ exit at once (128 + signal)
//! ```

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The same signal again so soon is the same wish: `timeout` sends its signal to the process and to its group.
const ECHO: Duration = Duration::from_millis(500);

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// From `/readyz` saying 503 at SIGTERM until connections are refused and closed: as long as a load balancer needs to notice.
    pub notice_ms: u64,
    /// How long clients may take to read what is queued for them and to answer the close frame.
    pub grace_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { notice_ms: 1_000, grace_ms: 10_000 }
    }
}

#[derive(Clone, Debug)]
pub struct Shutdown {
    triggered: Arc<watch::Sender<bool>>,
    hurried: Arc<AtomicBool>,
}

impl Shutdown {
    /// Ends only by `trigger`.
    #[allow(clippy::new_without_default, reason = "a token that nobody shares would end nothing")]
    pub fn new() -> Self {
        Self { triggered: Arc::new(watch::Sender::new(false)), hurried: Arc::default() }
    }

    /// Ends by SIGTERM and SIGINT, too. Must be called in a tokio runtime; from its return on, the signals no
    /// longer kill the process.
    pub fn on_signals() -> io::Result<Self> {
        let shutdown = Self::new();
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let token = shutdown.clone();
        tokio::spawn(async move {
            let mut first = None;
            loop {
                let number = tokio::select! {
                    Some(()) = terminate.recv() => libc::SIGTERM,
                    Some(()) = interrupt.recv() => libc::SIGINT,
                    else => return,
                };
                let now = Instant::now();
                if first.is_some_and(|(signal, at)| signal == number && now.duration_since(at) < ECHO) {
                    continue;
                }
                first.get_or_insert((number, now));
                if token.is_triggered() {
                    tracing::warn!("a second signal: ending at once");
                    std::process::exit(128 + number);
                }
                token.hurried.store(number == libc::SIGINT, Ordering::Release);
                token.trigger();
            }
        });
        Ok(shutdown)
    }

    pub fn trigger(&self) {
        self.triggered.send_replace(true);
    }

    /// Somebody at a terminal asked (SIGINT): nobody has to be given notice.
    pub fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::Acquire)
    }

    pub fn is_triggered(&self) -> bool {
        *self.triggered.borrow()
    }

    /// Returns once triggered, at once if it was already.
    pub async fn wait(&self) {
        let mut triggered = self.triggered.subscribe();
        // An error would mean that the sender is gone, and it lives in self.
        let _ = triggered.wait_for(|&t| t).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_waits_for_one_trigger() {
        let shutdown = Shutdown::new();
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.wait().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished() && !shutdown.is_triggered());
        shutdown.clone().trigger();
        waiting.await.expect("no panic");
        shutdown.wait().await;
    }
}
