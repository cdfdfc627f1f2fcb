//! Subscribed means live: no gap and no echo around `join` and `go_live`.

use super::support::*;

#[tokio::test]
async fn lead_then_what_was_missed_then_live() {
    for way in ALL {
        let hub = hub(small());
        let mut c = connect(&hub, way).await;
        let orders = name("orders");
        emit(&hub, "orders", 1);
        let joined = hub.join(c.id, &orders).expect("open");
        assert_eq!(joined, Position::at(at(2)), "{way:?}");
        assert_eq!(hub.join(c.id, &orders), Err(JoinError::AlreadyJoined));
        for n in 2..5 {
            emit(&hub, "orders", n);
        }
        emit(&hub, "others", 5);
        // A snapshot read when 1 to 3 had ended.
        hub.go_live(c.id, &orders, &Position::at(at(4)), &[c.payload("subscribed"), c.payload("snapshot")])
            .expect("joined");
        assert_eq!(hub.join(c.id, &orders), Err(JoinError::AlreadyJoined));
        emit(&hub, "orders", 6);
        c.send(&hub, "answer");
        let all = c.until("answer").await;
        assert_eq!(all, ["subscribed", "snapshot", "orders|e|4|5.4", "orders|e|6|7.6", "answer"], "{way:?}");
    }
}

#[tokio::test]
async fn a_large_lead_arrives_whole() {
    for way in ALL {
        let hub = hub(Config { backlog_bytes_max: 1000, ..small() });
        let mut c = connect(&hub, way).await;
        let snapshot = "x".repeat(300_000);
        let since = hub.join(c.id, &name("a")).expect("open");
        hub.go_live(c.id, &name("a"), &since, &[c.payload(&snapshot), c.payload("after")]).expect("joined");
        assert!(c.text().await == snapshot, "{way:?}");
        assert_eq!(c.text().await, "after");
    }
}

/// Many clients join at random moments while a dispatcher runs; each must get exactly what its `since` leaves out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_gap_and_no_echo_while_the_dispatcher_runs() {
    const EVENTS: u64 = 3_000;
    for seed in [1, 2, 3] {
        let hub = hub(Config { backlog_bytes_max: 1 << 24, backlog_frames_max: 100_000, ..small() });
        let mut tasks = Vec::new();
        for i in 0..24u64 {
            let hub = hub.clone();
            tasks.push(tokio::spawn(async move {
                let mut dice = Dice(seed * 1000 + i + 1);
                let mut c = connect(&hub, ALL[i as usize % 3]).await;
                let channel = name("numbers");
                for round in 0..3 {
                    let start = dice.below(EVENTS * 2 / 3);
                    when(|| hub.position().is_some_and(|(_, p)| p.cur.xmax() > start)).await;
                    let joined = hub.join(c.id, &channel).expect("open");
                    for _ in 0..dice.below(50) {
                        tokio::task::yield_now().await;
                    }
                    // A reading somewhere between the join and now, or even ahead of the dispatcher.
                    let now = hub.position().expect("begun").1.cur.xmax();
                    let read_at = joined.cur.xmax() + dice.below(now - joined.cur.xmax() + 3);
                    let lead = format!("lead {round} {read_at}");
                    hub.go_live(c.id, &channel, &Position::at(at(read_at)), &[c.payload(&lead)]).expect("joined");
                    if round < 2 {
                        for _ in 0..dice.below(50) {
                            tokio::task::yield_now().await;
                        }
                        assert!(hub.leave(c.id, &channel));
                    }
                }
                let mut expected = None;
                loop {
                    let text = c.text().await;
                    if let Some(lead) = text.strip_prefix("lead ") {
                        let (round, read_at) = lead.split_once(' ').expect("two numbers");
                        expected = read_at.parse::<u64>().ok();
                        // It came so late that its last reading shows everything: nothing is to follow.
                        if round == "2" && expected > Some(EVENTS) {
                            return;
                        }
                        continue;
                    }
                    let n: u64 = text.split('|').nth(2).and_then(|n| n.parse().ok()).expect("a number");
                    assert_eq!(Some(n), expected, "seed {seed}, client {i}");
                    expected = Some(n + 1);
                    if n == EVENTS {
                        return;
                    }
                }
            }));
        }
        let dispatcher = {
            let hub = hub.clone();
            tokio::spawn(async move {
                let mut dice = Dice(seed);
                let mut n = 1;
                while n <= EVENTS {
                    // Several drains in one go, of several events each.
                    let to = (n + 1 + dice.below(4)).min(EVENTS + 1);
                    let (prev, cur) = (at(n), at(to));
                    let messages = (n..to).map(|n| event("numbers", n)).collect();
                    hub.dispatch(Batch { prev, cur: cur.clone(), messages, after: Position::at(cur) });
                    n = to;
                    if dice.below(3) == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            })
        };
        soon(dispatcher).await.expect("no panic");
        for task in tasks {
            soon(task).await.expect("no gap, no echo");
        }
    }
}

