//! One client of an endpoint.
//!
//! ```text
//!  open ─▶ hello ─▶ join all channels, read the content once for everybody who asks meanwhile
//!                   ─▶ content and stream, in one step ─▶ live     (`join` says how nothing is lost or doubled)
//!  "show again" ─▶ leave and join anew, in one step; "one item" ─▶ its own channel for a moment
//!  "stop" ─▶ leave all; "start" ─▶ join all, content first
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use bytes::Bytes;

use crate::domain::{Caller, ChannelName, Identity, Position};
use crate::hub::{Client, Closed, ConnId, Intake, Part, close};
use crate::protocol::declared::{Command, Switch};
use crate::protocol::{Code, Said, Shape, Shown, Values};

use super::super::inbox::{self, Inbox, Worker};
use super::super::join::{Failure, register};
use super::super::native::Transport;
use super::super::roster::Member;
use super::super::seat::Seat;
use super::super::stats::count;
use super::super::{Denied, Shared, Visit};
use super::{Endpoint, values_of};

/// What a client is told whose command failed on our side.
const FAILED: &[u8] = br#"{"type":"error","message":"The command failed"}"#;

/// Gives the socket to the hub, with a client of this endpoint behind it.
pub fn open(shared: &Arc<Shared>, endpoint: &Arc<Endpoint>, transport: Transport, visit: &Visit) {
    if let Some((code, reason)) = visit.refused {
        let conn = adopt(shared, endpoint, transport, Arc::new(TurnedAway));
        return shared.hub.close(conn, code, reason);
    }
    let values = values_of(visit);
    let asked = endpoint.talk.asked(&visit.query);
    // With what is still to be looked up, it comes with the content.
    let greets = endpoint.door.late.is_empty();
    let hello = greets.then(|| endpoint.talk.hello(asked.as_deref(), &values, (endpoint.clock)())).flatten();
    let items: Option<Vec<String>> = asked.map(|all| all.into_iter().filter_map(|a| a.key).collect());
    // The door has seen that they can be.
    let mut channels = endpoint.channels_for(&values).unwrap_or_default();
    let shows = channels.first().cloned();
    let beside = channels.split_off(endpoint.covered.min(channels.len()));
    let client = Arc::new(Session {
        shared: shared.clone(),
        endpoint: endpoint.clone(),
        seat: Seat::new(&shared.roster, visit),
        identity: visit.identity.clone(),
        shows,
        covered: match &items {
            None => channels,
            Some(keys) => keys.iter().filter_map(|key| endpoint.channel_of(key)).collect(),
        },
        beside: if items.is_none() { beside } else { Vec::new() },
        items,
        values,
        greeted: AtomicBool::new(greets),
        begun: AtomicBool::new(false),
        streams: AtomicBool::new(true),
        inbox: Inbox::new(),
    });
    client.seats().fetch_add(1, Relaxed);
    count(&shared.stats.websockets);
    // Before anything that the client says: the content comes first.
    inbox::push(&client, Work::Begin);
    let conn = adopt(shared, endpoint, transport, client.clone());
    if let Some(hello) = hello {
        shared.hub.send(conn, &hello);
    }
    client.seat.take(conn, &client);
    inbox::attach(&client, conn);
}

fn adopt(shared: &Shared, endpoint: &Endpoint, transport: Transport, client: Arc<dyn Client>) -> ConnId {
    match transport {
        Transport::Tcp(tcp, early) => shared.hub.adopt_tcp(tcp, early, endpoint.dialect, client),
        Transport::Io(io, early) => shared.hub.adopt_io(io, early, endpoint.dialect, client),
    }
}

/// Only stays to hear why it may not.
struct TurnedAway;

impl Client for TurnedAway {
    fn text(self: Arc<Self>, _payload: &str) -> Intake {
        Intake::More
    }

    fn binary(self: Arc<Self>) -> Intake {
        Intake::More
    }

    fn reset(self: Arc<Self>) {}

    fn closed(self: Arc<Self>, _why: Closed) {}
}

