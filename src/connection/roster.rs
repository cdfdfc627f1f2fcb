//! Everybody who is connected, for what ends or changes it from outside: a rule's data, an expiry, a session's end, a
//! disconnect.
//!
//! ```text
//!  drain touches what a rule reads ─▶ recheck ─▶ those who lost it are cut off ─▶ the drain's content goes out
//!  clock ─▶ expiring soon: told; expired: 4401        beside it ─▶ sessions, users, keys: one look at all of them
//! ```
//! A subscription is entered before it is asked whether it may be, so that no change falls between. One clock for all:
//! expiries stand in order in one set, which is as large as the connections that have one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::join_all;

use crate::auth::{Access, Action, Auth, Farewell, Loss, Standing, Verdict};
use crate::domain::{Boxed, Caller, ChannelName, Guard, Identity};
use crate::hub::{Few, Standstill, close};
use crate::protocol::Code;

use super::recheck::{Held, subscriptions_of};

/// How exactly expiries are kept.
const TICK: Duration = Duration::from_millis(250);
/// A configuration that cannot be read is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// Connections that are looked at again together.
const BATCH: usize = 1000;

/// A connection, as it is told that something has ended. None of these may block.
pub(super) trait Member: Send + Sync {
    fn caller(&self) -> Arc<Caller>;
    fn channels(&self) -> Vec<ChannelName>;
    /// Its subscription must not get another message.
    fn expel(&self, channel: &ChannelName, code: Code);
    /// What comes on the channel from here on is kept for it, not delivered. None: this one cannot.
    fn hold(&self, _channel: &ChannelName) -> Option<Standstill> {
        None
    }
    /// What was kept since is delivered now.
    fn release(self: Arc<Self>, _channel: &ChannelName, _still: &Standstill) {}
    /// The connection ends.
    fn end(&self, close_code: u16, code: Code, reason: &str);
    fn expiring(&self, _at_us: i64) {}
    /// The same user has other rights. True: they are taken over, and what it listens to is to be asked anew.
    fn renew(&self, was: &Arc<Caller>, identity: Arc<Identity>) -> bool;
    /// Whoever opened this endpoint decided who comes in, where no rule does.
    fn has_own_door(&self) -> bool {
        false
    }
}

pub struct Roster {
    pub(super) me: Weak<Roster>,
    pub(super) access: Arc<Access>,
    pub(super) auth: Arc<Auth>,
    pub(super) timeout: Duration,
    next: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) members: HashMap<u64, Entry>,
    /// Channels that data can take from somebody, and who listens to them.
    pub(super) guarded: HashMap<ChannelName, Numbers>,
    /// When a connection is to be looked at, microseconds since 1970.
    due: BTreeSet<(i64, u64)>,
    /// Subscriptions of which it is not known yet whether they may go on.
    pub(super) held: HashMap<(u64, ChannelName), Held>,
}

pub(super) struct Entry {
    pub(super) member: Weak<dyn Member>,
    /// Its place in `due`.
    due_us: Option<i64>,
    /// Where it stands in `guarded`.
    guarded: Few<ChannelName>,
}

/// Who listens to one channel. Of the channels that are guarded, most are one user's own.
pub(super) enum Numbers {
    One(u64),
    #[expect(clippy::box_collection, reason = "the rare case must not make the usual one larger")]
    Many(Box<HashSet<u64>>),
}

