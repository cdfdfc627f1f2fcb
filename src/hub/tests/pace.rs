//! The states of a channel at most once in an interval.

use std::time::Instant;

use super::support::*;

const INTERVAL_MS: u64 = 60;

fn newest(channel: &str, n: u64) -> Message {
    Message { conflate: Some("".into()), ..state(channel, n, &n.to_string()) }
}

fn data(text: &str) -> &str {
    text.split('|').nth(2).expect("channel, event, data")
}

#[tokio::test]
async fn of_states_the_newest_comes_and_of_events_each() {
    for way in ALL {
        let hub = paced(small(), INTERVAL_MS);
        let mut c = connect(&hub, way).await;
        let since = hub.join(c.id, &name("s")).expect("open");
        let begun = Instant::now();
        hub.go_live(c.id, &name("s"), &since, &[c.payload("lead")]).expect("joined");
        assert_eq!(c.text().await, "lead");
        for round in 1..=3 {
            for n in 0..20 {
                hub.publish(newest("s", 100 * round + n));
            }
            emit(&hub, "s", round);
            assert_eq!(data(&c.text().await), round.to_string(), "{way:?}: an event does not wait");
            assert_eq!(data(&c.text().await), (100 * round + 19).to_string(), "{way:?}");
        }
        assert!(begun.elapsed().as_millis() as u64 + 3 >= 3 * INTERVAL_MS, "{way:?}: {:?}", begun.elapsed());
        // After silence, nothing waits.
        when(|| begun.elapsed().as_millis() as u64 > 6 * INTERVAL_MS).await;
        let sent = Instant::now();
        hub.publish(newest("s", 500));
        assert_eq!(data(&c.text().await), "500");
        assert!((sent.elapsed().as_millis() as u64) < INTERVAL_MS, "{way:?}: {:?}", sent.elapsed());
    }
}

/// Whose snapshot shows what waits does not get it again; whose does not, does.
#[tokio::test]
async fn who_comes_while_a_state_waits() {
    let hub = paced(small(), INTERVAL_MS);
    let (mut first, mut shown, mut unshown) =
        (connect(&hub, Way::Tcp).await, connect(&hub, Way::Tcp).await, connect(&hub, Way::Tcp).await);
    let s = name("s");
    hub.join(first.id, &s).expect("open");
    // What happened while the first one read waits, too.
    hub.publish(newest("s", 5));
    hub.publish(newest("s", 6));
    hub.go_live(first.id, &s, &Position::at(at(5)), &[first.payload("five")]).expect("joined");
    for (c, at_, lead) in [(&shown, 7, "seven"), (&unshown, 5, "five")] {
        hub.join(c.id, &s).expect("open");
        hub.go_live(c.id, &s, &Position::at(at(at_)), &[c.payload(lead)]).expect("joined");
    }
    hub.publish(newest("s", 7));
    when(|| hub.stats().delivered_frames >= 5).await;
    for c in [&first, &shown, &unshown] {
        c.send(&hub, "end");
    }
    let tail = |all: Vec<String>| all.iter().map(|t| t.split('|').nth(2).unwrap_or(t).to_owned()).collect::<Vec<_>>();
    assert_eq!(tail(first.until("end").await), ["five", "7", "end"]);
    assert_eq!(tail(shown.until("end").await), ["seven", "end"]);
    assert_eq!(tail(unshown.until("end").await), ["five", "7", "end"]);
}

/// What waits goes with its last subscriber, and with its stream.
#[tokio::test]
async fn nothing_waits_for_nobody() {
    let hub = paced(small(), INTERVAL_MS);
    let mut c = connect(&hub, Way::Tcp).await;
    c.live(&hub, "s");
    hub.publish(newest("s", 5));
    assert!(hub.leave(c.id, &name("s")));
    c.live(&hub, "t");
    hub.publish(newest("t", 6));
    assert_eq!(data(&c.text().await), "6");
    hub.publish(newest("t", 7));
    hub.begin(LIFE, at(8));
    assert_eq!(c.said().await, Said::Reset);
    let begun = Instant::now();
    when(|| begun.elapsed().as_millis() as u64 > 2 * INTERVAL_MS).await;
    c.send(&hub, "end");
    assert_eq!(c.text().await, "end");
}
