use super::*;
use std::sync::atomic::Ordering::Relaxed;

struct Bench {
    output: Output,
    stats: Stats,
    config: Config,
}

impl Bench {
    fn new(cursor_per_channel: bool) -> Self {
        let config =
            Config { backlog_bytes_max: 1000, backlog_frames_max: 100, lead_bytes_max: 500, ..Config::default() };
        Self { output: Output::new(cursor_per_channel), stats: Stats::default(), config }
    }

    fn push(&mut self, frame: Frame, sent: usize) -> Verdict {
        let verdict = self.output.push(frame, sent, &self.config, &self.stats);
        self.check();
        verdict
    }

    fn keyed(&mut self, topic: u32, key: &str, text: &str) {
        let key = (!key.is_empty()).then(|| key.into());
        self.push(Frame { topic, key, ..Frame::plain(Bytes::copy_from_slice(text.as_bytes())) }, 0);
    }

    /// Everything that waits, as text.
    fn all(&self) -> String {
        let mut slices = [IoSlice::new(&[]); 64];
        let count = self.output.gather(&mut slices);
        slices[..count].iter().map(|s| String::from_utf8_lossy(s)).collect::<Vec<_>>().join(" ")
    }

    fn advance(&mut self, sent: usize) -> u64 {
        let tally = self.output.advance(sent, &self.stats);
        self.check();
        tally.frames
    }

    /// The sums are those of the frames.
    fn check(&self) {
        let queue = self.output.queue.as_deref();
        let bytes = queue.map_or(0, |q| q.frames.iter().map(|f| f.bytes.len()).sum());
        let lead = queue.map_or(0, |q| q.frames.iter().filter(|f| f.lead).map(|f| f.bytes.len()).sum());
        assert_eq!(queue.map_or(0, |q| q.bytes), bytes);
        assert_eq!(queue.map_or(0, |q| q.lead_bytes), lead);
        assert_eq!(self.stats.backlog_bytes.load(Relaxed), bytes as u64);
        if let Some(q) = queue {
            assert_eq!(q.dead, q.frames.iter().filter(|f| f.key.is_some() && f.bytes.is_empty()).count());
            for (of_key, n) in &q.newest_of_key {
                let frame = &q.frames[(n - q.first) as usize];
                assert_eq!((frame.topic, frame.key.clone()), (of_key.0, Some(of_key.1.clone())));
                assert!(!frame.bytes.is_empty());
            }
        }
    }
}

fn text(text: &'static str) -> Frame {
    Frame::plain(Bytes::from_static(text.as_bytes()))
}

#[test]
fn frames_leave_in_order_whatever_the_socket_takes() {
    for step in 1..20 {
        let mut b = Bench::new(true);
        b.push(text("abcdef"), 2);
        b.push(text("ghi"), 0);
        b.push(Frame { glued: true, ..text("jkl") }, 0);
        let (mut got, mut frames) = (String::new(), 0);
        while !b.output.is_empty() {
            let waiting: String = b.all().split(' ').collect();
            let n = step.min(waiting.len());
            got.push_str(&waiting[..n]);
            frames += b.advance(n);
        }
        assert_eq!((&*got, frames), ("cdefghijkl", 2), "{step} at a time");
    }
}