#[tokio::test]
async fn a_state_older_than_the_snapshot_is_dropped_however_late_it_comes() {
    for way in ALL {
        let hub = hub(small());
        let mut early = connect(&hub, way).await;
        let mut late = connect(&hub, way).await;
        early.live(&hub, "sum");
        hub.join(late.id, &name("sum")).expect("open");
        // Buffered, and older than the reading; then dispatched after it, and older still.
        drain(&hub, 1, vec![state("sum", 3, "old")]);
        hub.go_live(late.id, &name("sum"), &Position::at(at(9)), &[late.payload("snapshot")]).expect("joined");
        drain(&hub, 2, vec![state("sum", 5, "late")]);
        drain(&hub, 3, vec![state("sum", 9, "same")]);
        drain(&hub, 4, vec![state("sum", 11, "new")]);
        assert_eq!(early.until("sum|e|new|4.0").await.len(), 4, "{way:?}");
        assert_eq!(late.text().await, "snapshot");
        assert_eq!(late.text().await, "sum|e|new|4.0", "{way:?}");
    }
}

#[tokio::test]
async fn the_buffer_of_a_join_is_bounded() {
    let hub = hub(Config { join_buffer_items_max: 3, ..small() });
    let mut c = connect(&hub, Way::Tcp).await;
    let a = name("a");
    let since = hub.join(c.id, &a).expect("open");
    for n in 1..=4 {
        emit(&hub, "a", n);
    }
    assert_eq!(hub.go_live(c.id, &a, &since, &[]), Err(JoinError::Overflow));
    assert_eq!(hub.stats().joins_overflowed, 1);
    // Joined again, from here on.
    let since = hub.join(c.id, &a).expect("to be joined again");
    emit(&hub, "a", 5);
    hub.go_live(c.id, &a, &since, &[]).expect("little happened");
    assert_eq!(c.text().await, "a|e|5|6.5");
    assert_eq!(hub.go_live(c.id, &a, &since, &[]), Err(JoinError::AlreadyJoined));
    // One who joins while another's buffer has overflowed has lost nothing.
    let mut d = connect(&hub, Way::Tcp).await;
    let mut e = connect(&hub, Way::Tcp).await;
    hub.join(d.id, &a).expect("open");
    for n in 6..=9 {
        emit(&hub, "a", n);
    }
    let since = hub.join(e.id, &a).expect("open");
    emit(&hub, "a", 10);
    hub.go_live(e.id, &a, &since, &[]).expect("lost nothing");
    assert_eq!(e.text().await, "a|e|10|11.10");
    assert_eq!(hub.go_live(d.id, &a, &since, &[]), Err(JoinError::Overflow));
    let hub = hub_of_bytes();
    let c = connect(&hub, Way::Tcp).await;
    let since = hub.join(c.id, &a).expect("open");
    emit(&hub, "a", 1_000_001);
    assert_eq!(hub.go_live(c.id, &a, &since, &[]), Err(JoinError::Overflow));
    assert!(d.said_now().is_none());
}

fn hub_of_bytes() -> Hub {
    hub(Config { join_buffers_bytes_max: 5, ..small() })
}

#[tokio::test]
async fn several_channels_go_live_in_the_order_of_dispatch() {
    let hub = hub(small());
    let mut c = connect(&hub, Way::Stream).await;
    let (a, b) = (name("a"), name("b"));
    let since = hub.join(c.id, &a).expect("open");
    hub.join(c.id, &b).expect("open");
    for (n, channel) in [(1, "b"), (2, "a"), (3, "b"), (4, "a")] {
        emit(&hub, channel, n);
    }
    let (lead_a, lead_b) = ([c.payload("lead a")], [c.payload("lead b")]);
    let part_a = Part { channel: &a, since: &since, lead: &lead_a };
    let part_b = Part { channel: &b, since: &since, lead: &lead_b };
    let other = name("other");
    let stranger = Part { channel: &other, since: &since, lead: &[] };
    assert_eq!(hub.go_live_all(c.id, &[part_a, stranger]), Err(JoinError::Gone), "all or none");
    hub.go_live_all(c.id, &[part_a, part_b]).expect("joined");
    let all = c.until("a|e|4|5.4").await;
    assert_eq!(all, ["lead a", "lead b", "b|e|1|2.1", "a|e|2|3.2", "b|e|3|4.3", "a|e|4|5.4"]);
}

