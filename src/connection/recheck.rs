//! Whether those who listen still may, asked of all of them together. Content waits for it, but nobody for ever.
//!
//! ```text
//!  asked ─▶ known ──────────────────────────────▶ goes on, or is cut off
//!       └─▶ not in `recheck_timeout_ms`: held ─▶ asked on ─▶ released, or cut off; at the latest after `HELD_MAX`
//!                                          ▲      │ something has changed since it was asked
//!                                          └──────┘
//! ```
//! The others go on meanwhile. What comes for who is held is kept by the hub; if that is too much, it starts over. Who cannot be held (an event stream,
//! an endpoint, or a subscription that is only about to begin) is ended, and comes again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::auth::{Action, Verdict};
use crate::domain::{ChannelName, Identity};
use crate::hub::Standstill;

use super::roster::{Member, Roster};

/// How long a subscription is held at most, beside the last question.
const HELD_MAX: Duration = Duration::from_secs(30);

/// A subscription of which it is not known yet whether it may go on.
pub(super) struct Held {
    /// None: about to be, and until then content comes to it.
    still: Option<Standstill>,
    /// Something has changed since it was asked.
    stale: bool,
}

#[derive(Clone)]
pub(super) struct Subscription {
    number: u64,
    member: Arc<dyn Member>,
    pub(super) channel: ChannelName,
}

/// A verdict on those who stand behind one question.
type Told = mpsc::UnboundedReceiver<(usize, Verdict)>;

impl Roster {
    /// Must it not go on, for now?
    pub(super) fn is_held(&self, number: u64, channel: &ChannelName) -> bool {
        let state = self.state();
        !state.held.is_empty() && state.held.contains_key(&(number, channel.clone()))
    }

    /// Those of its channels that it may not listen to any more are cut off.
    pub(super) async fn check(&self, number: u64, channels: Vec<ChannelName>) {
        let member = self.state().members.get(&number).and_then(|entry| entry.member.upgrade());
        let Some(member) = member else { return };
        let all = channels.into_iter().map(|channel| Subscription { number, member: member.clone(), channel });
        self.check_all(all.collect()).await;
    }

    /// Those of the guarded channels that are `meant`.
    pub(super) async fn check_guarded(&self, meant: impl Fn(&ChannelName) -> bool) {
        let concerned: Vec<Subscription> = {
            let state = self.state();
            let channels = state.guarded.iter().filter(|(channel, _)| meant(channel));
            let pairs = channels.flat_map(|(channel, numbers)| numbers.iter().map(move |n| (channel, *n)));
            let entered = pairs.filter_map(|(channel, number)| {
                let member = state.members.get(&number)?.member.upgrade()?;
                Some(Subscription { number, member, channel: channel.clone() })
            });
            entered.collect()
        };
        self.check_all(concerned).await;
    }

    /// Bounded in time: of whom it is not known by then is held, and asked about on.
    pub(super) async fn check_all(&self, mut subscriptions: Vec<Subscription>) {
        let held: Vec<Subscription>;
        {
            let mut state = self.state();
            // Whoever is held gets nothing, and is asked about again.
            let mut is_held = |s: &Subscription| match state.held.get_mut(&s.key()) {
                Some(held) => {
                    held.stale = true;
                    held.still.is_some()
                }
                None => false,
            };
            (held, subscriptions) = subscriptions.into_iter().partition(&mut is_held);
        }
        drop(held);
        let Some(me) = self.me.upgrade().filter(|_| !subscriptions.is_empty()) else { return };
        let until = Instant::now() + self.timeout + HELD_MAX;
        let (mut open, mut told) = self.ask(&subscriptions, until);
        let mut left = open.len();
        let enough = tokio::time::sleep(self.timeout);
        tokio::pin!(enough);
        while left > 0 {
            tokio::select! {
                said = told.recv() => match said {
                    Some((n, verdict)) => {
                        left -= usize::from(!open[n].is_empty());
                        for at in open[n].drain(..) {
                            let Subscription { member, channel, .. } = &subscriptions[at];
                            self.judge(&**member, channel, verdict);
                        }
                    }
                    None => break,
                },
                () = &mut enough => break,
            }
        }
        for at in open.iter_mut() {
            at.retain(|at| self.hold(&subscriptions[*at]));
        }
        if open.iter().any(|at| !at.is_empty()) {
            tokio::spawn(async move { me.settle(subscriptions, open, told, until).await });
        }
    }

