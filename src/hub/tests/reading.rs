//! What clients send: whole, in pieces, broken.

use std::io::{Read, Write};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::*;
use crate::hub::codec::masked;

#[tokio::test]
async fn messages_pings_and_closing() {
    for way in SOCKETS {
        let hub = hub(small());
        let mut c = connect(&hub, way).await;
        c.say(Ws::text("one")).await;
        c.say(Ws::binary(vec![1, 2])).await;
        c.say(Ws::Ping("payload".into())).await;
        c.say(Ws::text("zwei ü")).await;
        assert_eq!(c.said().await, Said::Text("one".into()), "{way:?}");
        assert_eq!(c.said().await, Said::Binary);
        assert_eq!(c.said().await, Said::Text("zwei ü".into()));
        assert_eq!(c.frame().await, Ws::Pong("payload".into()));
        c.say(Ws::Close(None)).await;
        assert_eq!(c.closed().await, Closed::Peer);
        when(|| hub.connections() == 0).await;
        assert_eq!(hub.stats().frames_in, 3);
        assert_eq!(hub.stats().protocol_errors, 0);
    }
}

/// What a raw peer sends, in one go or byte by byte; what the client hears; the code that the peer reads.
#[tokio::test]
async fn every_fault_has_its_code() {
    let text = |s: &str| Said::Text(s.into());
    let big = vec![b'x'; 101];
    type Case = (&'static str, Vec<u8>, Vec<Said>, Option<u16>);
    let cases: Vec<Case> = vec![
        ("close 1000", masked(0x88, &[3, 232]), vec![], Some(1000)),
        ("close 4999 with a reason", masked(0x88, b"\x13\x87bye"), vec![], Some(4999)),
        ("close without a code", masked(0x88, b""), vec![], None),
        ("close 1005", masked(0x88, &[3, 237]), vec![], Some(1002)),
        ("close 999", masked(0x88, &[3, 231]), vec![], Some(1002)),
        ("half a code", masked(0x88, &[3]), vec![], Some(1002)),
        ("close reason not UTF-8", masked(0x88, &[3, 232, 0xff]), vec![], Some(1007)),
        ("not masked", vec![0x81, 1, b'a'], vec![], Some(1002)),
        ("reserved bit", masked(0xc1, b"a"), vec![], Some(1002)),
        ("opcode 3", masked(0x83, b"a"), vec![], Some(1002)),
        ("opcode 11", masked(0x8b, b"a"), vec![], Some(1002)),
        ("fragmented ping", masked(0x09, b"a"), vec![], Some(1002)),
        ("long ping", masked(0x89, &[0; 126]), vec![], Some(1002)),
        ("continuation of nothing", masked(0x80, b"a"), vec![], Some(1002)),
        ("length not shortest", vec![0x81, 0x80 | 126, 0, 5, 0, 0, 0, 0], vec![], Some(1002)),
        ("length of 2^63", [&[0x81, 0x80 | 127, 0x80][..], &[0; 7]].concat(), vec![], Some(1002)),
        ("too big", masked(0x81, &big), vec![], Some(1009)),
        ("too big by its head alone", vec![0x82, 0x80 | 126, 0xff, 0xff], vec![], Some(1009)),
        ("not UTF-8", masked(0x81, &[0xc3, 0x28]), vec![], Some(1007)),
        ("a message in a message", [masked(0x01, b"a"), masked(0x81, b"b")].concat(), vec![], Some(1002)),
        (
            "fragments, a ping between them, then the end",
            [
                masked(0x01, "fü".as_bytes()),
                masked(0x00, &[0xc3]),
                masked(0x89, b""),
                masked(0x80, &[0xbc]),
                masked(0x88, b""),
            ]
            .concat(),
            vec![text("füü")],
            None,
        ),
        (
            "fragments that are too big together",
            [masked(0x01, &big[..60]), masked(0x80, &big[..60])].concat(),
            vec![],
            Some(1009),
        ),
        (
            "fragments that are not UTF-8 together",
            [masked(0x01, &[0xc3]), masked(0x80, &[0x28])].concat(),
            vec![],
            Some(1007),
        ),
        (
            "good, then bad, then good",
            [masked(0x81, b"good"), masked(0x80, b""), masked(0x81, b"unheard")].concat(),
            vec![text("good")],
            Some(1002),
        ),
        (
            "binary in fragments",
            [masked(0x02, b"a"), masked(0x80, b"b"), masked(0x88, b"")].concat(),
            vec![Said::Binary],
            None,
        ),
        ("a client that panics", masked(0x81, b"panic"), vec![], Some(1011)),
    ];
    let hub = hub(Config { frame_bytes_max: 100, ..small() });
    for way in SOCKETS {
        for whole in [true, false] {
            for (what, bytes, heard, code) in &cases {
                let what = format!("{way:?}, {what}, whole: {whole}");
                let (client, mut said) = noter();
                let mut peer: Box<dyn AsyncReadWrite> = match way {
                    Way::Tcp => {
                        let (ours, theirs) = pair();
                        theirs.set_nonblocking(true).expect("a socket");
                        hub.adopt_tcp(ours, Vec::new(), 0, client);
                        Box::new(tokio::net::TcpStream::from_std(theirs).expect("a socket"))
                    }
                    _ => {
                        let (ours, theirs) = tokio::io::duplex(64);
                        hub.adopt_io(Box::new(ours), Vec::new(), 0, client);
                        Box::new(theirs)
                    }
                };
                let pieces: Vec<&[u8]> = if whole { vec![bytes] } else { bytes.chunks(1).collect() };
                for piece in pieces {
                    if peer.write_all(piece).await.is_err() {
                        break; // It has had enough already.
                    }
                    tokio::task::yield_now().await;
                }
                for said_now in heard {
                    assert_eq!(soon(said.recv()).await.as_ref(), Some(said_now), "{what}");
                }
                let why = soon(said.recv()).await;
                let fault = code.filter(|c| matches!(c, 1002 | 1007 | 1009 | 1011));
                assert_eq!(why, Some(Said::Closed(fault.map_or(Closed::Peer, Closed::Ours))), "{what}");
                // The last frame is the close frame, then comes the end, though we have not answered.
                let mut answer = Vec::new();
                soon(peer.read_to_end(&mut answer)).await.expect(&what);
                if what.contains("a ping between") {
                    assert_eq!(answer[..2], [0x8a, 0], "{what}");
                    answer.drain(..2);
                }
                assert_eq!(answer.first(), Some(&0x88), "{what}");
                let got = answer.get(2..4).map(|b| u16::from_be_bytes([b[0], b[1]]));
                assert_eq!(got, *code, "{what}");
                assert_eq!(answer.len(), 2 + answer[1] as usize, "{what}: one frame and no more");
            }
        }
    }
    when(|| hub.connections() == 0).await;
}

#[tokio::test]
async fn what_came_with_the_handshake_is_not_lost() {
    let whole = [masked(0x81, b"first"), masked(0x81, b"second"), masked(0x81, b"third")].concat();
    let hub = hub(small());
    for cut in 0..=whole.len() {
        for way in SOCKETS {
            let (client, mut said) = noter();
            let (early, later) = whole.split_at(cut);
            let _peer: Box<dyn AsyncReadWrite> = match way {
                Way::Tcp => {
                    let (ours, mut theirs) = pair();
                    hub.adopt_tcp(ours, early.to_vec(), 0, client);
                    theirs.write_all(later).expect("room");
                    theirs.set_nonblocking(true).expect("a socket");
                    Box::new(tokio::net::TcpStream::from_std(theirs).expect("a socket"))
                }
                _ => {
                    let (ours, mut theirs) = tokio::io::duplex(1000);
                    hub.adopt_io(Box::new(ours), early.to_vec(), 0, client);
                    theirs.write_all(later).await.expect("room");
                    Box::new(theirs)
                }
            };
            for text in ["first", "second", "third"] {
                assert_eq!(soon(said.recv()).await, Some(Said::Text(text.into())), "{way:?}, cut at {cut}");
            }
        }
    }
}

#[tokio::test]
async fn a_paused_client_is_asked_nothing_until_it_resumes() {
    for way in SOCKETS {
        let hub = hub(small());
        let mut c = connect(&hub, way).await;
        c.client.pause.store(true, SeqCst);
        for n in 0..5 {
            c.say(Ws::text(n.to_string())).await;
        }
        // Frames that were read together with the first are held back; frames in the socket, too.
        for n in 0..5 {
            assert_eq!(c.said().await, Said::Text(n.to_string()), "{way:?}");
            c.send(&hub, "answer");
            assert_eq!(c.text().await, "answer", "writing goes on");
            assert_eq!(c.said_now(), None, "{way:?}: paused after {n}");
            if n == 4 {
                // Arrives while nothing is read: no second edge will tell of it.
                c.say(Ws::text("5")).await;
                c.client.pause.store(false, SeqCst);
                c.send(&hub, "again");
                assert_eq!(c.text().await, "again");
                assert_eq!(c.said_now(), None);
            }
            hub.resume_reading(c.id);
        }
        assert_eq!(c.said().await, Said::Text("5".into()));
        // A resume that nobody waited for is nothing.
        hub.resume_reading(c.id);
        c.hang_up();
        assert_eq!(c.closed().await, Closed::Peer);
    }
}

#[tokio::test]
async fn a_pause_is_not_an_idle_timeout() {
    for way in SOCKETS {
        let hub = hub(Config { heartbeat_ms: 10, idle_timeout_ms: 40, ..small() });
        let mut c = connect(&hub, way).await;
        c.client.pause.store(true, SeqCst);
        c.say(Ws::text("slow command")).await;
        assert_eq!(c.said().await, Said::Text("slow command".into()));
        let mut pings = 0;
        while pings < 12 {
            pings += u32::from(matches!(c.frame().await, Ws::Ping(_)));
        }
        assert_eq!(c.said_now(), None, "{way:?}");
        hub.resume_reading(c.id);
        c.say(Ws::text("next")).await;
        assert_eq!(c.said().await, Said::Text("next".into()));
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_still_heard() {
    for way in SOCKETS {
        let hub = hub(small());
        let mut c = connect(&hub, way).await;
        c.client.pause.store(true, SeqCst);
        for n in 0..5 {
            c.say(Ws::text(n.to_string())).await;
        }
        // More than the socket takes: writing waits.
        hub.send(c.id, &[b'x'; 500_000]);
        for n in 0..5 {
            assert_eq!(c.said().await, Said::Text(n.to_string()), "{way:?}");
            hub.resume_reading(c.id);
        }
        assert_eq!(c.text().await.len(), 500_000);
    }
}

#[tokio::test]
async fn a_paused_client_that_is_closed_still_answers() {
    for way in SOCKETS {
        let hub = hub(Config { close_grace_ms: 3_600_000, ..small() });
        let mut c = connect(&hub, way).await;
        c.client.pause.store(true, SeqCst);
        c.say(Ws::text("last command")).await;
        c.say(Ws::text("unheard")).await;
        assert_eq!(c.said().await, Said::Text("last command".into()));
        hub.close(c.id, close::FORBIDDEN, "");
        assert_eq!(c.code().await, Some(close::FORBIDDEN));
        // Polled again, tungstenite answers, and waits for the end that follows.
        assert_eq!(c.next().await, None, "{way:?}");
        when(|| hub.connections() == 0).await;
        assert_eq!(c.said().await, Said::Closed(Closed::Ours(close::FORBIDDEN)));
        assert_eq!(c.said_now(), None);
    }
}

/// Whatever a peer sends, however it is cut: the shard lives on, and every connection ends.
#[test]
fn noise_ends_a_connection_and_nothing_else() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let hub = hub(Config { frame_bytes_max: 4000, close_grace_ms: 50, ..small() });
    let mut good = runtime.block_on(connect(&hub, Way::Tcp));
    good.live(&hub, "a");
    let mut dice = Dice(42);
    for round in 0..400 {
        let (client, mut said) = noter();
        let (ours, mut theirs) = pair();
        let mut bytes = Vec::new();
        for _ in 0..dice.below(6) {
            let payload: Vec<u8> = (0..dice.below(200)).map(|_| dice.below(128) as u8).collect();
            bytes.extend(masked([0x81, 0x82, 0x89, 0x8a, 0x01, 0x80][dice.below(6) as usize], &payload));
        }
        for _ in 0..dice.below(4) {
            if !bytes.is_empty() {
                let at = dice.below(bytes.len() as u64) as usize;
                bytes[at] = dice.below(256) as u8;
            }
        }
        bytes.extend((0..dice.below(20)).map(|_| dice.below(256) as u8));
        let early = dice.below(bytes.len() as u64 + 1) as usize;
        hub.adopt_tcp(ours, bytes[..early].to_vec(), 0, client);
        let mut at = early;
        while at < bytes.len() {
            let to = (at + 1 + dice.below(60) as usize).min(bytes.len());
            if theirs.write_all(&bytes[at..to]).is_err() {
                break;
            }
            at = to;
        }
        let _ = theirs.shutdown(std::net::Shutdown::Write);
        theirs.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        let mut sink = Vec::new();
        let _ = theirs.read_to_end(&mut sink);
        drop(theirs);
        let closed = runtime.block_on(async {
            let mut closed = 0;
            while let Some(said) = soon(said.recv()).await {
                closed += u32::from(matches!(said, Said::Closed(_)));
            }
            closed
        });
        assert_eq!(closed, 1, "round {round}");
    }
    emit(&hub, "a", 1);
    assert_eq!(runtime.block_on(good.text()), "a|e|1|2.1");
    runtime.block_on(when(|| hub.connections() == 1));
}
