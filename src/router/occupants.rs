//! Two rows with one key, for a moment: `update … set id = id + 1` under a deferrable constraint. Every row moves by itself, so one
//! may come into a channel before the other leaves it. To a channel that is one row that leaving is no news:
//!
//! ```text
//! 1 -> 2   delete on t:1, insert on t:2
//! 2 -> 3   delete on t:2 — of a row that is not the one there by now — and insert on t:3
//! ```

use std::collections::HashMap;

use bytes::Bytes;

use crate::domain::{ChannelName, LogRow, Xid};

/// The rows that the transactions of one drain put into channels. Only those that somebody listens to are asked about, so they are
/// no more than those.
#[derive(Default)]
pub struct Occupants(HashMap<(i32, ChannelName), (Xid, Bytes)>);

impl Occupants {
    /// May a change be told to its channel? Not where it takes a row away that another one has replaced. `image`: the row as it is
    /// now or, if it leaves, was. Rows that are alike in all that capture records cannot be told apart: then it may.
    pub fn tell(&mut self, row: &LogRow, channel: &ChannelName, image: Bytes, leaves: bool) -> bool {
        let place = (row.source, channel.clone());
        if !leaves {
            self.0.insert(place, (row.xid, image));
            return true;
        }
        if self.0.get(&place).is_some_and(|(xid, other)| *xid == row.xid && *other != image) {
            return false;
        }
        self.0.remove(&place);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Op, Share};

    #[test]
    fn only_another_row_of_the_same_transaction_and_table_keeps_a_leaving_quiet() {
        /// Transaction, table, image, does it leave; is it told?
        type Step = (Xid, i32, &'static str, bool, bool);
        let cases: [&[Step]; 6] = [
            &[(5, 1, "a", true, true)],
            &[(5, 1, "a", false, true), (5, 1, "b", true, false), (5, 1, "a", true, true), (5, 1, "b", true, true)],
            &[(5, 1, "a", false, true), (5, 1, "a", true, true)],
            &[(5, 1, "a", false, true), (5, 1, "b", false, true), (5, 1, "b", true, true)],
            &[(5, 1, "a", false, true), (6, 1, "b", true, true)],
            &[(5, 1, "a", false, true), (5, 2, "b", true, true)],
        ];
        let channel = ChannelName::new("t:1").expect("a name");
        for case in cases {
            let mut occupants = Occupants::default();
            for (n, &(xid, source, image, leaves, told)) in case.iter().enumerate() {
                let row = LogRow {
                    id: 1,
                    xid,
                    at_us: 0,
                    source,
                    op: Op::Update,
                    new: None,
                    old: None,
                    matched: Box::default(),
                    channel: None,
                    event: None,
                    share: Share::WHOLE,
                };
                let image = Bytes::from_static(image.as_bytes());
                assert_eq!(occupants.tell(&row, &channel, image, leaves), told, "step {n} of {case:?}");
            }
        }
    }
}