    /// Begins to ask; of each question those who stand behind it. A thousand of one user on one channel are one.
    fn ask(&self, subscriptions: &[Subscription], until: Instant) -> (Vec<Vec<usize>>, Told) {
        let mut questions: Vec<(Arc<Identity>, ChannelName)> = Vec::new();
        let mut behind: Vec<Vec<usize>> = Vec::new();
        let callers: Vec<Arc<Identity>> = subscriptions.iter().map(|s| s.member.caller().identity.clone()).collect();
        let mut known: HashMap<(usize, &str, &ChannelName), usize> = HashMap::new();
        for (at, (who, Subscription { channel, .. })) in callers.iter().zip(subscriptions).enumerate() {
            let key = match who.claims.is_empty() {
                // Servers and strangers have no claims: told apart by their own.
                true => (Arc::as_ptr(who) as usize, "", channel),
                false => (0, &*who.claims, channel),
            };
            let n = *known.entry(key).or_insert_with(|| {
                questions.push((who.clone(), channel.clone()));
                behind.push(Vec::new());
                questions.len() - 1
            });
            behind[n].push(at);
        }
        self.auth.stats.rechecks.fetch_add(questions.len() as u64, Relaxed);
        let (tell, told) = mpsc::unbounded_channel();
        let access = self.access.clone();
        tokio::spawn(async move {
            let questions: Vec<_> = questions.iter().map(|(who, channel)| (&**who, channel)).collect();
            let tell = |n, verdict| _ = tell.send((n, verdict)); // nobody may wait any more
            access.ask_each(Action::Listen, &questions, Some(until), tell).await;
        });
        (behind, told)
    }

    /// False: it cannot be, and is cut off.
    fn hold(&self, subscription: &Subscription) -> bool {
        {
            let mut state = self.state();
            if let Some(held) = state.held.get_mut(&subscription.key()) {
                // By another check, which may have asked before.
                held.stale = true;
                return false;
            }
            // Before it is, so that nothing that begins anew meanwhile passes by.
            let held = Held { still: None, stale: false };
            state.held.insert(subscription.key(), held);
        }
        let still = subscription.member.hold(&subscription.channel);
        let mut state = self.state();
        match (still, state.held.get_mut(&subscription.key())) {
            (Some(still), Some(held)) => {
                held.still = Some(still);
                return true;
            }
            // It was asked for anew meanwhile, and that is not in doubt.
            (Some(still), None) => {
                drop(state);
                subscription.member.clone().release(&subscription.channel, &still);
                return false;
            }
            // It has left meanwhile.
            (None, None) => return false,
            (None, Some(_)) => drop(state.held.remove(&subscription.key())),
        }
        drop(state);
        self.judge(&*subscription.member, &subscription.channel, Verdict::Unknown);
        false
    }

    /// Goes on with those who are held, until it is known of all.
    async fn settle(
        &self,
        mut subscriptions: Vec<Subscription>,
        mut open: Vec<Vec<usize>>,
        mut told: Told,
        until: Instant,
    ) {
        loop {
            let mut again = Vec::new();
            while let Some((n, verdict)) = told.recv().await {
                for at in open[n].drain(..) {
                    self.settled(&subscriptions[at], verdict, until, &mut again);
                }
            }
            for at in open.iter().flatten() {
                self.settled(&subscriptions[*at], Verdict::Unknown, until, &mut again);
            }
            if again.is_empty() {
                return;
            }
            subscriptions = again;
            (open, told) = self.ask(&subscriptions, until);
        }
    }

    fn settled(
        &self,
        subscription: &Subscription,
        mut verdict: Verdict,
        until: Instant,
        again: &mut Vec<Subscription>,
    ) {
        let Subscription { member, channel, .. } = subscription;
        let still = {
            let mut state = self.state();
            let Some(held) = state.held.get_mut(&subscription.key()) else { return };
            let may = verdict == Verdict::Allowed || (verdict == Verdict::Unopened && member.has_own_door());
            if may && std::mem::take(&mut held.stale) {
                if Instant::now() < until {
                    return again.push(subscription.clone());
                }
                verdict = Verdict::Unknown;
            }
            state.held.remove(&subscription.key()).and_then(|held| held.still)
        };
        if self.judge(&**member, channel, verdict)
            && let Some(still) = still
        {
            member.clone().release(channel, &still);
        }
    }
}

impl Subscription {
    fn key(&self) -> (u64, ChannelName) {
        (self.number, self.channel.clone())
    }
}

pub(super) fn subscriptions_of(number: u64, member: &Arc<dyn Member>) -> impl Iterator<Item = Subscription> {
    let channels = member.channels().into_iter();
    channels.map(move |channel| Subscription { number, member: member.clone(), channel })
}
