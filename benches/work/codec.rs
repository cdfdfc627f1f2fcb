use std::hint::black_box;

use bytes::Bytes;
use rowcast::domain::{ChannelName, Cursor, Dialect as _, Incarnation, Message, Position, Snapshot, Stamp, Target};
use rowcast::hub::measured;
use rowcast::protocol::native::{self, NativeWs};

use super::{Work, at, row_json};

pub const ALL: &[Work] = &[
    Work { name: "codec/encode_event", calls: 2_000, set: encode_event },
    Work { name: "codec/frame", calls: 5_000, set: frame },
    Work { name: "codec/read_16_frames", calls: 200, set: read_frames },
    Work { name: "codec/decode_subscribe", calls: 500, set: decode_subscribe },
    Work { name: "codec/cursor_there_and_back", calls: 500, set: cursor },
];

fn encode_event() -> Box<dyn FnMut()> {
    let message = Message {
        target: Target::One(ChannelName::new("orders:42").expect("a name")),
        event: "update".into(),
        data: Bytes::from(row_json(42)),
        at_us: 1_767_323_045_678_901,
        conflate: None,
        stamp: Stamp::Log { xid: 7, id: 7 },
        replay: true,
        failure: None,
    };
    let cursor = cursor_of(0).to_string();
    let mut out = Vec::new();
    Box::new(move || {
        out.clear();
        assert!(NativeWs.event("orders:42", black_box(&message), Some(&cursor), &mut out));
        black_box(&out);
    })
}

fn frame() -> Box<dyn FnMut()> {
    let payload = vec![b'x'; 400];
    Box::new(move || drop(black_box(measured::frame(black_box(&payload)))))
}

fn read_frames() -> Box<dyn FnMut()> {
    let mut masked = Vec::new();
    for n in 0..16u8 {
        let mask = [n, 0x5a, 0xc3, 0x17];
        let payload = subscribe();
        let len = u16::try_from(payload.len()).ok().filter(|len| *len > 125).expect("the second form of a length");
        masked.extend_from_slice(&[0x81, 0x80 | 126]);
        masked.extend_from_slice(&len.to_be_bytes());
        masked.extend_from_slice(&mask);
        masked.extend(payload.bytes().enumerate().map(|(i, b)| b ^ mask[i % 4]));
    }
    Box::new(move || {
        let mut data = masked.clone();
        assert_eq!(measured::read(black_box(&mut data)), 16 * subscribe().len());
    })
}

fn decode_subscribe() -> Box<dyn FnMut()> {
    let text = subscribe();
    Box::new(move || drop(black_box(native::decode(black_box(&text), 100, 255).expect("a command"))))
}

fn subscribe() -> String {
    let cursor = cursor_of(4);
    format!(
        r#"{{"type":"subscribe","channels":["orders:42","portfolio:7","rates"],"cursor":"{cursor}","id":"what the client calls this command"}}"#
    )
}

fn cursor() -> Box<dyn FnMut()> {
    let cursor = cursor_of(4);
    Box::new(move || {
        let text = black_box(&cursor).to_string();
        assert_eq!(text.parse::<Cursor>().as_ref(), Ok(&cursor));
    })
}

/// In a drain that `running` transactions were open in.
fn cursor_of(running: u64) -> Cursor {
    let open = (0..running).map(|n| 900 + 10 * n).collect();
    let cur = Snapshot::new(900, 1_000, open).expect("in order");
    Cursor {
        incarnation: Incarnation(0x0123_4567_89ab_cdef),
        position: Position { prev: at(880), cur: cur.into(), id: 4_711 << 10 },
    }
}