struct Session {
    shared: Arc<Shared>,
    endpoint: Arc<Endpoint>,
    seat: Seat,
    identity: Arc<Identity>,
    /// Whose content it is shown.
    shows: Option<ChannelName>,
    /// Of the items that it wants; None: everything.
    items: Option<Vec<String>>,
    /// The channels whose stream begins with that content.
    covered: Vec<ChannelName>,
    /// Those whose stream begins where it is.
    beside: Vec<ChannelName>,
    values: Values,
    greeted: AtomicBool,
    /// Before that there is nothing to start over.
    begun: AtomicBool,
    /// False: the client has stopped the stream.
    streams: AtomicBool,
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
        self.seats().fetch_sub(1, Relaxed);
        inbox::close(&*self);
        self.seat.leave();
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
            Work::Answer(Said::All) => self.show(conn, Shape::Snapshot, true).await,
            Work::Answer(Said::One(key)) => self.show_one(conn, &key).await,
            Work::Answer(Said::Command(command, members)) => self.obey(conn, &command, members).await,
            Work::Answer(Said::Malformed) => self.shared.hub.send(conn, self.endpoint.talk.malformed()),
            Work::Answer(Said::Nothing) => {}
        }
    }

    async fn start_over(&self, conn: ConnId) {
        let _permit = self.shared.resets.acquire().await.expect("never closed");
        if !self.begun.load(Relaxed) || !self.streams.load(Relaxed) {
            return;
        }
        // What happened while the stream was away is gone. Content shows it all the same; who is shown none can be told
        // only so, and comes again.
        if self.hears_what_is_not_shown() {
            return self.shared.hub.close(conn, close::RESTART, Code::StreamRestarted.as_str());
        }
        self.show(conn, Shape::Snapshot, true).await;
    }
}

impl Member for Session {
    fn caller(&self) -> Arc<Caller> {
        self.seat.caller()
    }

    fn channels(&self) -> Vec<ChannelName> {
        Session::channels(self).cloned().collect()
    }

    fn expel(&self, _channel: &ChannelName, code: Code) {
        let close_code = if code == Code::AccessUnknown { close::TRY_LATER } else { close::FORBIDDEN };
        self.end(close_code, code, code.as_str());
    }

    fn end(&self, close_code: u16, _code: Code, reason: &str) {
        if let Some(conn) = self.seat.conn() {
            self.shared.hub.close(conn, close_code, reason);
        }
    }

    /// Its door, its names and its functions went by what holds no longer: let it come again.
    fn renew(&self, _was: &Arc<Caller>, _identity: Arc<Identity>) -> bool {
        self.end(close::TRY_LATER, Code::AccessLost, "who you are has changed: come again");
        false
    }

    fn has_own_door(&self) -> bool {
        true
    }
}

impl Session {
    fn seats(&self) -> &AtomicU64 {
        let audience = &self.endpoint.audience;
        if self.items.is_none() { &audience.all } else { &audience.filtered }
    }

    async fn begin(&self, conn: ConnId) {
        self.begun.store(true, Relaxed);
        if self.channels().count() > self.shared.config.subscriptions_per_connection_max {
            return self.shared.hub.close(conn, close::BAD_REQUEST, Code::TooManySubscriptions.as_str());
        }
        for channel in self.channels() {
            self.seat.guard(channel);
            let (close_code, code) = match self.shared.admission.may_pass(&self.identity, channel).await {
                Ok(()) => continue,
                Err(Denied::Unknown) => (close::TRY_LATER, Code::DatabaseUnavailable),
                Err(_) => (close::FORBIDDEN, Code::Forbidden),
            };
            return self.shared.hub.close(conn, close_code, code.as_str());
        }
        self.show(conn, Shape::Snapshot, true).await;
    }

    fn channels(&self) -> impl Iterator<Item = &ChannelName> {
        self.covered.iter().chain(&self.beside)
    }

    async fn obey(&self, conn: ConnId, command: &Command, members: Values) {
        let deeds = &command.deeds;
        let mut result = "null".to_owned();
        if let Some(call) = &deeds.call {
            let values = self.values.with(&members);
            match self.endpoint.functions.call(call, &values, &self.identity).await {
                Ok(answer) => result = answer.map_or(result, |answer| answer.json),
                Err(_) => return self.shared.hub.send(conn, FAILED),
            }
        }
        match deeds.stream {
            Some(Switch::Stop) if self.streams.swap(false, Relaxed) => {
                for channel in Session::channels(self) {
                    self.shared.hub.leave(conn, channel);
                }
            }
            Some(Switch::Start) if !self.streams.swap(true, Relaxed) => self.show(conn, Shape::Snapshot, true).await,
            _ => {}
        }
        if deeds.show.is_some() {
            self.show(conn, Shape::Answer(command.number), false).await;
        }
        let mut values = self.values.with(&members);
        values.put("result", result);
        if let Some(frame) = command.answer(&values, (self.endpoint.clock)()) {
            self.shared.hub.send(conn, &frame);
        }
    }

    fn hears_what_is_not_shown(&self) -> bool {
        let shown = self.shows.as_ref().is_some_and(|c| self.shared.source.family(c).has_view);
        !self.beside.is_empty() || (!shown && !self.covered.is_empty())
    }

