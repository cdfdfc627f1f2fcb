//! Who does not read: conflation, the cut, the dispatcher's brake.

use std::sync::Arc;

use bytes::Bytes;

use super::support::*;

const KEYS: [&str; 3] = ["eur", "gbp", "jpy"];

fn quote(n: u64) -> Message {
    let key: Arc<str> = KEYS[n as usize % 3].into();
    Message { conflate: Some(key), data: Bytes::from(format!("{}{n:0>900}", KEYS[n as usize % 3])), ..event("fx", n) }
}

#[tokio::test]
async fn a_slow_client_gets_the_newest_of_each_key_and_the_others_get_all() {
    for way in ALL {
        let hub = hub(Config { backlog_bytes_max: 50_000, ..small() });
        let mut slow = connect(&hub, way).await;
        let mut quick = connect(&hub, way).await;
        slow.live(&hub, "fx");
        quick.live(&hub, "fx");
        const N: u64 = 3_000;
        let mut got = Vec::new();
        for n in 1..=N {
            drain(&hub, n, vec![quote(n)]);
            got.push(quick.text().await);
        }
        assert!(got.iter().enumerate().all(|(i, text)| text.ends_with(&format!("|{}.{}", i + 2, i + 1))), "{way:?}");
        let stats = hub.stats();
        assert!(stats.conflated > N / 2, "{way:?}: {stats:?}");
        assert!(stats.backlog_bytes < 50_000, "{way:?}: {stats:?}");
        slow.send(&hub, "end");
        let got = slow.until("end").await;
        let ids: Vec<u64> = got[..got.len() - 1].iter().map(|t| tail(t)).collect();
        assert!(ids.len() < N as usize / 2, "{way:?}: {} of {N}", ids.len());
        assert!(ids.is_sorted(), "{way:?}: the cursor only advances");
        let mut newest = ids[ids.len() - 3..].to_vec();
        newest.sort();
        assert_eq!(newest, [N - 2, N - 1, N], "{way:?}");
        when(|| hub.stats().backlog_bytes == 0).await;
        assert_eq!(hub.stats().slow_closed, 0);
    }
}

fn tail(text: &str) -> u64 {
    text.rsplit('.').next().and_then(|n| n.parse().ok()).expect("a number")
}

#[tokio::test]
async fn who_cannot_keep_up_is_told_so_and_can_resume() {
    for way in ALL {
        let hub = hub(Config { backlog_bytes_max: 100_000, ..small() });
        let mut slow = connect(&hub, way).await;
        slow.live(&hub, "a");
        let mut n = 0;
        while hub.stats().slow_closed == 0 {
            n += 1;
            drain(&hub, n, vec![Message { data: Bytes::from(format!("{n:0>2000}")), ..event("a", n) }]);
            soon(hub.room()).await;
            tokio::task::yield_now().await;
            assert!(n < 100_000, "{way:?}: it must be cut off");
        }
        assert_eq!(slow.closed().await, Closed::Ours(close::SLOW), "{way:?}");
        assert!(!hub.has_audience(&name("a")));
        // What it gets is whole and without a gap, and says where to go on; then the code.
        let mut last = 0;
        loop {
            let Peer::Ws(ws) = &mut slow.peer else {
                while let Some(text) = slow.next().await {
                    assert_eq!(tail(&text), last + 1);
                    last += 1;
                }
                break;
            };
            let frame = soon(futures_util::StreamExt::next(ws)).await.expect("a close frame").expect("whole frames");
            match frame {
                Ws::Text(text) => {
                    assert_eq!(tail(&text), last + 1);
                    last += 1;
                }
                Ws::Close(frame) => {
                    let frame = frame.expect("with a code");
                    assert_eq!(u16::from(frame.code), close::SLOW);
                    assert_eq!(frame.reason.as_str(), "slow consumer: reconnect and resume with your last cursor");
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(last < n, "{way:?}");
        slow.hang_up();
        when(|| hub.connections() == 0).await;
        assert_eq!(hub.stats().backlog_bytes, 0);
        assert_eq!(slow.said_now(), None, "closed is said once");
    }
}

#[tokio::test]
async fn who_does_not_even_read_the_close_frame_is_dropped_after_the_grace() {
    for way in ALL {
        let hub = hub(Config { close_grace_ms: 30, ..small() });
        let mut c = connect(&hub, way).await;
        hub.send(c.id, &vec![b'x'; 500_000]);
        hub.close(c.id, close::GOING_AWAY, "later");
        assert_eq!(c.closed().await, Closed::Ours(close::GOING_AWAY), "{way:?}");
        when(|| hub.connections() == 0).await;
        assert_eq!(hub.stats().backlog_bytes, 0);
        assert_eq!(c.said_now(), None);
    }
}

#[tokio::test]
async fn the_dispatcher_waits_for_room() {
    let hub = hub(Config { shards: 1, fifo_items_max: 10, flush_window_us: 10_000, ..small() });
    let mut c = connect(&hub, Way::Tcp).await;
    c.live(&hub, "a");
    let mut waited = 0;
    for n in 1..=300 {
        emit(&hub, "a", n);
        let room = hub.room();
        tokio::pin!(room);
        if futures_util::poll!(room.as_mut()).is_pending() {
            waited += 1;
            soon(room).await;
        }
        assert!(hub.stats().fifo_items <= 12, "{}", hub.stats().fifo_items);
    }
    assert!(waited > 3, "{waited}");
    assert_eq!(c.until("a|e|300|301.300").await.len(), 300);
}

#[tokio::test]
async fn memory_of_recent_events_is_bounded_in_bytes() {
    let hub = hub(Config { recent_bytes_max: 20_000, ..small() });
    for n in 1..=100 {
        drain(&hub, n, vec![Message { data: Bytes::from(vec![b'1'; 1000]), ..event("a", n) }]);
    }
    let stats = hub.stats();
    assert!(stats.recent_bytes <= 20_000 && (10..20).contains(&stats.recent_items), "{stats:?}");
    assert!(hub.recent(&name("a"), &cursor(80)).is_none());
    assert_eq!(hub.recent(&name("a"), &cursor(96)).map(|e| e.len()), Some(5));
}
