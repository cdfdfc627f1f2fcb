//! How much a client may say: two leaky buckets, one of frames and one of bytes, without a timer.

/// Thousandths of a frame or a byte that have not leaked yet. Exact in integers: a rate per second is as many
/// thousandths per millisecond.
#[derive(Debug, Default)]
pub struct Meter {
    at_ms: u64,
    frames: i64,
    bytes: i64,
    /// We were the ones who did not read: what came meanwhile was said over that time, not at once.
    waited: bool,
}

/// Per second, each; 0: as much as it likes. A bucket holds `BURST_S` seconds of it.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    pub frames: u32,
    pub bytes: u32,
}

const BURST_S: i64 = 2;
/// A pause counts for this long at most.
const WAITED_MS_MAX: u64 = 60_000;

impl Meter {
    /// Time has passed, and `bytes` came. False: too many.
    pub fn heard(&mut self, now_ms: u64, bytes: usize, rates: Rates) -> bool {
        let passed = now_ms.saturating_sub(self.at_ms).min(WAITED_MS_MAX) as i64;
        self.at_ms = now_ms;
        let floor = if std::mem::take(&mut self.waited) { i64::MIN } else { 0 };
        self.frames = (self.frames - passed * i64::from(rates.frames)).max(floor);
        self.bytes = (self.bytes - passed * i64::from(rates.bytes)).max(floor) + bytes as i64 * 1000;
        rates.bytes == 0 || self.bytes <= i64::from(rates.bytes) * 1000 * BURST_S
    }

    /// One more frame. False: too many.
    pub fn frame(&mut self, rates: Rates) -> bool {
        self.frames += 1000;
        rates.frames == 0 || self.frames <= i64::from(rates.frames) * 1000 * BURST_S
    }

    pub fn waited(&mut self) {
        self.waited = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates = Rates { frames: 10, bytes: 100 };

    #[test]
    fn a_burst_of_two_seconds_and_then_the_rate() {
        let mut meter = Meter::default();
        assert!(meter.heard(1_000, 0, RATES));
        assert!((0..20).all(|_| meter.frame(RATES)));
        assert!(!meter.frame(RATES), "the 21st at once");
        // The one too many counts, too.
        assert!(meter.heard(1_199, 0, RATES) && !meter.frame(RATES));
        let mut meter = Meter::default();
        let mut said = 0;
        for ms in 0..10_000 {
            assert!(meter.heard(ms, 0, RATES));
            while meter.frames + 1000 <= 20_000 {
                assert!(meter.frame(RATES));
                said += 1;
            }
        }
        assert_eq!(said, 20 + 99, "ten seconds at the rate, after the burst");
    }

    #[test]
    fn bytes_have_a_bucket_of_their_own() {
        let mut meter = Meter::default();
        assert!(meter.heard(5_000, 200, RATES));
        assert!(!meter.heard(5_001, 1, RATES), "200 a moment ago");
        assert!(meter.heard(7_100, 190, RATES));
        let mut open = Meter::default();
        let none = Rates { frames: 0, bytes: 0 };
        assert!((0..1000).all(|_| open.frame(none)) && open.heard(0, usize::MAX >> 20, none));
    }

    #[test]
    fn what_came_while_we_did_not_read_was_said_over_that_time() {
        let mut meter = Meter::default();
        assert!(meter.heard(0, 0, RATES));
        meter.waited();
        assert!(meter.heard(10_000, 0, RATES));
        assert!((0..120).all(|_| meter.frame(RATES)) && !meter.frame(RATES), "ten seconds and a burst");
    }
}
