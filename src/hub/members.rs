//! Coming and going: which connections a lane has, and what each listens to.
//!
//! Both directions are kept, each with the place of the other: leaving costs the same however many listen.

use super::Closed;
use super::fanout::{Fanout, Listener, Member, NONE, Port, Sub, Transport};
use super::few::Few;
use super::lane::{Adopted, ConnId, Form, GoingLive, ShuttingDown, guarded, tell_closed};
use super::slab::{Pages, push_tight};

impl<P: Port> Fanout<P> {
    /// The connection hears nothing more and says nothing more; what is queued may still drain, for a while.
    pub fn retire(&mut self, id: ConnId, why: Closed, grace_ms: Option<u64>) {
        let Some(member) = self.member(id) else { return };
        let Some(client) = member.client.take() else { return };
        let subs = std::mem::take(&mut member.subs);
        // A member is in a topic once, so that what moves in a topic is never one of these.
        for sub in subs {
            self.unlisten(sub);
        }
        let grace_ms = grace_ms.unwrap_or(self.core.config.close_grace_ms);
        self.deadlines.insert((self.now_ms().saturating_add(grace_ms), id));
        self.retired.push(id);
        self.core.retire(id);
        tell_closed(client, why);
    }

    /// The connection is gone, its slot free.
    pub fn release(&mut self, id: ConnId) {
        self.retire(id, Closed::Peer, None);
        if self.member(id).is_none() {
            return;
        }
        if let Some(mut member) = self.members[id.slot() as usize].take() {
            member.port.kill(&self.core.stats);
        }
        self.core.let_go(id);
    }

    pub fn adopt<T: Transport<Port = P>>(&mut self, adopted: Adopted, transport: &mut T) {
        let (id, dialect) = (adopted.id, adopted.dialect);
        let now_ms = self.now_ms();
        let slot = id.slot() as usize;
        self.members.reach(slot, || None);
        let client = adopted.client.clone();
        match transport.open(&self.core, now_ms, adopted) {
            Some(port) => {
                let form = Form { dialect, framing: id.framing() };
                let client = Some(client);
                self.members[slot] = Some(Member { id, form, client, port, subs: Vec::new(), head: NONE, tail: NONE });
            }
            None => {
                self.core.retire(id);
                tell_closed(client, Closed::Peer);
                self.core.let_go(id);
            }
        }
    }

    pub fn go_live(&mut self, live: GoingLive) {
        if self.member(live.conn).is_none_or(|m| m.client.is_none()) {
            return;
        }
        for frame in live.frames {
            let n = self.add_frame(frame);
            self.link(live.conn.slot(), n);
        }
        for topic in live.topics {
            let t = topic as usize;
            self.topics.reach(t, Few::default);
            let at = self.topics[t].len() as u32;
            let Some(member) = self.member(live.conn) else { return };
            let sub = member.subs.len() as u32;
            push_tight(&mut member.subs, Sub { topic, at });
            self.topics[t].push(Listener { slot: live.conn.slot(), sub });
        }
    }

    pub fn detach(&mut self, id: ConnId, topic: u32) {
        let Some(member) = self.member(id) else { return };
        let Some(at) = member.subs.iter().position(|s| s.topic == topic) else { return };
        let sub = member.subs.swap_remove(at);
        if let Some(moved) = member.subs.get(at).copied() {
            self.topics[moved.topic as usize][moved.at as usize].sub = at as u32;
        }
        self.unlisten(sub);
    }

    /// Takes the listener of `sub` out of its topic, and tells the one that moves to its place.
    fn unlisten(&mut self, sub: Sub) {
        let listeners = &mut self.topics[sub.topic as usize];
        listeners.swap_remove(sub.at as usize);
        if let Some(moved) = listeners.get(sub.at as usize).copied()
            && let Some(member) = &mut self.members[moved.slot as usize]
            && let Some(s) = member.subs.get_mut(moved.sub as usize)
        {
            s.at = sub.at;
        }
    }

    pub fn reset_all(&mut self) {
        self.topics = Pages::default();
        for id in self.ids() {
            let Some(member) = self.member(id) else { continue };
            member.subs = Vec::new();
            if let Some(client) = member.client.clone() {
                guarded("reset", || client.reset());
            }
        }
    }

    pub fn restart(&mut self, id: ConnId) {
        if let Some(client) = self.member(id).and_then(|m| m.client.clone()) {
            guarded("reset", || client.reset());
        }
    }

    pub fn shut_down(&mut self, shutdown: &ShuttingDown) {
        let grace_ms = shutdown.grace.as_millis() as u64;
        let ids = self.ids();
        for (n, id) in ids.iter().enumerate() {
            let wait_ms = shutdown.back_over_ms * n as u64 / ids.len() as u64;
            let reason = format!("{}: connect again in {wait_ms} ms and resume", shutdown.reason);
            self.close(*id, shutdown.code, &reason, Some(grace_ms));
        }
    }
}