impl Roster {
    pub fn new(auth: Arc<Auth>, access: Arc<Access>) -> Arc<Self> {
        let timeout = Duration::from_millis(auth.config().recheck_timeout_ms);
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            access,
            auth,
            timeout,
            next: AtomicU64::new(1),
            state: Mutex::default(),
        })
    }

    /// A number that was never anybody's.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }

    pub(super) fn enter(&self, number: u64, member: Weak<dyn Member>, caller: &Caller) {
        self.state().members.insert(number, Entry { member, due_us: None, guarded: Few::None });
        self.note_expiry(number, &caller.identity);
        self.say_farewell(number, caller);
    }

    /// Whoever was disconnected while it was on its way in is sent away now.
    pub(super) fn say_farewell(&self, number: u64, caller: &Caller) {
        let Some(user) = &caller.identity.user else { return };
        let Some(farewell) = self.auth.departed.since(caller.mark, user) else { return };
        let member = self.state().members.get(&number).and_then(|entry| entry.member.upgrade());
        let Some(member) = member else { return };
        self.auth.stats.lost(Loss::Disconnected);
        match farewell {
            Farewell::Sent(reason) => member.end(close::UNAUTHORIZED, Code::Unauthorized, &reason),
            Farewell::Unknown => member.end(close::TRY_LATER, Code::Overloaded, Code::Overloaded.as_str()),
        }
    }

    pub(super) fn leave(&self, number: u64) {
        let mut state = self.state();
        let Some(entry) = state.members.remove(&number) else { return };
        state.be_due(number, entry.due_us, None);
        for channel in &*entry.guarded {
            state.let_go(number, channel);
        }
        if !state.held.is_empty() {
            state.held.retain(|(of, _), _| *of != number);
        }
    }

    /// It will be looked at before it expires, and when it has.
    pub(super) fn note_expiry(&self, number: u64, identity: &Identity) {
        let at_us = identity.expires_at_us.map(|at_us| at_us.saturating_sub(self.lead_us()));
        let mut state = self.state();
        let Some(entry) = state.members.get_mut(&number) else { return };
        let before = std::mem::replace(&mut entry.due_us, at_us);
        state.be_due(number, before, at_us);
    }

    /// From here on, changes of data concern this subscription. Before it is asked whether it may be.
    pub(super) fn guard(&self, number: u64, channel: &ChannelName) {
        if !self.access.is_guarded(channel) {
            return;
        }
        let mut state = self.state();
        let Some(entry) = state.members.get_mut(&number) else { return };
        if !entry.guarded.contains(channel) {
            entry.guarded.push(channel.clone());
            state.guarded.entry(channel.clone()).and_modify(|all| all.insert(number)).or_insert(Numbers::One(number));
        }
    }

    pub(super) fn unguard(&self, number: u64, channel: &ChannelName) {
        let mut state = self.state();
        if !state.held.is_empty() {
            state.held.remove(&(number, channel.clone()));
        }
        let Some(entry) = state.members.get_mut(&number) else { return };
        if let Some(at) = entry.guarded.iter().position(|c| c == channel) {
            entry.guarded.swap_remove(at);
            state.let_go(number, channel);
        }
    }

    fn lead_us(&self) -> i64 {
        (self.auth.config().expiring_lead_ms as i64).saturating_mul(1000)
    }

    /// Once more, now that the member is entered: what changed between its being let in and this concerned nobody. Asked
    /// together with others who come. True: nothing was lost.
    pub(super) async fn check_self(&self, channels: &[ChannelName], member: &dyn Member) -> bool {
        let identity = member.caller().identity.clone();
        let asking = channels.iter().map(|channel| self.access.ask(Action::Listen, &identity, channel));
        let verdicts = join_all(asking).await;
        let mut kept = true;
        for (channel, verdict) in channels.iter().zip(verdicts) {
            kept &= self.judge(member, channel, verdict);
        }
        kept
    }

    /// False: it may not listen any more, and is cut off.
    pub(super) fn judge(&self, member: &dyn Member, channel: &ChannelName, verdict: Verdict) -> bool {
        let code = match verdict {
            Verdict::Allowed => return true,
            Verdict::Unopened if member.has_own_door() => return true,
            Verdict::Unknown => Code::AccessUnknown,
            Verdict::Denied | Verdict::Unopened => Code::AccessLost,
        };
        self.auth.stats.lost(if code == Code::AccessUnknown { Loss::AccessUnknown } else { Loss::Access });
        member.expel(channel, code);
        false
    }

    /// One look at what is due.
    pub(super) fn tick(&self, now_us: i64) {
        loop {
            let member = {
                let mut state = self.state();
                let Some((_, number)) = state.due.first().copied().filter(|(at_us, _)| *at_us <= now_us) else {
                    return;
                };
                state.due.pop_first();
                let Some(entry) = state.members.get_mut(&number) else { continue };
                entry.due_us = None;
                let Some(member) = entry.member.upgrade() else { continue };
                // Told once; the next look is at the end.
                let ends_us = member.caller().identity.expires_at_us;
                if let Some(ends_us) = ends_us.filter(|ends_us| *ends_us > now_us) {
                    entry.due_us = Some(ends_us);
                    state.due.insert((ends_us, number));
                }
                member
            };
            match member.caller().identity.expires_at_us {
                Some(ends_us) if ends_us > now_us => member.expiring(ends_us),
                Some(_) => {
                    self.auth.stats.lost(Loss::Expired);
                    member.end(close::UNAUTHORIZED, Code::Unauthorized, "the token has expired");
                }
                None => {}
            }
        }
    }

    /// One look at everything behind the connections that can end, or change, without a word: one query of each kind for
    /// each `BATCH` of them.
    pub(super) async fn look_again(&self) {
        for members in self.members().chunks(BATCH) {
            let callers: Vec<Arc<Caller>> = members.iter().map(|(_, member)| member.caller()).collect();
            let standings = self.auth.again(&callers).await;
            let mut renewed = Vec::new();
            for (((number, member), caller), standing) in members.iter().zip(&callers).zip(standings) {
                match standing {
                    Standing::Holds => {}
                    // It has shown other credentials meanwhile.
                    Standing::Ended if !Arc::ptr_eq(caller, &member.caller()) => {}
                    Standing::Ended => {
                        self.auth.stats.lost(Loss::Ended);
                        member.end(close::UNAUTHORIZED, Code::Unauthorized, "the session has ended");
                    }
                    Standing::Changed(identity) => {
                        if member.renew(caller, identity) {
                            renewed.extend(subscriptions_of(*number, member));
                        }
                    }
                }
            }
            self.check_all(renewed).await;
        }
    }

    fn members(&self) -> Vec<(u64, Arc<dyn Member>)> {
        let state = self.state();
        state.members.iter().filter_map(|(number, entry)| Some((*number, entry.member.upgrade()?))).collect()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn be_due(&mut self, number: u64, before_us: Option<i64>, at_us: Option<i64>) {
        if let Some(before_us) = before_us {
            self.due.remove(&(before_us, number));
        }
        self.due.extend(at_us.map(|at_us| (at_us, number)));
    }

    fn let_go(&mut self, number: u64, channel: &ChannelName) {
        if self.guarded.get_mut(channel).is_some_and(|numbers| numbers.remove(number)) {
            self.guarded.remove(channel);
        }
    }
}

