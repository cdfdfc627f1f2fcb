use super::*;
use bytes::Bytes;

fn snap(text: &str) -> Arc<Snapshot> {
    Arc::new(text.parse().expect(text))
}

fn push(recent: &mut Recent, channel: &str, prev: &Arc<Snapshot>, cur: &Arc<Snapshot>, xid: u64, id: i64) {
    let message = Message {
        target: Target::One(ChannelName::new(channel).expect("a good name")),
        event: "e".into(),
        data: Bytes::from_static(b"1234567890"),
        at_us: 0,
        conflate: None,
        stamp: Stamp::Log { xid, id },
        replay: true,
        failure: None,
    };
    let position = Position { prev: prev.clone(), cur: cur.clone(), id };
    recent.push(Arc::new(message), position);
}

fn ids(recent: &Recent, channel: &str, from: &Position) -> Option<Vec<i64>> {
    let numbers = recent.after(&ChannelName::new(channel).expect("a good name"), from)?;
    Some(numbers.into_iter().filter_map(|n| recent.event(n)).map(|(_, position)| position.id).collect())
}

/// Two drains with a transaction (14) that ran through the first; every event's cursor, and snapshots in between,
/// give what the definition gives.
#[test]
fn after_agrees_with_positions() {
    let (s0, s1, s2) = (snap("10:10:"), snap("14:20:14"), snap("25:25:"));
    let mut recent = Recent::new(100, 1 << 20);
    recent.begin(s0.clone());
    let first = [(11, 101), (10, 102), (16, 103)];
    let second = [(14, 99), (21, 104), (14, 105)];
    for (xid, id) in first {
        push(&mut recent, "a", &s0, &s1, xid, id);
    }
    for (xid, id) in second {
        push(&mut recent, "a", &s1, &s2, xid, id);
    }
    let between = snap("14:22:14");
    let mut positions =
        vec![Position::at(s0.clone()), Position::at(s1.clone()), Position::at(s2.clone()), Position::at(between)];
    positions.extend(first.map(|(_, id)| Position { prev: s0.clone(), cur: s1.clone(), id }));
    positions.extend(second.map(|(_, id)| Position { prev: s1.clone(), cur: s2.clone(), id }));
    for from in positions {
        let events = first.iter().chain(&second);
        let expected: Vec<i64> = events.filter(|(xid, id)| !from.includes(*xid, *id)).map(|(_, id)| *id).collect();
        assert_eq!(ids(&recent, "a", &from), Some(expected), "{from:?}");
        assert_eq!(ids(&recent, "b", &from), Some(vec![]));
    }
}

#[test]
fn memory_says_how_far_it_reaches() {
    let (s0, s1, s2) = (snap("10:10:"), snap("20:20:"), snap("30:30:"));
    let mut recent = Recent::new(2, 1 << 20);
    assert_eq!(ids(&recent, "a", &Position::at(s0.clone())), None, "before the stream begins");
    recent.begin(s0.clone());
    assert_eq!(ids(&recent, "a", &Position::at(snap("9:9:"))), None, "before the stream's start");
    push(&mut recent, "a", &s0, &s1, 11, 1);
    push(&mut recent, "b", &s0, &s1, 12, 2);
    assert_eq!(ids(&recent, "a", &Position::at(s0.clone())), Some(vec![1]));
    push(&mut recent, "a", &s1, &s2, 21, 3);
    // 1 was dropped: from there on, not from before.
    assert_eq!(ids(&recent, "a", &Position::at(s0.clone())), None);
    assert_eq!(ids(&recent, "b", &Position { prev: s0.clone(), cur: s1.clone(), id: 0 }), None);
    assert_eq!(ids(&recent, "b", &Position { prev: s0.clone(), cur: s1.clone(), id: 1 }), Some(vec![2]));
    assert_eq!(ids(&recent, "a", &Position::at(s1.clone())), Some(vec![3]));
    push(&mut recent, "a", &s1, &s2, 22, 4);
    push(&mut recent, "a", &s1, &s2, 23, 5);
    assert_eq!(ids(&recent, "a", &Position::at(s1)), None);
    assert_eq!(ids(&recent, "b", &Position::at(s2.clone())), Some(vec![]), "b has nothing left");
    recent.begin(s2.clone());
    assert_eq!((recent.len(), recent.bytes()), (0, 0));
    assert_eq!(ids(&recent, "a", &Position::at(s2)), Some(vec![]));
}

/// So many channels that chains are shared, and dropped events behind those that are there.
#[test]
fn each_channel_has_its_own_events() {
    let channels = 3 * CHAINS as u64;
    let snaps: Vec<Arc<Snapshot>> = (1..=4).map(|n| snap(&format!("{0}:{0}:", n * 1_000_000))).collect();
    let mut recent = Recent::new(channels as usize + 10, 1 << 30);
    recent.begin(snaps[0].clone());
    let mut id = 0;
    for round in 0..3 {
        for n in 0..channels {
            id += 1;
            let xid = (round + 1) * 1_000_000 + n;
            push(&mut recent, &format!("c{n}"), &snaps[round as usize], &snaps[round as usize + 1], xid, id);
        }
    }
    assert_eq!(recent.len(), channels as usize + 10);
    for n in [0, 1, 77, channels - 10, channels - 9, channels - 1] {
        let (second, third) = ((channels + n + 1) as i64, (2 * channels + n + 1) as i64);
        let channel = format!("c{n}");
        assert_eq!(ids(&recent, &channel, &Position::at(snaps[2].clone())), Some(vec![third]), "{channel}");
        // The floor lies within the second round, whose last ten are remembered.
        let floor = Position { prev: snaps[1].clone(), cur: snaps[2].clone(), id: (2 * channels - 10) as i64 };
        let expected = if n >= channels - 10 { vec![second, third] } else { vec![third] };
        assert_eq!(ids(&recent, &channel, &floor), Some(expected), "{channel}");
    }
    assert_eq!(ids(&recent, "other", &Position::at(snaps[2].clone())), Some(vec![]));
}
