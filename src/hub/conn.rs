//! What one client says: bytes in, calls of its `Client` out. No IO; both transports feed it.

use std::borrow::Cow;
use std::sync::Arc;

use super::codec::{Decoder, Fault, Incoming};
use super::config::{Stats, add};
use super::lane::guarded;
use super::meter::{Meter, Rates};
use super::{Client, Intake, close};

#[derive(Debug, Default)]
pub struct Input {
    /// Of most there is none most of the time.
    rest: Option<Box<Rest>>,
    paused: bool,
    meter: Meter,
}

/// What was read and not dealt with yet.
#[derive(Debug, Default)]
struct Rest {
    decoder: Decoder,
    /// A frame that is not complete, or whatever came after a `Pause`.
    held: Vec<u8>,
}

/// The client has spoken its last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A close frame, to be echoed.
    Peer(Option<u16>),
    /// It cannot go on.
    Fault(Fault),
}

/// Whom the input is for. Without a client (a connection that is closing) only a close frame matters.
pub struct Listening<'a> {
    pub client: Option<&'a Arc<dyn Client>>,
    pub stats: &'a Stats,
    pub bytes_max: usize,
    pub rates: Rates,
    pub now_ms: u64,
    /// Before each call of the client.
    pub asked: &'a dyn Fn(),
}

impl Input {
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// What was read before the socket was ours: dealt with at the next `take`.
    pub fn hold(&mut self, early: Vec<u8>) {
        self.rest = Some(Box::new(Rest { held: early, ..Rest::default() }));
    }

    /// Takes what was read (nothing: to go on after a pause). `pong` gets the payload of each ping.
    pub fn take(&mut self, new: &mut [u8], to: &Listening<'_>, pong: &mut dyn FnMut(&[u8])) -> Result<(), End> {
        if !self.meter.heard(to.now_ms, new.len(), to.rates) {
            return Err(flood(to, FLOOD_BYTES));
        }
        let Rest { mut decoder, mut held } = self.rest.take().map_or_else(Rest::default, |rest| *rest);
        let data: &mut [u8] = if held.is_empty() {
            new
        } else {
            held.extend_from_slice(new);
            &mut held
        };
        let mut at = 0;
        while !self.paused {
            let incoming = decoder.next(data, &mut at, to.bytes_max).map_err(End::Fault)?;
            if incoming.is_some() && !self.meter.frame(to.rates) {
                return Err(flood(to, FLOOD_FRAMES));
            }
            match incoming {
                None => break,
                Some(Incoming::Ping(payload)) => pong(payload),
                Some(Incoming::Pong) => {}
                Some(Incoming::Close(code)) => return Err(End::Peer(code)),
                Some(Incoming::Text(text)) => self.paused = tell(to, Some(text))?,
                Some(Incoming::Binary) => self.paused = tell(to, None)?,
            }
        }
        if at < data.len() || decoder.is_within_message() {
            self.rest = Some(Box::new(Rest { decoder, held: data[at..].to_vec() }));
        }
        Ok(())
    }

    /// Reading goes on; `take(&mut [], …)` next.
    pub fn resume(&mut self) {
        self.paused = false;
        self.meter.waited();
    }
}

const FLOOD_FRAMES: &str = "rate_limited: too many frames a second; reconnect later, and send less";
const FLOOD_BYTES: &str = "rate_limited: too many bytes a second; reconnect later, and send less";

fn flood(to: &Listening<'_>, reason: &'static str) -> End {
    add(&to.stats.flood_closed, 1);
    End::Fault(Fault { code: close::TOO_MANY, reason })
}

/// True: the client wants a pause.
fn tell(to: &Listening<'_>, text: Option<Cow<'_, str>>) -> Result<bool, End> {
    let Some(client) = to.client.cloned() else { return Ok(false) };
    add(&to.stats.frames_in, 1);
    (to.asked)();
    let intake = match text {
        Some(text) => guarded("text", || client.text(&text)),
        None => guarded("binary", || client.binary()),
    };
    match intake {
        Some(intake) => Ok(intake == Intake::Pause),
        None => Err(End::Fault(Fault { code: close::INTERNAL, reason: "internal error" })),
    }
}