impl Numbers {
    fn insert(&mut self, number: u64) {
        match self {
            Numbers::One(one) if *one == number => {}
            Numbers::One(one) => *self = Numbers::Many(Box::new(HashSet::from([*one, number]))),
            Numbers::Many(many) => drop(many.insert(number)),
        }
    }

    /// True: nobody is left.
    fn remove(&mut self, number: u64) -> bool {
        match self {
            Numbers::One(one) => *one == number,
            Numbers::Many(many) => {
                many.remove(&number);
                many.is_empty()
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &u64> {
        let (one, many) = match self {
            Numbers::One(one) => (Some(one), None),
            Numbers::Many(many) => (None, Some(many.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

/// The one clock. Ends with the last other holder of the roster.
pub fn start(roster: &Arc<Roster>) -> tokio::task::JoinHandle<()> {
    let weak = Arc::downgrade(roster);
    let mut between = Duration::ZERO;
    // Beside the clock, which waits for no database.
    let mut look: Option<tokio::task::JoinHandle<()>> = None;
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(TICK).await;
            let Some(roster) = weak.upgrade() else { return };
            roster.tick(roster.auth.now_us());
            between += TICK;
            let due = between >= Duration::from_millis(roster.auth.config().recheck_interval_ms);
            if due && look.as_ref().is_none_or(|look| look.is_finished()) {
                between = Duration::ZERO;
                look = Some(tokio::spawn(async move { roster.look_again().await }));
            }
        }
    })
}

impl Guard for Roster {
    fn reload(&self) -> Boxed<'_, ()> {
        Box::pin(async move {
            let changed = loop {
                match self.access.load().await {
                    Ok(changed) => break changed,
                    Err(error) => tracing::warn!(%error, "auth.reload: the rules cannot be read; trying on"),
                }
                tokio::time::sleep(RETRY).await;
            };
            if !changed {
                return;
            }
            let mut all = Vec::new();
            for (number, member) in self.members() {
                all.extend(subscriptions_of(number, &member).inspect(|s| self.guard(number, &s.channel)));
            }
            self.check_all(all).await;
        })
    }

    fn reads(&self, source: i32) -> bool {
        self.access.reads(source)
    }

    fn recheck<'a>(&'a self, sources: &'a [i32]) -> Boxed<'a, ()> {
        Box::pin(self.check_guarded(|channel| self.access.concerns(sources, channel)))
    }

    fn recheck_all(&self) -> Boxed<'_, ()> {
        Box::pin(self.check_guarded(|_| true))
    }

    fn is_guarded(&self, channel: &ChannelName) -> bool {
        self.access.is_guarded(channel)
    }

    fn disconnect(&self, user: &str, reason: &str) {
        let reason = self.auth.departed.note(user, reason);
        for (_, member) in self.members() {
            if member.caller().identity.user.as_deref() == Some(user) {
                self.auth.stats.lost(Loss::Disconnected);
                member.end(close::UNAUTHORIZED, Code::Unauthorized, reason);
            }
        }
    }
}