#[test]
fn a_newer_frame_takes_the_place_of_the_older_or_goes_to_the_back() {
    // topic, key, text … ; then what waits where a cursor is per channel, and where it is for all.
    type Case = (&'static [(u32, &'static str, &'static str)], &'static str, &'static str);
    let cases: [Case; 6] = [
        (&[(1, "k", "a1"), (1, "k", "a2")], "a2", "a2"),
        (&[(1, "k", "a1"), (2, "k", "b1"), (1, "k", "a2")], "a2 b1", "b1 a2"),
        (&[(1, "k", "a1"), (1, "", "a2"), (1, "k", "a3")], "a2 a3", "a2 a3"),
        (&[(1, "k", "a1"), (1, "l", "a2"), (1, "k", "a3"), (1, "l", "a4")], "a3 a4", "a3 a4"),
        (
            &[(1, "k", "a1"), (TOPIC_HEARTBEAT, "h", "h1"), (1, "k", "a2"), (TOPIC_HEARTBEAT, "h", "h2")],
            "a2 h2",
            "a2 h2",
        ),
        (&[(1, "k", "a1"), (TOPIC_NONE, "", "answer"), (1, "k", "a2"), (1, "k", "a3")], "answer a3", "answer a3"),
    ];
    for (pushes, per_channel, for_all) in cases {
        for (cursor_per_channel, expected) in [(true, per_channel), (false, for_all)] {
            let mut b = Bench::new(cursor_per_channel);
            for (topic, key, text) in pushes {
                b.keyed(*topic, key, text);
            }
            assert_eq!(b.all(), expected, "{pushes:?} {cursor_per_channel}");
            b.advance(expected.replace(' ', "").len());
            assert!(b.output.is_empty());
        }
    }
}

#[test]
fn what_has_begun_is_neither_replaced_nor_dropped() {
    let mut b = Bench::new(true);
    b.push(Frame { topic: 1, key: Some("k".into()), ..text("begun") }, 2);
    b.keyed(1, "k", "new");
    b.keyed(1, "k", "newer");
    assert_eq!(b.all(), "gun newer");
    b.output.cut(Bytes::from_static(b"close"), &b.stats);
    b.check();
    assert_eq!(b.all(), "gun close");
    assert_eq!(b.push(text("late"), 0), Verdict::Queued);
    assert_eq!(b.all(), "gun close", "nothing comes after the last frame");

    // A frame in two pieces: both or neither.
    for (sent, expected) in [(0, "close"), (1, "ead body close"), (4, "body close")] {
        let mut b = Bench::new(true);
        b.push(text("head"), 0);
        b.push(Frame { glued: true, ..text("body") }, 0);
        b.push(text("other"), 0);
        b.advance(sent);
        b.output.cut(Bytes::from_static(b"close"), &b.stats);
        b.check();
        assert_eq!(b.all(), expected, "{sent} bytes of it sent");
        b.output.clear(&b.stats);
        b.check();
    }
}

#[test]
fn the_bounds_are_bytes_frames_and_lead() {
    let big = |n: usize| Frame::plain(Bytes::from(vec![b'x'; n]));
    let mut b = Bench::new(true);
    assert_eq!(b.push(big(5000), 0), Verdict::Queued, "one alone can only be waited for");
    assert_eq!(b.push(big(1), 0), Verdict::Full);
    let mut b = Bench::new(true);
    assert_eq!(b.push(big(600), 0), Verdict::Queued);
    assert_eq!(b.push(big(400), 0), Verdict::Queued);
    assert_eq!(b.push(Frame { lead: true, ..big(500) }, 0), Verdict::Queued, "what was asked for counts apart");
    assert_eq!(b.push(big(1), 0), Verdict::Full);
    let mut b = Bench::new(true);
    assert_eq!(b.push(Frame { lead: true, ..big(400) }, 0), Verdict::Queued);
    assert_eq!(b.push(Frame { lead: true, ..big(101) }, 0), Verdict::Full);
    let mut b = Bench::new(true);
    let fine = (0..100).all(|_| b.push(big(1), 0) == Verdict::Queued);
    assert!(fine && b.push(big(1), 0) == Verdict::Full);
}

#[test]
fn replacing_for_ever_needs_no_more_memory() {
    let mut b = Bench::new(false);
    b.keyed(9, "", "front");
    for n in 0..10_000 {
        b.keyed(n % 3, "k", &format!("{n}"));
        b.keyed(TOPIC_HEARTBEAT, "h", "h");
        assert!(b.output.queue.as_ref().is_some_and(|q| q.frames.len() < 200));
    }
    assert_eq!(b.all(), "front 9997 9998 9999 h");
    b.keyed(1, "k", "last");
    assert_eq!(b.all(), "front 9998 9999 h last");
}

#[test]
fn a_writer_with_its_own_buffer_takes_chunks() {
    let mut b = Bench::new(true);
    for t in ["aaaa", "bbbb", "cccc", "dddd"] {
        b.push(text(t), 0);
    }
    let (chunk, tally) = b.output.take(10, &b.stats).expect("waiting");
    assert_eq!((&chunk[..], tally.frames), (&b"aaaabbbb"[..], 2));
    b.check();
    let (chunk, _) = b.output.take(3, &b.stats).expect("waiting");
    assert_eq!(&chunk[..], b"cccc", "one is taken whole");
    assert!(b.output.take(10, &b.stats).is_some());
    assert!(b.output.take(10, &b.stats).is_none() && b.output.is_empty());
    // The end of a stream is a frame without bytes.
    b.push(Frame::last(Bytes::new()), 0);
    assert!(b.output.take(10, &b.stats).is_none() && b.output.is_empty() && b.output.is_closing());
}
