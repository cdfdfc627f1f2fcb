//! Who gets what, in which order, and what a heartbeat says.

use super::support::*;

#[tokio::test]
async fn all_subscribers_see_one_order_and_others_nothing() {
    let hub = hub(small());
    let mut all = Vec::new();
    for i in 0..12 {
        let c = connect(&hub, ALL[i % 3]).await;
        c.live(&hub, "a");
        if i % 2 == 0 {
            c.live(&hub, "b");
        }
        all.push(c);
    }
    // Bursts on one channel, on two, and one drain with many.
    for n in 1..=40 {
        emit(&hub, if n < 20 || n % 3 == 0 { "a" } else { "b" }, n);
    }
    drain(&hub, 41, (0..200).map(|_| event("a", 41)).chain([event("b", 41)]).collect());
    emit(&hub, "a", 42);
    for (i, c) in all.iter_mut().enumerate() {
        let got = c.until("a|e|42|43.42").await;
        let expected: Vec<String> = (1..=40)
            .map(|n| (n, if n < 20 || n % 3 == 0 { "a" } else { "b" }))
            .chain((0..200).map(|_| (41, "a")))
            .chain([(41, "b"), (42, "a")])
            .filter(|(_, channel)| *channel == "a" || i % 2 == 0)
            .map(|(n, channel)| format!("{channel}|e|{n}|{}.{n}", n + 1))
            .collect();
        assert_eq!(got, expected, "client {i}");
    }
    when(|| hub.stats().delivered_frames >= 12 * 228).await;
}

#[tokio::test]
async fn audience_channels_and_leaving() {
    for way in ALL {
        let hub = hub(small());
        let mut c = connect(&hub, way).await;
        let mut d = connect(&hub, way).await;
        c.live(&hub, "orders:1");
        d.live(&hub, "orders:1");
        d.live(&hub, "orders:2");
        hub.join(c.id, &name("other")).expect("open");
        let family = Pattern::parse("orders:{id}").expect("a pattern");
        let mut audience = hub.audience_of(&family);
        audience.sort();
        assert_eq!(audience, [name("orders:1"), name("orders:2")]);
        let mut channels = hub.channels();
        channels.sort();
        assert_eq!(channels, [(name("orders:1"), 2), (name("orders:2"), 1), (name("other"), 1)]);
        assert_eq!(hub.stats().subscriptions, 4);

        let truncate = Message { target: Target::Family(family.into()), ..event("-", 1) };
        drain(&hub, 1, vec![truncate]);
        assert!(hub.leave(c.id, &name("orders:1")) && !hub.leave(c.id, &name("orders:1")));
        emit(&hub, "orders:1", 2);
        c.send(&hub, "end");
        d.send(&hub, "end");
        assert_eq!(c.until("end").await, ["orders:1|e|1|2.1", "end"], "{way:?}");
        let mut got = d.until("end").await;
        got[..2].sort();
        assert_eq!(got, ["orders:1|e|1|2.1", "orders:2|e|1|2.1", "orders:1|e|2|3.2", "end"]);
        // Remembered for channels that nobody listened to then.
        assert_eq!(hub.recent(&name("orders:3"), &cursor(1)).map(|e| e.len()), Some(1));
        assert_eq!(hub.recent(&name("other"), &cursor(1)).map(|e| e.len()), Some(0));

        let channel = name("orders:1");
        assert!(hub.has_audience(&channel));
        d.hang_up();
        assert_eq!(d.closed().await, Closed::Peer);
        assert!(!hub.has_audience(&channel), "{way:?}");
        assert_eq!(hub.join(d.id, &channel), Err(JoinError::Gone));
        assert_eq!(hub.channels(), [(name("other"), 1)]);
    }
}

#[tokio::test]
async fn what_has_no_place_in_the_log() {
    for way in ALL {
        let hub = hub(small());
        let mut c = connect(&hub, way).await;
        let mut joining = connect(&hub, way).await;
        c.live(&hub, "rates");
        let since = hub.join(joining.id, &name("rates")).expect("open");
        emit(&hub, "rates", 5);
        let foreign = Message { stamp: Stamp::Foreign, replay: false, ..event("rates", 6) };
        hub.publish(foreign);
        hub.publish(state("rates", 7, "state"));
        hub.channel_error(&name("rates"), &ReadError::Timeout { limit_ms: 3 });
        hub.channel_error(&name("nobody's"), &ReadError::Unavailable);
        drain(&hub, 8, vec![Message { event: "mute".into(), ..event("rates", 8) }]);
        hub.go_live(joining.id, &name("rates"), &since, &[]).expect("joined");
        emit(&hub, "rates", 9);
        let error = "error|rates|the view of this channel took longer than 3 ms";
        let end = "rates|e|9|10.9";
        assert_eq!(c.until(end).await, ["rates|e|5|6.5", "rates|e|6|-", "rates|e|state|6.0", error, end], "{way:?}");
        assert_eq!(joining.until(end).await, ["rates|e|5|6.5", "rates|e|6|-", "rates|e|state|6.0", error, end]);
        assert_eq!(hub.recent(&name("rates"), &cursor(1)).map(|e| e.len()), Some(3), "log events only");
    }
}

