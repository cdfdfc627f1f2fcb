//! What every connection has, whatever its dialect: who is behind it, and its place in the roster.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::{Caller, ChannelName, Identity};
use crate::hub::ConnId;

use super::places::{Held, Users};
use super::roster::{Member, Roster};
use super::visit::Visit;

pub(super) struct Seat {
    roster: Arc<Roster>,
    number: u64,
    state: Mutex<State>,
}

struct State {
    caller: Arc<Caller>,
    conn: Option<ConnId>,
    /// Of the user that it is.
    place: Option<Arc<Held>>,
}

impl Seat {
    pub fn new(roster: &Arc<Roster>, visit: &Visit) -> Self {
        let caller =
            Caller { identity: visit.identity.clone(), credential: visit.credential.clone(), mark: visit.mark };
        let state = Mutex::new(State { caller: Arc::new(caller), conn: None, place: visit.place.clone() });
        Self { roster: roster.clone(), number: roster.number(), state }
    }

    /// Known to the hub and to the roster from here on.
    pub fn take(&self, conn: ConnId, member: &Arc<impl Member + 'static>) {
        self.state().conn = Some(conn);
        let weak = Arc::downgrade(member);
        self.roster.enter(self.number, weak, &self.caller());
    }

    pub fn conn(&self) -> Option<ConnId> {
        self.state().conn
    }

    pub fn caller(&self) -> Arc<Caller> {
        self.state().caller.clone()
    }

    pub fn identity(&self) -> Arc<Identity> {
        self.caller().identity.clone()
    }

    /// Somebody else, or the same for longer. False: that user has as many connections as it may, and nothing was changed.
    pub fn replace(&self, caller: Caller, users: &Users) -> bool {
        let caller = Arc::new(caller);
        {
            let mut state = self.state();
            if caller.identity.user != state.caller.identity.user {
                // The place before goes back: nobody has two.
                state.place = match caller.identity.user.as_deref().map(|user| users.hold(user)) {
                    Some(None) => return false,
                    place => place.flatten().map(Arc::new),
                };
            }
            state.caller = caller.clone();
        }
        // The clock asks the caller.
        self.roster.note_expiry(self.number, &caller.identity);
        self.roster.say_farewell(self.number, &caller);
        true
    }

    /// The same user with other rights; false: somebody else has taken the place meanwhile.
    pub fn renew(&self, was: &Arc<Caller>, identity: Arc<Identity>) -> bool {
        let mut state = self.state();
        let same = Arc::ptr_eq(&state.caller, was);
        if same {
            state.caller = Arc::new(Caller { identity, ..Caller::clone(was) });
        }
        same
    }

    /// Before it is asked whether the channel may be listened to.
    pub fn guard(&self, channel: &ChannelName) {
        self.roster.guard(self.number, channel);
    }

    /// Those of its channels that it may not listen to any more are cut off.
    pub async fn check(&self, channels: Vec<ChannelName>) {
        self.roster.check(self.number, channels).await;
    }

    /// It is not known whether it may go on with this channel.
    pub fn is_held(&self, channel: &ChannelName) -> bool {
        self.roster.is_held(self.number, channel)
    }

    pub fn unguard(&self, channel: &ChannelName) {
        self.roster.unguard(self.number, channel);
    }

    /// The connection has ended, whoever still has the client.
    pub fn leave(&self) {
        self.roster.leave(self.number);
        self.state().place = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.roster.leave(self.number);
    }
}
