//! An endpoint that speaks another application's language. It is data: which channels it carries, who may come in,
//! whose content a client is shown first, and the dialect that puts it into frames.
//!
//! ```text
//!  request ─▶ Door: who, may they, does it exist ─▶ 101 ─▶ Session: hello, content, stream, commands
//! ```

mod config;
mod declare;
mod door;
mod functions;
mod session;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::domain::{ChannelName, Pattern, Snapshot};
use crate::protocol::{Shape, Shown, Talk, Values};

use super::Visit;

pub use config::{Auth, Config, Kind, Reject};
pub use declare::DeclareError;
pub use door::{Door, Refusal};
pub use functions::Functions;
pub use session::open;

/// Microseconds since 1970, UTC.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

pub struct Endpoint {
    /// As poem writes it: `/ws/orders/:id`.
    pub path: String,
    /// The number under which the hub knows `talk`.
    pub dialect: u16,
    pub talk: Arc<dyn Talk>,
    pub door: Door,
    /// The content of the first one is shown first.
    pub channels: Vec<Pattern>,
    /// So many of them begin with that content; the others begin where the stream is.
    pub covered: usize,
    /// How the channel of a single item begins, where clients may ask for some; its key follows.
    pub item: Option<&'static str>,
    pub functions: Functions,
    pub clock: Clock,
    pub audience: Audience,
    pub encoded: Encoded,
}

/// The clients that are connected now.
#[derive(Debug, Default)]
pub struct Audience {
    /// Of everything.
    pub all: AtomicU64,
    /// Of some items.
    pub filtered: AtomicU64,
}

/// The last content in this dialect: a thousand clients at once are shown the same reading, encoded once.
#[derive(Default)]
pub struct Encoded(Mutex<Option<Last>>);

struct Last {
    of: (Arc<Snapshot>, Bytes, Shape),
    frames: Arc<[Shown]>,
}

impl Endpoint {
    fn channel_of(&self, key: &str) -> Option<ChannelName> {
        ChannelName::new(&format!("{}{key}", self.item?)).ok()
    }

    /// Its channels for a client of whom this is known; None: one of them cannot be.
    fn channels_for(&self, values: &Values) -> Option<Vec<ChannelName>> {
        self.channels.iter().map(|pattern| pattern.fill(|_, name| values.text(name))).collect()
    }

    fn content(&self, shape: Shape, snapshot: &Arc<Snapshot>, data: &Bytes) -> Arc<[Shown]> {
        let mut last = self.encoded.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The very same reading: its memory is held, so nobody else's can be at this address.
        let same = |of: &(Arc<Snapshot>, Bytes, Shape)| {
            Arc::ptr_eq(&of.0, snapshot) && of.1.as_ptr() == data.as_ptr() && of.1.len() == data.len() && of.2 == shape
        };
        match &*last {
            Some(Last { of, frames }) if same(of) => frames.clone(),
            _ => {
                let frames: Arc<[Shown]> = self.talk.content(shape, Some(data), (self.clock)()).into();
                *last = Some(Last { of: (snapshot.clone(), data.clone(), shape), frames: frames.clone() });
                frames
            }
        }
    }
}

/// What a client's templates and calls may name: the path's parameters, who it is, what was looked up.
fn values_of(visit: &Visit) -> Values {
    let mut values = visit.found.clone();
    for (name, value) in &visit.params {
        values.put_text(name, Some(value));
    }
    let identity = &visit.identity;
    values.put_text("user", identity.user.as_deref());
    let named = Some(&*identity.name).filter(|name| !name.is_empty());
    values.put_text("name", named.or(identity.user.as_deref()).or(Some("anonymous")));
    values
}
