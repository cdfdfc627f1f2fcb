//! A client of the native dialect on a WebSocket.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;

use crate::auth::{Carrier, Refusal as NotAccepted};
use crate::domain::{Caller, ChannelName, Cursor, Identity, ReadError};
use crate::hub::{AsyncReadWrite, Client, Closed, ConnId, Early, Intake, JoinError, Standstill, close, push_tight};
use crate::protocol::native::{self as frames, Command, Id, Refusal};
use crate::protocol::{Code, NATIVE_WS};

use super::inbox::{self, Inbox, Worker};
use super::join::{Failure, Joined, Start, Wish, join};
use super::roster::Member;
use super::seat::Seat;
use super::stats::count;
use super::{Denied, Limit, Shared, Visit};

/// A socket after its handshake, with what the client had sent ahead.
pub enum Transport {
    /// Goes to a shard's own poll.
    Tcp(std::net::TcpStream, Early),
    /// TLS, unix sockets: stays with tokio.
    Io(Box<dyn AsyncReadWrite>, Early),
}

/// Gives the socket to the hub, with a native client behind it.
pub fn open(shared: &Arc<Shared>, transport: Transport, visit: &Visit) -> ConnId {
    let client = Arc::new(Native {
        shared: shared.clone(),
        seat: Seat::new(&shared.roster, visit),
        inbox: Inbox::new(),
        subscriptions: Mutex::new(Vec::new()),
    });
    count(&shared.stats.websockets);
    let conn = match transport {
        Transport::Tcp(tcp, early) => shared.hub.adopt_tcp(tcp, early, NATIVE_WS, client.clone()),
        Transport::Io(io, early) => shared.hub.adopt_io(io, early, NATIVE_WS, client.clone()),
    };
    // Commands that came meanwhile wait for `attach`, so that nothing is answered before the welcome.
    let number = format!("c{}", shared.next_number());
    client.send(conn, |out| frames::welcome(out, &number, shared.hub_config.heartbeat_ms, &shared.limits()));
    client.seat.take(conn, &client);
    inbox::attach(&client, conn);
    conn
}

/// Idle size is what counts here: 128 bytes and 16 per subscription.
struct Native {
    shared: Arc<Shared>,
    seat: Seat,
    inbox: Inbox<Result<Command, Refusal>>,
    /// What the client believes to be subscribed to, joining ones included.
    subscriptions: Mutex<Vec<ChannelName>>,
}

impl Client for Native {
    fn text(self: Arc<Self>, payload: &str) -> Intake {
        let config = &self.shared.config;
        let work = frames::decode(payload, config.subscriptions_per_connection_max, self.shared.channel_bytes_max());
        count(if work.is_ok() { &self.shared.stats.commands } else { &self.shared.stats.refused_frames });
        let leaving = matches!(work, Ok(Command::Unsubscribe { .. }));
        let intake = inbox::push(&self, work);
        if leaving {
            // A join that still waits for its snapshot can stop.
            self.inbox.look();
        }
        intake
    }

    fn binary(self: Arc<Self>) -> Intake {
        count(&self.shared.stats.refused_frames);
        inbox::push(&self, Err(Code::BinaryUnsupported.into()))
    }

    fn reset(self: Arc<Self>) {
        inbox::start_over(&self);
    }

    fn closed(self: Arc<Self>, _why: Closed) {
        inbox::close(&*self);
        self.seat.leave();
    }
}

impl Worker for Native {
    type Work = Result<Command, Refusal>;

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn inbox(&self) -> &Inbox<Self::Work> {
        &self.inbox
    }

    async fn work(&self, conn: ConnId, work: Self::Work) {
        match work {
            Ok(Command::Subscribe { channels, cursor, id }) => {
                self.subscribe(conn, channels, cursor.as_deref(), id.as_ref()).await;
            }
            Ok(Command::Unsubscribe { channels, id }) => {
                for channel in channels {
                    self.unsubscribe(conn, &channel, id.as_ref());
                }
            }
            Ok(Command::Auth { token, id }) => self.authenticate(conn, token.expose(), id.as_ref()).await,
            Ok(Command::Ping { id }) => self.send(conn, |out| frames::pong(out, id.as_ref())),
            Err(Refusal { code, message, channel, id }) => {
                self.send(conn, |out| frames::error(out, code, &message, channel.as_deref(), id.as_ref()));
            }
        }
    }

    /// Every subscription is told `reset` and gets a fresh snapshot. A permit bounds how many connections do so at
    /// the same time: all of them want to, and the database has just come back.
    async fn start_over(&self, conn: ConnId) {
        let _permit = self.shared.resets.acquire().await.expect("never closed");
        let mut channels = self.subscriptions().clone();
        // They start over when they are released.
        channels.retain(|channel| !self.seat.is_held(channel));
        let wish = Wish { cursor: None, reset: Some(Code::StreamRestarted) };
        let failures: Vec<Failure> = stream::iter(channels)
            .map(|channel| async move { self.join(conn, &channel, wish, None).await.err() })
            .buffer_unordered(self.shared.config.joins_at_once_max.max(1))
            .filter_map(|failure| async { failure })
            .collect()
            .await;
        // A client that did not ask should not have to notice that single channels were lost: let it come back.
        if failures.iter().any(|f| matches!(f, Failure::Read(ReadError::Unavailable))) {
            self.shared.hub.close(conn, close::TRY_LATER, Code::DatabaseUnavailable.as_str());
        }
    }
}