#[tokio::test]
async fn a_heartbeat_is_never_ahead_of_an_undelivered_frame() {
    for way in ALL {
        let hub = hub(Config { heartbeat_ms: 10, ..small() });
        let mut c = connect(&hub, way).await;
        let mut joining = connect(&hub, way).await;
        let mut idle = connect(&hub, way).await;
        c.live(&hub, "a");
        let since = hub.join(joining.id, &name("b")).expect("open");
        emit(&hub, "b", 1);
        let mut last = 0;
        for n in 2..200 {
            emit(&hub, "a", n);
            if n % 40 == 0 {
                // Let a tick come.
                let beats = loop {
                    let text = c.text().await;
                    if let Some(place) = text.strip_prefix("heartbeat|") {
                        break place.split('.').next().and_then(|p| p.parse::<u64>().ok()).expect("a number");
                    }
                    last = text.split('|').nth(2).and_then(|n| n.parse().ok()).expect("a number");
                };
                assert!(beats <= last + 1 || last == 0, "{way:?}: heartbeat at {beats} after event {last}");
            }
        }
        // The other one got pings at most, however long that took.
        hub.go_live(joining.id, &name("b"), &since, &[joining.payload("lead")]).expect("joined");
        assert_eq!(joining.text().await, "lead", "{way:?}");
        assert_eq!(joining.text().await, "b|e|1|2.1");
        assert_eq!(joining.text().await, "heartbeat|200.0");
        // Who has asked for nothing yet would resume from there without a snapshot.
        hub.send(idle.id, &idle.payload("first"));
        assert_eq!(idle.text().await, "first", "{way:?}");
    }
}

#[tokio::test]
async fn a_websocket_is_pinged_and_closed_when_silent() {
    for way in SOCKETS {
        let hub = hub(Config { heartbeat_ms: 20, idle_timeout_ms: 500, ..small() });
        let mut quiet = connect(&hub, way).await;
        let mut lively = connect(&hub, way).await;
        // tungstenite answers pings only while it is polled; this one is not.
        let mut pings = 0;
        assert_eq!(quiet_closed(&mut quiet, &mut lively, &mut pings).await, Closed::Ours(close::IDLE), "{way:?}");
        assert!(pings >= 1, "the lively one was asked, too");
        assert_eq!(lively.said_now(), None);
        assert_eq!(quiet.code().await, Some(close::IDLE));
        assert_eq!(hub.stats().idle_closed, 1);
    }
}

async fn quiet_closed(quiet: &mut Conn, lively: &mut Conn, pings: &mut u32) -> Closed {
    loop {
        tokio::select! {
            why = quiet.closed() => return why,
            frame = lively.frame() => *pings += u32::from(matches!(frame, Ws::Ping(_))),
        }
    }
}

/// An event that may not travel keeps its place: whoever is live, about to be, or resumes, is told at that place. A dialect
/// that cannot say so loses its connections, not its word.
#[tokio::test]
async fn nobody_passes_over_what_could_not_be_said() {
    for way in ALL {
        let hub = hub(small());
        let mut live = connect(&hub, way).await;
        let mut joining = connect(&hub, way).await;
        let mut mute = connect(&hub, way).await;
        let mut late = connect(&hub, way).await;
        live.live(&hub, "a");
        live.live(&hub, "mute");
        joining.live(&hub, "a");
        mute.live(&hub, "mute");
        let since = hub.join(late.id, &name("mute")).expect("open");
        let large = |channel: &str, n| event(channel, n).within(0);
        drain(&hub, 3, vec![event("a", 3), large("a", 3), event("a", 3)]);
        let error = "error|a|the message of this channel has 1 bytes, more than the 0 that are allowed";
        let told = ["a|e|3|4.3", error, "a|e|3|4.3"];
        for c in [&mut live, &mut joining] {
            assert_eq!([c.text().await, c.text().await, c.text().await], told, "{way:?}");
        }
        let missed = hub.recent(&name("a"), &cursor(2)).expect("all in memory");
        assert!(missed.iter().map(|(m, _)| m.failure.is_some()).eq([false, true, false]));

        drain(&hub, 5, vec![large("mute", 5)]);
        hub.go_live(late.id, &name("mute"), &since, &[]).expect("joined");
        for c in [&mut live, &mut mute, &mut late] {
            assert_eq!(c.closed().await, Closed::Ours(close::TRY_LATER), "{way:?}");
        }
        emit(&hub, "a", 6);
        assert_eq!(joining.text().await, "a|e|6|7.6");
    }
}
