//! In which order, and with which cursors, a client that comes back gets what it missed.
//!
//! A cursor `(P, C, i)` can have been given by another instance, whose drains began and ended elsewhere. If we sent
//! what is missing in our own order, no triple could say what the client has in between, and a second cut would
//! lose events or repeat them. So the client's own drain is finished first: what C sees beyond i, in id order, as
//! `(P, C, id)`. Then everything C does not see, as `(Q, D, id)`, Q and D being our drain's snapshots but Q never
//! less than C.

use super::cursor::Position;
use super::snapshot::Xid;

/// Puts events that `from` does not include into the order in which they are to be sent, each with the position that
/// its cursor shows. `events` come in the order of our drains (each drain in id order), with their
/// own positions; those that `from` includes are dropped. Our stream must have reached `from.cur`
/// (its present position's `prev` covers it).
pub fn arrange<T>(from: &Position, events: impl IntoIterator<Item = (T, Xid, i64, Position)>) -> Vec<(T, Position)> {
    let mut own_drain = Vec::new();
    let mut later = Vec::new();
    for (event, xid, id, at) in events {
        if from.includes(xid, id) {
            continue;
        }
        if from.cur.sees(xid) {
            own_drain.push((id, event));
        } else {
            let prev = if at.prev.covers(&from.cur) { at.prev } else { from.cur.clone() };
            later.push((event, Position { prev, cur: at.cur, id }));
        }
    }
    own_drain.sort_by_key(|(id, _)| *id);
    let finish = |(id, event)| (event, Position { prev: from.prev.clone(), cur: from.cur.clone(), id });
    own_drain.into_iter().map(finish).chain(later).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::Snapshot;

    /// xorshift64*: a seeded stream of numbers, so that a failure can be replayed.
    struct Seeded(u64);

    impl Seeded {
        fn pick(&mut self, n: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
        }
    }

    /// A history: transaction xids 1..=n, each with events, committing in a random order.
    struct History {
        events: Vec<(Xid, i64)>,
        /// Snapshots after each commit, oldest first.
        snapshots: Vec<Arc<Snapshot>>,
    }

    fn history(seed: &mut Seeded) -> History {
        let n = 8;
        let mut events: Vec<(Xid, i64)> = (0..24).map(|id| (1 + seed.pick(n) as Xid, id + 1)).collect();
        events.sort_by_key(|e| e.1);
        let mut running: Vec<Xid> = (1..=n as Xid).collect();
        let snap = |running: &[Xid]| {
            let xmax = n as Xid + 1;
            Arc::new(Snapshot::new(*running.first().unwrap_or(&xmax), xmax, running.to_vec()).expect("sorted"))
        };
        let mut snapshots = vec![snap(&running)];
        while !running.is_empty() {
            running.remove(seed.pick(running.len()));
            snapshots.push(snap(&running));
        }
        History { events, snapshots }
    }

    /// The events as an instance dispatches them that drains at the chosen snapshots.
    fn dispatched(h: &History, drains: &[usize]) -> Vec<((Xid, i64), Xid, i64, Position)> {
        let mut out = Vec::new();
        for w in drains.windows(2) {
            let (prev, cur) = (&h.snapshots[w[0]], &h.snapshots[w[1]]);
            for &(xid, id) in h.events.iter().filter(|e| cur.sees(e.0) && !prev.sees(e.0)) {
                out.push(((xid, id), xid, id, Position { prev: prev.clone(), cur: cur.clone(), id }));
            }
        }
        out
    }

    fn drains(seed: &mut Seeded, last: usize) -> Vec<usize> {
        let mut at = vec![0];
        for s in 1..last {
            if seed.pick(3) == 0 {
                at.push(s);
            }
        }
        at.push(last);
        at
    }

    /// A client is cut after every possible number of events and moves between instances whose drains differ: it gets
    /// everything exactly once.
    #[test]
    fn cut_anywhere_and_moved_between_instances_nothing_is_lost_or_repeated() {
        for run in 1..400u64 {
            let mut seed = Seeded(run * 0x9e37_79b9);
            let h = history(&mut seed);
            let last = h.snapshots.len() - 1;
            let mut at = Position::at(h.snapshots[0].clone());
            let mut got: Vec<(Xid, i64)> = Vec::new();
            while got.len() < h.events.len() {
                let instance = drains(&mut seed, last);
                let missed = arrange(&at, dispatched(&h, &instance));
                assert!(!missed.is_empty(), "run {run}: lost {} events", h.events.len() - got.len());
                let cut = 1 + seed.pick(missed.len());
                for (event, position) in missed.into_iter().take(cut) {
                    got.push(event);
                    at = position;
                }
            }
            let mut sorted = got.clone();
            sorted.sort_by_key(|e| e.1);
            sorted.dedup();
            assert_eq!(sorted.len(), got.len(), "run {run}: repeated");
            assert_eq!(sorted, h.events, "run {run}");
        }
    }
}
