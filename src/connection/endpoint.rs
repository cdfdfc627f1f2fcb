//! A client of an endpoint that speaks another application's language. An endpoint is data: which channels it
//! carries, whose content a client is shown first, and the dialect that puts both into frames.
//!
//! ```text
//!  open ─▶ hello ─▶ join all channels, read the content once for everybody who asks meanwhile
//!                   ─▶ content and stream, in one step ─▶ live     (`join` says how nothing is lost or doubled)
//!  "all again" ─▶ leave and join anew; "one item" ─▶ its own channel for a moment
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::domain::{ChannelName, Identity, Position};
use crate::hub::{Client, Closed, ConnId, Intake, Part, close};
use crate::protocol::{Code, Said, Shown, Talk};

use super::inbox::{self, Inbox, Worker};
use super::join::{Failure, register};
use super::native::Transport;
use super::stats::count;
use super::{Shared, Visit};

/// Microseconds since 1970, UTC.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

pub struct Endpoint {
    pub path: &'static str,
    /// The number under which the hub knows `talk`.
    pub dialect: u16,
    pub talk: Arc<dyn Talk>,
    /// The state channel whose content a client is shown first.
    pub shows: ChannelName,
    /// What else it carries for clients that want everything.
    pub also: Vec<ChannelName>,
    /// How the channel of a single item begins; its key follows.
    pub item: &'static str,
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
pub struct Encoded(Mutex<Option<(Bytes, Arc<[Shown]>)>>);

/// Gives the socket to the hub, with a client of this endpoint behind it.
pub fn open(shared: &Arc<Shared>, endpoint: &Arc<Endpoint>, transport: Transport, visit: &Visit) {
    let asked = endpoint.talk.asked(&visit.query);
    let hello = endpoint.talk.hello(asked.as_deref(), (endpoint.clock)());
    let items: Option<Vec<String>> = asked.map(|all| all.into_iter().filter_map(|a| a.key).collect());
    let channels = match &items {
        None => std::iter::once(&endpoint.shows).chain(&endpoint.also).cloned().collect(),
        Some(keys) => keys.iter().filter_map(|key| endpoint.channel_of(key)).collect(),
    };
    let client = Arc::new(Session {
        shared: shared.clone(),
        endpoint: endpoint.clone(),
        identity: visit.identity.clone(),
        items,
        channels,
        inbox: Inbox::new(),
    });
    client.seats().fetch_add(1, Ordering::Relaxed);
    count(&shared.stats.websockets);
    // Before anything that the client says: the content comes first.
    inbox::push(&client, Work::Begin);
    let conn = match transport {
        Transport::Tcp(tcp, early) => shared.hub.adopt_tcp(tcp, early, endpoint.dialect, client.clone()),
        Transport::Io(io, early) => shared.hub.adopt_io(io, early, endpoint.dialect, client.clone()),
    };
    if let Some(hello) = hello {
        shared.hub.send(conn, &hello);
    }
    inbox::attach(&client, conn);
}

impl Endpoint {
    fn channel_of(&self, key: &str) -> Option<ChannelName> {
        ChannelName::new(&format!("{}{key}", self.item)).ok()
    }

    fn content(&self, data: &Bytes) -> Arc<[Shown]> {
        let mut last = self.encoded.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            // The very same reading: its memory is held, so nobody else's can be at this address.
            Some((of, frames)) if of.as_ptr() == data.as_ptr() && of.len() == data.len() => frames.clone(),
            _ => {
                let frames: Arc<[Shown]> = self.talk.content(data).into();
                *last = Some((data.clone(), frames.clone()));
                frames
            }
        }
    }
}

struct Session {
    shared: Arc<Shared>,
    endpoint: Arc<Endpoint>,
    identity: Arc<Identity>,
    /// The keys that it wants; None: everything.
    items: Option<Vec<String>>,
    channels: Vec<ChannelName>,
    inbox: Inbox<Work>,
}

enum Work {
    Begin,
    Answer(Said),
}

impl Client for Session {
    fn text(self: Arc<Self>, payload: &str) -> Intake {
        let said = self.endpoint.talk.decode(payload);
        let malformed = said == Said::Malformed;
        count(if malformed { &self.shared.stats.refused_frames } else { &self.shared.stats.commands });
        inbox::push(&self, Work::Answer(said))
    }

    fn binary(self: Arc<Self>) -> Intake {
        count(&self.shared.stats.refused_frames);
        inbox::push(&self, Work::Answer(Said::Malformed))
    }

