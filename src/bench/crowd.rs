//! Many subscribers of one channel, each a WebSocket; what they hear is noted with its time, and counted.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::BenchError;
use super::ground::all;
use super::marker::subscribed;
use super::ticker::since;
use crate::client::ws::Socket;

/// Handshakes at the same time.
const AT_ONCE: usize = 64;

pub struct Crowd {
    noted: Vec<Arc<Noted>>,
    counts: Arc<Counts>,
    epoch: Instant,
    _readers: JoinSet<()>,
}

#[derive(Default)]
struct Counts {
    heard: AtomicU64,
    lost: AtomicUsize,
}

/// The numbers that one client heard, and when.
type Noted = Mutex<Vec<(u64, u64)>>;

impl Crowd {
    pub async fn gather(authority: &str, channel: &'static str, size: usize) -> Result<Self, BenchError> {
        let mut sockets = Vec::with_capacity(size);
        while sockets.len() < size {
            let some = AT_ONCE.min(size - sockets.len());
            let authority: Arc<str> = authority.into();
            sockets.extend(
                all((0..some).map(|_| {
                    let authority = authority.clone();
                    async move { subscribed(&authority, channel).await }
                }))
                .await?,
            );
        }
        let (epoch, counts) = (Instant::now(), Arc::new(Counts::default()));
        let noted: Vec<Arc<Noted>> = sockets.iter().map(|_| Arc::default()).collect();
        let mut readers = JoinSet::new();
        for (socket, noted) in sockets.into_iter().zip(&noted) {
            readers.spawn(read(socket, noted.clone(), counts.clone(), epoch));
        }
        Ok(Self { noted, counts, epoch, _readers: readers })
    }

    pub fn epoch(&self) -> Instant {
        self.epoch
    }

    /// Clients whose connection ended.
    pub fn lost(&self) -> usize {
        self.counts.lost.load(Relaxed)
    }

    /// Messages, since the crowd gathered.
    pub fn heard(&self) -> u64 {
        self.counts.heard.load(Relaxed)
    }

    /// Until all together have heard so many, or some are lost, or the time is over.
    pub async fn wait_for(&self, heard: u64, within: Duration) -> bool {
        let until = Instant::now() + within;
        while self.heard() < heard && self.lost() == 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.heard() >= heard
    }

    /// Number and time of everything heard since the last call.
    pub fn take(&self) -> Vec<(u64, u64)> {
        let take = |noted: &Arc<Noted>| std::mem::take(&mut *noted.lock().unwrap_or_else(PoisonError::into_inner));
        self.noted.iter().flat_map(take).collect()
    }
}

async fn read(mut socket: Socket, noted: Arc<Noted>, counts: Arc<Counts>, epoch: Instant) {
    while let Ok(text) = socket.next_text().await {
        if let Some(n) = number(&text) {
            noted.lock().unwrap_or_else(PoisonError::into_inner).push((n, since(epoch)));
            counts.heard.fetch_add(1, Relaxed);
        }
    }
    counts.lost.fetch_add(1, Relaxed);
}

/// Of an event's `"data":{"id":3,"n":17,…`; without a parser, for the crowd shares the machine with what is measured.
fn number(frame: &str) -> Option<u64> {
    let event = frame.strip_prefix("{\"type\":\"event\"")?;
    let (_, from) = event.split_once("\"n\":")?;
    let end = from.find(|c: char| !c.is_ascii_digit())?;
    from[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_their_number_and_nothing_else_has() {
        let event =
            r#"{"type":"event","channel":"bench_tick","event":"update","data":{"id":3,"n":17,"note":"n"},"at":"x"}"#;
        assert_eq!(number(event), Some(17));
        assert_eq!(number(r#"{"type":"snapshot","channel":"bench_tick","data":[],"n":3}"#), None);
        assert_eq!(number(r#"{"type":"heartbeat","at":"x","cursor":"y"}"#), None);
    }
}
