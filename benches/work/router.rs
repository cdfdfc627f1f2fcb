use std::hint::black_box;

use bytes::Bytes;
use rowcast::domain::{LogRow, Op, Share};
use rowcast::router::measured::Routes;

use super::{Work, row_json};

pub const ALL: &[Work] = &[
    Work { name: "router/100_events", calls: 20, set: || routes(1, false) },
    Work { name: "router/100_dirty_keys", calls: 20, set: || routes(1, true) },
    Work { name: "router/100_events_of_1000_tables", calls: 20, set: || routes(1_000, false) },
];

const ROWS: usize = 100;

/// A drain of so many updates, from log rows to messages or dirty keys.
fn routes(sources: i32, state: bool) -> Box<dyn FnMut()> {
    let routes = Routes::new(sources, state);
    let rows: Vec<LogRow> = (0..ROWS).map(|n| row(n, 1 + (n as i32 * 7) % sources)).collect();
    Box::new(move || {
        let (mut messages, mut dirty) = (Vec::with_capacity(ROWS), 0);
        for row in black_box(&rows) {
            dirty += routes.route(row, &mut messages);
        }
        assert_eq!(if state { dirty } else { messages.len() }, ROWS);
        black_box(messages);
    })
}

fn row(n: usize, source: i32) -> LogRow {
    LogRow {
        id: n as i64 + 10,
        xid: n as u64 + 10,
        at_us: 1_767_323_045_678_901,
        source,
        op: Op::Update,
        new: Some(Bytes::from(row_json(n))),
        old: Some(Bytes::from(row_json(n))),
        matched: Box::default(),
        channel: None,
        event: None,
        share: Share::WHOLE,
    }
}