    /// The content, then the stream of what it covers (`whole`: of everything). These clients know no cursor: where it
    /// cannot be had, they come again.
    async fn show(&self, conn: ConnId, shape: Shape, whole: bool) {
        let mut tries = self.shared.config.join_tries_max.max(1);
        loop {
            let shown = if self.streams.load(Relaxed) {
                self.join_all(conn, shape, whole).await
            } else {
                self.read(conn, shape).await
            };
            let Err(failure) = shown else { return count(&self.shared.stats.joins_fresh) };
            tries -= 1;
            if tries == 0 || !matches!(failure, Failure::Code(Code::Overloaded)) {
                count(&self.shared.stats.joins_failed);
                return self.shared.hub.close(conn, close::TRY_LATER, failure.code().as_str());
            }
            count(&self.shared.stats.joins_repeated);
        }
    }

    async fn join_all(&self, conn: ConnId, shape: Shape, whole: bool) -> Result<(), Failure> {
        let channels: Vec<&ChannelName> = self.covered.iter().chain(self.beside.iter().filter(|_| whole)).collect();
        let mut sinces = Vec::with_capacity(channels.len());
        for channel in &channels {
            // Without a moment in which it is of no channel: what happens then is not always shown.
            sinces.push(self.shared.hub.rejoin(conn, channel)?);
        }
        // Nothing that exists was asked for.
        let (Some(shows), false) = (&self.shows, channels.is_empty()) else { return Ok(()) };
        let mut lead = Vec::new();
        if !self.greeted.load(Relaxed) {
            let (hello, seen) = self.greeting().await?;
            lead.extend(hello);
            if let Some(seen) = seen {
                // What it counts has happened to this client already.
                sinces.fill(seen);
            }
        }
        let family = self.shared.source.family(shows);
        if family.has_view {
            let reading = self.shared.read(shows).await?;
            if family.from_log {
                self.shared.barrier().await?;
            }
            lead.extend(self.wanted(&self.endpoint.content(shape, &reading.snapshot, &reading.data)));
            sinces[..self.covered.len()].fill(Position::at(reading.snapshot));
        } else {
            lead.extend(self.wanted(&self.endpoint.talk.content(shape, None, (self.endpoint.clock)())));
        }
        let parts = channels.iter().zip(&sinces).enumerate();
        let parts: Vec<Part<'_>> = parts
            .map(|(i, (channel, since))| Part { channel, since, lead: if i == 0 { &lead[..] } else { &[] } })
            .collect();
        self.shared.hub.go_live_all(conn, &parts)?;
        self.greeted.store(true, Relaxed);
        Ok(())
    }

    /// The hello with what had to be looked up for it, and as of when.
    async fn greeting(&self) -> Result<(Option<Bytes>, Option<Position>), Failure> {
        let endpoint = &self.endpoint;
        let mut values = self.values.clone();
        let mut seen = None;
        for (name, call) in &endpoint.door.late {
            if let Some(answer) = endpoint.functions.call(call, &self.values, &self.identity).await? {
                values.put(name, answer.json);
                // Of several readings the first: what only a later one saw comes once more, but comes.
                seen = seen.or(Some(Position::at(answer.snapshot)));
            }
        }
        Ok((endpoint.talk.hello(None, &values, (endpoint.clock)()).map(Bytes::from), seen))
    }

    fn wanted(&self, content: &[Shown]) -> Vec<Bytes> {
        let wanted = |shown: &&Shown| match (&shown.key, &self.items) {
            (Some(key), Some(items)) => items.contains(key),
            _ => true,
        };
        content.iter().filter(wanted).map(|shown| shown.frame.clone()).collect()
    }

    /// The content to somebody without a stream.
    async fn read(&self, conn: ConnId, shape: Shape) -> Result<(), Failure> {
        let Some(shows) = self.shows.as_ref().filter(|c| self.shared.source.family(c).has_view) else { return Ok(()) };
        let reading = self.shared.read(shows).await?;
        for frame in self.wanted(&self.endpoint.content(shape, &reading.snapshot, &reading.data)) {
            self.shared.hub.send_bytes(conn, &frame);
        }
        Ok(())
    }

    /// The answer is a reading, which a change that is streamed meanwhile may overtake. So for this moment the item's
    /// own channel is kept, too: what came on it since before the reading is said (again) after the answer.
    async fn show_one(&self, conn: ConnId, key: &str) {
        let Some(channel) = self.endpoint.channel_of(key) else { return };
        let Some(shows) = &self.shows else { return };
        let Ok(registered) = register(&self.shared, conn, &channel) else { return };
        if let Ok(reading) = self.shared.read(shows).await
            && let Some(frame) = self.endpoint.talk.one(&reading.data, key)
        {
            // Its failing is the connection's end, or a new stream: then everything is shown anew.
            let _ = self.shared.hub.go_live(conn, &channel, &registered.position, &[frame]);
        }
        self.shared.hub.leave(conn, &channel);
    }
}
