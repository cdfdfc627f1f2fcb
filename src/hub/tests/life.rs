//! Ends: ours, the peer's, the server's.

use std::time::Duration;

use super::support::*;

#[tokio::test]
async fn close_comes_after_everything_that_was_sent() {
    for way in ALL {
        let hub = hub(small());
        let mut c = connect(&hub, way).await;
        c.live(&hub, "a");
        emit(&hub, "a", 1);
        c.send(&hub, "answer");
        hub.close(c.id, close::FORBIDDEN, "not for you");
        emit(&hub, "a", 2);
        c.send(&hub, "too late");
        assert_eq!(c.text().await, "a|e|1|2.1", "{way:?}");
        assert_eq!(c.text().await, "answer");
        if way == Way::Stream {
            assert_eq!(c.next().await, None);
        } else {
            let frame = c.close_frame().await.expect("a code");
            assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4403, "not for you"), "{way:?}");
            // tungstenite answers it when polled again.
            assert_eq!(c.next().await, None);
        }
        c.hang_up();
        assert_eq!(c.closed().await, Closed::Ours(4403));
        when(|| hub.connections() == 0).await;
        hub.close(c.id, 1000, "again");
        assert_eq!(c.said_now(), None);
        assert_eq!(hub.stats().subscriptions, 0);
    }
}

#[tokio::test]
async fn a_stale_name_reaches_nobody() {
    for way in ALL {
        let hub = hub(Config { shards: 1, ..small() });
        let mut old = connect(&hub, way).await;
        old.live(&hub, "a");
        old.hang_up();
        old.closed().await;
        when(|| hub.connections() == 0).await;
        let mut new = connect(&hub, way).await;
        assert_ne!(old.id, new.id);
        new.live(&hub, "a");
        hub.send(old.id, &new.payload("for the old one"));
        hub.resume_reading(old.id);
        hub.close(old.id, 1000, "");
        assert!(!hub.leave(old.id, &name("a")));
        assert_eq!(hub.join(old.id, &name("b")), Err(JoinError::Gone));
        emit(&hub, "a", 1);
        assert_eq!(new.text().await, "a|e|1|2.1", "{way:?}");
    }
}

#[tokio::test]
async fn shutdown_flushes_says_why_and_refuses_newcomers() {
    for way in ALL {
        let hub = hub(small());
        let mut all = Vec::new();
        for _ in 0..5 {
            let c = connect(&hub, way).await;
            c.live(&hub, "a");
            all.push(c);
        }
        for n in 1..=50 {
            emit(&hub, "a", n);
        }
        let readers = all.into_iter().map(|mut c| {
            tokio::spawn(async move {
                assert_eq!(c.until("a|e|50|51.50").await.len(), 50);
                if way == Way::Stream {
                    assert_eq!(c.next().await, None);
                } else {
                    assert_eq!(c.code().await, Some(close::RESTART));
                    assert_eq!(c.next().await, None);
                }
                c.hang_up();
                assert_eq!(c.closed().await, Closed::Ours(close::RESTART));
            })
        });
        let readers: Vec<_> = readers.collect();
        soon(hub.shutdown(close::RESTART, "back soon", Duration::from_secs(15))).await;
        for reader in readers {
            soon(reader).await.expect("flushed");
        }
        assert_eq!(hub.connections(), 0, "{way:?}");
        let mut late = connect(&hub, way).await;
        assert_eq!(late.closed().await, Closed::Ours(close::RESTART));
        assert_eq!(late.next().await, None);
        assert_eq!(hub.join(late.id, &name("a")), Err(JoinError::Gone));
    }
}

#[tokio::test]
async fn shutdown_does_not_wait_for_those_who_do_not_read() {
    for way in ALL {
        let hub = hub(small());
        let mut c = connect(&hub, way).await;
        hub.send(c.id, &vec![b'x'; 500_000]);
        soon(hub.shutdown(close::GOING_AWAY, "bye", Duration::from_millis(50))).await;
        assert_eq!(hub.connections(), 0, "{way:?}");
        assert_eq!(c.closed().await, Closed::Ours(close::GOING_AWAY));
        assert_eq!(c.said_now(), None);
    }
}

/// Clients come, subscribe, leave and go while the dispatcher runs: nothing is left over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_those_who_went() {
    let hub = hub(small());
    let mut tasks = Vec::new();
    for i in 0..12u64 {
        let hub = hub.clone();
        tasks.push(tokio::spawn(async move {
            let mut dice = Dice(i + 1);
            for _ in 0..25 {
                let mut c = connect(&hub, ALL[dice.below(3) as usize]).await;
                for _ in 0..dice.below(12) {
                    let channel = name(["a", "b", "c", "d"][dice.below(4) as usize]);
                    match dice.below(3) {
                        0 => drop(hub.leave(c.id, &channel)),
                        _ => {
                            if let Ok(since) = hub.join(c.id, &channel)
                                && dice.below(4) > 0
                            {
                                // Overflow: a new stream began in between.
                                let _ = hub.go_live(c.id, &channel, &since, &[]);
                            }
                        }
                    }
                    tokio::task::yield_now().await;
                }
                if dice.below(2) == 0 {
                    hub.close(c.id, 1000, "");
                }
                c.hang_up();
                c.closed().await;
            }
        }));
    }
    let mut dice = Dice(99);
    for n in 1..2_000 {
        drain(&hub, n, vec![event("a", n), event("b", n), event(["c", "d"][dice.below(2) as usize], n)]);
        if n % 500 == 0 {
            hub.begin(LIFE, at(n + 1));
        }
        tokio::task::yield_now().await;
    }
    for task in tasks {
        soon(task).await.expect("no panic");
    }
    when(|| hub.connections() == 0).await;
    when(|| hub.stats().fifo_items == 0).await;
    let stats = hub.stats();
    assert_eq!((stats.subscriptions, stats.channels, stats.backlog_bytes), (0, 0, 0));
    assert_eq!(hub.channels(), []);
}
