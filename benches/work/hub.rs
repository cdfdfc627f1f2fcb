use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use rowcast::domain::{Batch, ChannelName, Incarnation, Message, Outlet as _, Position, Stamp, Target};
use rowcast::hub::{Client, Closed, Config, ConnId, Hub, Intake};
use rowcast::protocol::native::NativeWs;

use super::{Work, at, row_json};

pub const ALL: &[Work] = &[
    Work { name: "hub/join_and_leave", calls: 3_000, set: join_and_leave },
    Work { name: "hub/1_event_to_1000", calls: 5, set: || deliver(1_000, 1) },
    Work { name: "hub/1000_events_to_1_each", calls: 5, set: || deliver(1_000, 1_000) },
];

type Events = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

struct Deaf;

impl Client for Deaf {
    fn text(self: Arc<Self>, _: &str) -> Intake {
        Intake::More
    }
    fn binary(self: Arc<Self>) -> Intake {
        Intake::More
    }
    fn reset(self: Arc<Self>) {}
    fn closed(self: Arc<Self>, _: Closed) {}
}

fn start() -> Hub {
    let config = Config { shards: 1, heartbeat_ms: 3_600_000, ..Config::default() };
    let hub = Hub::start(config, vec![Arc::new(NativeWs)]).expect("threads");
    hub.begin(Incarnation(1), at(1));
    hub
}

fn live(hub: &Hub, conn: ConnId, channel: &ChannelName) {
    let since = hub.join(conn, channel).expect("new");
    hub.go_live(conn, channel, &since, &[]).expect("nothing happened meanwhile");
}

/// One connection comes to a channel and leaves it, beside 1,000 others that have subscribers.
fn join_and_leave() -> Box<dyn FnMut()> {
    let hub = start();
    let (conn, events) = hub.adopt_stream(0, Arc::new(Deaf));
    let names = names(1_000);
    let (others, kept) = hub.adopt_stream(0, Arc::new(Deaf));
    names.iter().for_each(|name| live(&hub, others, name));
    let mut turn = 0;
    Box::new(move || {
        let _held = (&events, &kept);
        turn += 1;
        let name = &names[turn % names.len()];
        live(&hub, conn, name);
        assert!(hub.leave(conn, name));
    })
}

/// A batch with an event for each of `channels`, of which each has its share of the connections; until all have it.
fn deliver(connections: usize, channels: usize) -> Box<dyn FnMut()> {
    let hub = start();
    let names = names(channels);
    let mut all: Vec<Events> = (0..connections)
        .map(|n| {
            let (conn, events) = hub.adopt_stream(0, Arc::new(Deaf));
            live(&hub, conn, &names[n % channels]);
            Box::pin(events) as Events
        })
        .collect();
    let messages = names.iter().enumerate().map(|(n, name)| Message {
        target: Target::One(name.clone()),
        event: "update".into(),
        data: Bytes::from(row_json(n)),
        at_us: 1_767_323_045_678_901,
        conflate: None,
        stamp: Stamp::Foreign,
        replay: true,
        failure: None,
    });
    let messages: Vec<Message> = messages.collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("no drivers");
    let mut n = 1;
    Box::new(move || {
        n += 1;
        let mut messages = messages.clone();
        for (id, message) in messages.iter_mut().enumerate() {
            message.stamp = Stamp::Log { xid: n, id: (n as i64) << 20 | id as i64 };
        }
        hub.dispatch(Batch { prev: at(n), cur: at(n + 1), messages, after: Position::at(at(n + 1)) });
        runtime.block_on(async {
            for events in &mut all {
                assert!(events.next().await.is_some_and(|event| !event.is_empty()));
            }
        });
    })
}

fn names(count: usize) -> Vec<ChannelName> {
    (0..count).map(|n| ChannelName::new(&format!("orders:{n}")).expect("a name")).collect()
}