    fn reset(self: Arc<Self>) {
        inbox::start_over(&self);
    }

    fn closed(self: Arc<Self>, _why: Closed) {
        self.seats().fetch_sub(1, Ordering::Relaxed);
        inbox::close(&*self);
    }
}

impl Worker for Session {
    type Work = Work;

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn inbox(&self) -> &Inbox<Work> {
        &self.inbox
    }

    async fn work(&self, conn: ConnId, work: Work) {
        match work {
            Work::Begin => self.begin(conn).await,
            Work::Answer(Said::All) => self.show(conn).await,
            Work::Answer(Said::One(key)) => self.show_one(conn, &key).await,
            Work::Answer(Said::Malformed) => self.shared.hub.send(conn, self.endpoint.talk.malformed()),
            Work::Answer(Said::Nothing) => {}
        }
    }

    async fn start_over(&self, conn: ConnId) {
        let _permit = self.shared.resets.acquire().await.expect("never closed");
        self.show(conn).await;
    }
}

impl Session {
    fn seats(&self) -> &AtomicU64 {
        let audience = &self.endpoint.audience;
        if self.items.is_none() { &audience.all } else { &audience.filtered }
    }

    async fn begin(&self, conn: ConnId) {
        if self.channels.len() > self.shared.config.subscriptions_per_connection_max {
            return self.shared.hub.close(conn, close::BAD_REQUEST, Code::TooManySubscriptions.as_str());
        }
        for channel in &self.channels {
            if self.shared.admission.may_listen(&self.identity, channel).await.is_err() {
                return self.shared.hub.close(conn, close::FORBIDDEN, Code::Forbidden.as_str());
            }
        }
        self.show(conn).await;
    }

    /// The content, then the stream. These clients know no cursor: where it cannot be had, they come again.
    async fn show(&self, conn: ConnId) {
        let mut tries = self.shared.config.join_tries_max.max(1);
        loop {
            for channel in &self.channels {
                self.shared.hub.leave(conn, channel);
            }
            let Err(failure) = self.join_all(conn).await else { return count(&self.shared.stats.joins_fresh) };
            tries -= 1;
            if tries == 0 || !matches!(failure, Failure::Code(Code::Overloaded)) {
                count(&self.shared.stats.joins_failed);
                return self.shared.hub.close(conn, close::TRY_LATER, failure.code().as_str());
            }
            count(&self.shared.stats.joins_repeated);
        }
    }

    async fn join_all(&self, conn: ConnId) -> Result<(), Failure> {
        let mut since = None;
        for channel in &self.channels {
            since = Some(register(&self.shared, conn, channel)?.position);
        }
        // Nothing that exists was asked for.
        let Some(registered_last) = since else { return Ok(()) };
        let (since, data) = if self.shared.source.family(&self.endpoint.shows).has_view {
            let reading = self.shared.read(&self.endpoint.shows).await?;
            self.shared.barrier().await?;
            (Position::at(reading.snapshot), reading.data)
        } else {
            (registered_last, Bytes::from_static(b"[]"))
        };
        let wanted = |shown: &&Shown| match (&shown.key, &self.items) {
            (Some(key), Some(items)) => items.contains(key),
            _ => true,
        };
        let lead: Vec<Bytes> =
            self.endpoint.content(&data).iter().filter(wanted).map(|shown| shown.frame.clone()).collect();
        let part = |(i, channel)| Part { channel, since: &since, lead: if i == 0 { &lead[..] } else { &[] } };
        let parts: Vec<Part<'_>> = self.channels.iter().enumerate().map(part).collect();
        Ok(self.shared.hub.go_live_all(conn, &parts)?)
    }

    /// The answer is a reading, which a change that is streamed meanwhile may overtake. So for this moment the item's
    /// own channel is kept, too: what came on it since before the reading is said (again) after the answer.
    async fn show_one(&self, conn: ConnId, key: &str) {
        let Some(channel) = self.endpoint.channel_of(key) else { return };
        let Ok(registered) = register(&self.shared, conn, &channel) else { return };
        if let Ok(reading) = self.shared.read(&self.endpoint.shows).await
            && let Some(frame) = self.endpoint.talk.one(&reading.data, key)
        {
            // Its failing is the connection's end, or a new stream: then everything is shown anew.
            let _ = self.shared.hub.go_live(conn, &channel, &registered.position, &[frame]);
        }
        self.shared.hub.leave(conn, &channel);
    }
}