impl Native {
    async fn subscribe(&self, conn: ConnId, channels: Vec<ChannelName>, cursor: Option<&Cursor>, id: Option<&Id>) {
        let refuse = |channel: &ChannelName, code: Code, message: &str| {
            self.send(conn, |out| frames::error(out, code, message, Some(channel.as_str()), id));
        };
        let mut reserved = Vec::with_capacity(channels.len());
        for channel in channels {
            let channel = self.shared.hub.shared_name(channel);
            match self.reserve(&channel) {
                Ok(()) => reserved.push(channel),
                Err(code) => refuse(&channel, code, code.message()),
            }
        }
        let identity = self.seat.identity();
        let admission = &self.shared.admission;
        let answers = join_all(reserved.iter().map(|channel| admission.may_listen(&identity, channel))).await;
        let mut accepted = Vec::with_capacity(reserved.len());
        for (channel, answer) in reserved.into_iter().zip(answers) {
            let Err(denied) = answer else {
                accepted.push(channel);
                continue;
            };
            self.forget(&channel);
            let code = if denied == Denied::Unknown { Code::DatabaseUnavailable } else { Code::Forbidden };
            refuse(&channel, code, denied.message());
        }
        stream::iter(&accepted)
            .for_each_concurrent(self.shared.config.joins_at_once_max.max(1), |channel| async move {
                let wish = Wish { cursor, reset: None };
                // Its failure was told to the client.
                let _ = self.join(conn, channel, wish, id).await;
            })
            .await;
    }

    /// Noted before it is asked whether it may be: what changes meanwhile ends it.
    fn reserve(&self, channel: &ChannelName) -> Result<(), Code> {
        {
            let mut subscriptions = self.subscriptions();
            if subscriptions.contains(channel) {
                return Err(Code::AlreadySubscribed);
            }
            if subscriptions.len() >= self.shared.config.subscriptions_per_connection_max {
                return Err(Code::TooManySubscriptions);
            }
            push_tight(&mut subscriptions, channel.clone());
        }
        self.seat.guard(channel);
        Ok(())
    }

    /// Another identity in place: the subscriptions stay that it may have.
    async fn authenticate(&self, conn: ConnId, token: &str, id: Option<&Id>) {
        let auth = &self.shared.auth;
        let refused = |message: &str| {
            self.send(conn, |out| frames::error(out, Code::TokenNotValid, message, None, id));
        };
        if !auth.takes(Carrier::Frame) {
            return refused("Tokens are not taken in frames here: see auth.carriers.");
        }
        let caller = match auth.token(token).await {
            Ok(caller) => caller,
            Err(NotAccepted::Database(_)) => {
                let code = Code::DatabaseUnavailable;
                return self.send(conn, |out| {
                    frames::error(out, code, "Nobody can be asked who this is: try again.", None, id)
                });
            }
            Err(why) => return refused(&format!("{why}: nothing was changed.")),
        };
        let identity = caller.identity.clone();
        if !self.seat.replace(caller, &self.shared.users) {
            self.shared.stats.refusals.count(Limit::ConnectionsPerUser);
            let code = Code::ConnectionLimit;
            return self.send(conn, |out| frames::error(out, code, code.message(), None, id));
        }
        let channels = self.subscriptions().clone();
        self.seat.check(channels).await;
        self.send(conn, |out| frames::authenticated(out, identity.user.as_deref(), identity.expires_at_us, id));
    }

    fn unsubscribe(&self, conn: ConnId, channel: &ChannelName, id: Option<&Id>) {
        if self.leave(conn, channel) {
            self.send(conn, |out| frames::unsubscribed(out, channel.as_str(), id));
        } else {
            let code = Code::NotSubscribed;
            self.send(conn, |out| frames::error(out, code, code.message(), Some(channel.as_str()), id));
        }
    }

    /// Joins a reserved channel. On failure the client is told, and is not subscribed.
    async fn join(&self, conn: ConnId, channel: &ChannelName, wish: Wish<'_>, id: Option<&Id>) -> Result<(), Failure> {
        let encode = |joined: &Joined| lead(channel, joined, id);
        let result = tokio::select! {
            biased;
            () = self.unwanted(channel) => {
                // Still reserved: the `unsubscribe` that waits in the inbox gives it back, and is answered.
                self.shared.hub.leave(conn, channel);
                return Ok(());
            }
            result = join(&self.shared, conn, channel, wish, || self.subscriptions().contains(channel), encode) => result,
        };
        if wish.reset.is_some() && matches!(result, Err(Failure::Code(Code::AlreadySubscribed))) {
            // Joined after the new stream had begun: there is nothing to start over.
            return Ok(());
        }
        if let Err(failure) = &result {
            count(&self.shared.stats.joins_failed);
            if !self.forget(channel) {
                // It was ended from outside, and told so.
                return result;
            }
            let (code, message) = (failure.code(), failure.message());
            self.send(conn, |out| {
                if let Some(reset) = wish.reset {
                    frames::reset(out, channel.as_str(), reset);
                }
            });
            self.send(conn, |out| frames::error(out, code, &message, Some(channel.as_str()), id));
        }
        result
    }