#[tokio::test]
async fn a_new_stream_detaches_everybody_until_they_join_again() {
    for way in ALL {
        let hub = hub(small());
        let mut c = connect(&hub, way).await;
        let (a, b) = (name("a"), name("b"));
        c.live(&hub, "a");
        let old = hub.join(c.id, &b).expect("open");
        emit(&hub, "a", 1);
        hub.begin(LIFE, at(100));
        assert_eq!(c.said().await, Said::Reset, "{way:?}");
        assert!(hub.has_audience(&a) && hub.has_audience(&b), "they are about to listen");
        // Nothing is delivered, nothing kept, and the join under way has to start over.
        emit(&hub, "a", 100);
        assert_eq!(hub.go_live(c.id, &b, &old, &[]), Err(JoinError::Overflow));
        let since = hub.join(c.id, &a).expect("it was reset");
        assert_eq!(since, Position::at(at(101)));
        assert_eq!(hub.join(c.id, &a), Err(JoinError::AlreadyJoined));
        emit(&hub, "a", 101);
        hub.go_live(c.id, &a, &since, &[c.payload("again")]).expect("joined");
        assert!(hub.leave(c.id, &b) && !hub.has_audience(&b));
        emit(&hub, "a", 102);
        assert_eq!(c.until("a|e|102|103.102").await, ["a|e|1|2.1", "again", "a|e|101|102.101", "a|e|102|103.102"]);
    }
}

#[tokio::test]
async fn before_the_stream_begins_there_is_nothing_to_join() {
    let hub = hub_before_begin(small());
    let mut c = connect(&hub, Way::Tcp).await;
    assert_eq!(hub.join(c.id, &name("a")), Err(JoinError::NotReady));
    assert!(hub.position().is_none() && !hub.has_audience(&name("a")));
    hub.begin(LIFE, at(1));
    c.live(&hub, "a");
    emit(&hub, "a", 1);
    assert_eq!(c.text().await, "a|e|1|2.1");
    assert_eq!(c.said_now(), None, "the first stream resets nobody");
}

#[tokio::test]
async fn memory_gives_exactly_what_was_missed_or_nothing() {
    let hub = hub(Config { recent_items_max: 6, ..small() });
    for n in 1..=8 {
        emit(&hub, if n % 2 == 0 { "even" } else { "odd" }, n);
    }
    let even = name("even");
    let events = |from| {
        hub.recent(&even, &cursor(from)).map(|e| e.into_iter().map(|(m, p)| (m.data.clone(), p.id)).collect::<Vec<_>>())
    };
    assert_eq!(events(2), None, "1 and 2 were dropped");
    assert_eq!(events(3), Some(vec![("4".into(), 4), ("6".into(), 6), ("8".into(), 8)]));
    assert_eq!(events(7), Some(vec![("8".into(), 8)]));
    assert_eq!(events(9), Some(vec![]));
    let elsewhere = Cursor { incarnation: Incarnation(8), ..cursor(7) };
    assert!(hub.recent(&even, &elsewhere).is_none());
}

#[tokio::test]
async fn who_stands_still_or_joins_again_misses_nothing_and_hears_nothing_twice() {
    for way in ALL {
        let hub = hub(small());
        let mut c = connect(&hub, way).await;
        let orders = name("orders");
        let joined = hub.join(c.id, &orders).expect("open");
        assert!(hub.hold(c.id, &orders).is_none(), "it is not live yet");
        hub.go_live(c.id, &orders, &joined, &[c.payload("snapshot")]).expect("joined");
        emit(&hub, "orders", 2);
        let still = hub.hold(c.id, &orders).expect("live");
        emit(&hub, "orders", 3);
        c.send(&hub, "answer");
        assert_eq!(c.until("answer").await, ["snapshot", "orders|e|2|3.2", "answer"], "{way:?}");
        hub.release(c.id, &orders, &still).expect("held");
        emit(&hub, "orders", 4);
        let joined = hub.rejoin(c.id, &orders).expect("open");
        emit(&hub, "orders", 5);
        hub.go_live(c.id, &orders, &joined, &[c.payload("again")]).expect("joined");
        // A snapshot that is ahead of the stream has shown what comes.
        hub.rejoin(c.id, &orders).expect("open");
        hub.go_live(c.id, &orders, &Position::at(at(8)), &[]).expect("joined");
        let still = hub.hold(c.id, &orders).expect("live");
        emit(&hub, "orders", 7);
        emit(&hub, "orders", 8);
        hub.release(c.id, &orders, &still).expect("held");
        c.send(&hub, "end");
        let (three, four, five) = ("orders|e|3|4.3", "orders|e|4|5.4", "orders|e|5|6.5");
        assert_eq!(c.until("end").await, [three, four, "again", five, "orders|e|8|9.8", "end"], "{way:?}");
        let still = hub.hold(c.id, &orders).expect("live");
        hub.leave(c.id, &orders);
        assert_eq!(hub.release(c.id, &orders, &still), Err(JoinError::Gone));
        let joined = hub.rejoin(c.id, &orders).expect("as join where there is nothing to leave");
        assert_eq!(hub.release(c.id, &orders, &still), Err(JoinError::Gone), "this one joins by itself");
        hub.go_live(c.id, &orders, &joined, &[]).expect("joined");
        let still = hub.hold(c.id, &orders).expect("live");
        hub.begin(Incarnation(9), at(20));
        assert_eq!(hub.release(c.id, &orders, &still), Err(JoinError::Overflow), "it starts over");
        hub.join(c.id, &orders).expect("reset");
        assert_eq!(hub.release(c.id, &orders, &still), Err(JoinError::Gone), "and does so by itself");
    }
}
