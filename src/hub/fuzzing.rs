//! What a fuzzer feeds: everything that a client's bytes meet before its client does.

use std::sync::Arc;

use super::config::Stats;
use super::conn::{Input, Listening};
use super::meter::Rates;
use super::{Client, Closed, Intake};

struct Anybody;

impl Client for Anybody {
    fn text(self: Arc<Self>, payload: &str) -> Intake {
        if payload.len().is_multiple_of(7) { Intake::Pause } else { Intake::More }
    }

    fn binary(self: Arc<Self>) -> Intake {
        Intake::More
    }

    fn reset(self: Arc<Self>) {}

    fn closed(self: Arc<Self>, _: Closed) {}
}

/// The first byte says how the others are cut into reads: whatever the cut, the same is heard.
pub fn websocket(data: &[u8]) {
    let Some((&cut, rest)) = data.split_first() else { return };
    let whole = heard(rest, usize::MAX);
    let pieces = heard(rest, 1 + usize::from(cut));
    assert_eq!(whole, pieces, "it depends on how the bytes came");
}

/// How many messages, the pongs, and the end.
fn heard(data: &[u8], size: usize) -> (u64, Vec<u8>, Option<String>) {
    let (stats, mut input) = (Stats::default(), Input::default());
    let client: Arc<dyn Client> = Arc::new(Anybody);
    let rates = Rates { frames: 0, bytes: 0 };
    let to = Listening { client: Some(&client), stats: &stats, bytes_max: 1024, rates, now_ms: 0, asked: &|| {} };
    let mut pongs = Vec::new();
    let mut pong = |payload: &[u8]| pongs.extend_from_slice(payload);
    let mut end = None;
    let mut copy = data.to_vec();
    for piece in copy.chunks_mut(size.min(data.len()).max(1)) {
        end = input.take(piece, &to, &mut pong).err();
        while end.is_none() && input.is_paused() {
            input.resume();
            end = input.take(&mut [], &to, &mut pong).err();
        }
        if end.is_some() {
            break;
        }
    }
    (stats.frames_in.into_inner(), pongs, end.map(|end| format!("{end:?}")))
}

#[cfg(test)]
pub use super::codec::masked;