    /// Ends when an `unsubscribe` of the channel waits in the inbox.
    async fn unwanted(&self, channel: &ChannelName) {
        let looks = self.inbox.looks();
        loop {
            let look = looks.notified();
            let asked = |work: &Result<Command, Refusal>| matches!(work, Ok(Command::Unsubscribe { channels, .. }) if channels.contains(channel));
            if self.inbox.any(asked) || !self.subscriptions().contains(channel) {
                return;
            }
            look.await;
        }
    }

    fn forget(&self, channel: &ChannelName) -> bool {
        self.forget_in(&mut self.subscriptions(), channel)
    }

    /// Noted, then left: see `join`. Whoever asks for the channel again meanwhile has to wait, or would be left as well.
    fn leave(&self, conn: ConnId, channel: &ChannelName) -> bool {
        let mut subscriptions = self.subscriptions();
        let found = self.forget_in(&mut subscriptions, channel);
        if found {
            self.shared.hub.leave(conn, channel);
        }
        found
    }

    fn forget_in(&self, subscriptions: &mut Vec<ChannelName>, channel: &ChannelName) -> bool {
        let found = subscriptions.iter().position(|c| c == channel);
        if let Some(at) = found {
            subscriptions.swap_remove(at);
            self.seat.unguard(channel);
        }
        found.is_some()
    }

    fn subscriptions(&self) -> MutexGuard<'_, Vec<ChannelName>> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, conn: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        write(&mut out);
        if !out.is_empty() {
            self.shared.hub.send(conn, &out);
        }
    }
}

impl Member for Native {
    fn caller(&self) -> Arc<Caller> {
        self.seat.caller()
    }

    fn channels(&self) -> Vec<ChannelName> {
        self.subscriptions().clone()
    }

    fn expel(&self, channel: &ChannelName, code: Code) {
        let Some(conn) = self.seat.conn() else { return };
        if self.leave(conn, channel) {
            self.inbox.look();
            self.send(conn, |out| frames::expelled(out, channel.as_str(), code));
        }
    }

    fn hold(&self, channel: &ChannelName) -> Option<Standstill> {
        self.shared.hub.hold(self.seat.conn()?, channel)
    }

    fn release(self: Arc<Self>, channel: &ChannelName, still: &Standstill) {
        let Some(conn) = self.seat.conn() else { return };
        // Too much was kept, or there is a new stream.
        if self.shared.hub.release(conn, channel, still) == Err(JoinError::Overflow) {
            inbox::start_over(&self);
        }
    }

    fn end(&self, close_code: u16, code: Code, reason: &str) {
        let Some(conn) = self.seat.conn() else { return };
        self.send(conn, |out| frames::error(out, code, code.message(), None, None));
        self.shared.hub.close(conn, close_code, reason);
    }

    fn renew(&self, was: &Arc<Caller>, identity: Arc<Identity>) -> bool {
        self.seat.renew(was, identity)
    }

    fn expiring(&self, at_us: i64) {
        let Some(conn) = self.seat.conn() else { return };
        self.send(conn, |out| frames::token_expiring(out, at_us));
    }
}

/// What comes before the stream: `reset` where the client must discard what it had, `subscribed`, then the snapshot
/// or the missed events.
fn lead(channel: &ChannelName, joined: &Joined, id: Option<&Id>) -> Vec<Bytes> {
    let name = channel.as_str();
    let cursor = joined.cursor.to_string();
    let mut lead = Vec::new();
    let mut frame = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        lead.push(Bytes::from(out));
    };
    match &joined.start {
        Start::Fresh { reset, data } => {
            if let Some(code) = reset {
                frame(&|out| frames::reset(out, name, *code));
            }
            frame(&|out| frames::subscribed(out, name, joined.family.state, false, &cursor, id));
            frame(&|out| frames::snapshot(out, name, data, &cursor));
        }
        Start::Resumed(events) => {
            frame(&|out| frames::subscribed(out, name, joined.family.state, true, &cursor, id));
            for (message, position) in events {
                let at = Cursor { incarnation: joined.cursor.incarnation, position: position.clone() }.to_string();
                frame(&|out| frames::message(out, name, message, Some(&at)));
            }
        }
    }
    lead
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the 1.5 KiB that an idle connection with two subscriptions may cost in all, most is the hub's.
    #[test]
    fn an_idle_client_is_small() {
        assert!(size_of::<Native>() <= 120, "{} bytes", size_of::<Native>());
    }
}
