//! Everybody who is connected, for what ends or changes it from outside: a rule's data, an expiry, a session's end, a
//! disconnect.
//!
//! ```text
//!  drain touches what a rule reads ─▶ recheck ─▶ one query ─▶ those who lost it are cut off ─▶ the drain's content goes out
//!  clock ─▶ expiring soon: told; expired: 4401 ─▶ sessions, users, keys: one look at all of them
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
use crate::hub::{Few, close};
use crate::protocol::Code;

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
    access: Arc<Access>,
    auth: Arc<Auth>,
    timeout: Duration,
    next: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    members: HashMap<u64, Entry>,
    /// Channels that data can take from somebody, and who listens to them.
    guarded: HashMap<ChannelName, Numbers>,
    /// When a connection is to be looked at, microseconds since 1970.
    due: BTreeSet<(i64, u64)>,
}

struct Entry {
    member: Weak<dyn Member>,
    /// Its place in `due`.
    due_us: Option<i64>,
    /// Where it stands in `guarded`.
    guarded: Few<ChannelName>,
}

/// Who listens to one channel. Of the channels that are guarded, most are one user's own.
enum Numbers {
    One(u64),
    #[expect(clippy::box_collection, reason = "the rare case must not make the usual one larger")]
    Many(Box<HashSet<u64>>),
}

impl Roster {
    pub fn new(auth: Arc<Auth>, access: Arc<Access>) -> Self {
        let timeout = Duration::from_millis(auth.config().recheck_timeout_ms);
        Self { access, auth, timeout, next: AtomicU64::new(1), state: Mutex::default() }
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
        let Some(entry) = state.members.get_mut(&number) else { return };
        if let Some(at) = entry.guarded.iter().position(|c| c == channel) {
            entry.guarded.swap_remove(at);
            state.let_go(number, channel);
        }
    }

    fn lead_us(&self) -> i64 {
        (self.auth.config().expiring_lead_ms as i64).saturating_mul(1000)
    }

    /// Those who may not listen any more are cut off. Bounded in time: whom it could not be found out of, too.
    pub(super) async fn check(&self, channels: Vec<ChannelName>, member: &dyn Member) {
        self.check_all(&channels.into_iter().map(|channel| (member, channel)).collect::<Vec<_>>()).await;
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

    /// Those of the guarded channels that are `meant`.
    async fn check_guarded(&self, meant: impl Fn(&ChannelName) -> bool) {
        let concerned: Vec<(Arc<dyn Member>, ChannelName)> = {
            let state = self.state();
            let channels = state.guarded.iter().filter(|(channel, _)| meant(channel));
            let pairs = channels.flat_map(|(channel, numbers)| numbers.iter().map(move |n| (channel, n)));
            pairs.filter_map(|(channel, n)| Some((state.members.get(n)?.member.upgrade()?, channel.clone()))).collect()
        };
        let all: Vec<_> = concerned.iter().map(|(member, channel)| (&**member, channel.clone())).collect();
        self.check_all(&all).await;
    }

    async fn check_all(&self, subscriptions: &[(&dyn Member, ChannelName)]) {
        if subscriptions.is_empty() {
            return;
        }
        // A thousand of one user on one channel are one question.
        let callers: Vec<Arc<Identity>> =
            subscriptions.iter().map(|(member, _)| member.caller().identity.clone()).collect();
        let mut questions: Vec<(&Identity, &ChannelName)> = Vec::new();
        let mut known: HashMap<(usize, &str, &ChannelName), usize> = HashMap::new();
        let mut of = Vec::with_capacity(subscriptions.len());
        for (who, (_, channel)) in callers.iter().zip(subscriptions) {
            let key = match who.claims.is_empty() {
                // Servers and strangers have no claims: told apart by their own.
                true => (Arc::as_ptr(who) as usize, "", channel),
                false => (0, &*who.claims, channel),
            };
            of.push(*known.entry(key).or_insert_with(|| {
                questions.push((who, channel));
                questions.len() - 1
            }));
        }
        self.auth.stats.rechecks.fetch_add(questions.len() as u64, Relaxed);
        let verdicts = self.access.ask_all(Action::Listen, &questions, Some(self.timeout)).await;
        for ((member, channel), n) in subscriptions.iter().zip(of) {
            self.judge(*member, channel, verdicts[n]);
        }
    }

    /// False: it may not listen any more, and is cut off.
    fn judge(&self, member: &dyn Member, channel: &ChannelName, verdict: Verdict) -> bool {
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
            let callers: Vec<Arc<Caller>> = members.iter().map(|member| member.caller()).collect();
            let standings = match self.auth.again(&callers).await {
                Ok(standings) => standings,
                Err(error) => return tracing::warn!(%error, "auth.recheck: sessions cannot be looked at; trying again"),
            };
            let mut renewed = Vec::new();
            for ((member, caller), standing) in members.iter().zip(&callers).zip(standings) {
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
                            let channels = member.channels().into_iter();
                            renewed.extend(channels.map(|channel| (&**member, channel)));
                        }
                    }
                }
            }
            self.check_all(&renewed).await;
        }
    }

    fn members(&self) -> Vec<Arc<dyn Member>> {
        self.state().members.values().filter_map(|entry| entry.member.upgrade()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
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

    fn iter(&self) -> impl Iterator<Item = &u64> {
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
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(TICK).await;
            let Some(roster) = weak.upgrade() else { return };
            roster.tick(roster.auth.now_us());
            between += TICK;
            if between >= Duration::from_millis(roster.auth.config().recheck_interval_ms) {
                between = Duration::ZERO;
                roster.look_again().await;
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
            let entered: Vec<(u64, Arc<dyn Member>)> = {
                let state = self.state();
                state.members.iter().filter_map(|(n, entry)| Some((*n, entry.member.upgrade()?))).collect()
            };
            let mut all = Vec::new();
            for (number, member) in &entered {
                for channel in member.channels() {
                    self.guard(*number, &channel);
                    all.push((&**member, channel));
                }
            }
            self.check_all(&all).await;
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
        self.auth.departed.note(user, reason);
        for member in self.members() {
            if member.caller().identity.user.as_deref() == Some(user) {
                self.auth.stats.lost(Loss::Disconnected);
                member.end(close::UNAUTHORIZED, Code::Unauthorized, reason);
            }
        }
    }
}
