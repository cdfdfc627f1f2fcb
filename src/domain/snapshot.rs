use std::fmt;
use std::str::FromStr;

/// A full transaction id (`xid8`): 64 bits, never wraps.
pub type Xid = u64;

/// A Postgres snapshot (`pg_snapshot`): which transactions had ended, to somebody who looked then.
///
/// `xmin <= every xip < xmax`; `xip` is sorted and without duplicates. Snapshots of one primary are
/// nested: of two, one covers the other. Text form and meaning: PostgreSQL documentation, 9.27
/// "Transaction ID and Snapshot Information Functions".
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    xmin: Xid,
    xmax: Xid,
    xip: Box<[Xid]>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a snapshot: expected xmin:xmax:xip,… in ascending order")]
pub struct SnapshotError;

impl Snapshot {
    /// Errors unless `0 < xmin <= xmax` and `xip` ascends strictly within `xmin..xmax`.
    pub fn new(xmin: Xid, xmax: Xid, xip: Vec<Xid>) -> Result<Self, SnapshotError> {
        let ordered = xip.windows(2).all(|w| w[0] < w[1]);
        let within = xip.iter().all(|x| (xmin..xmax).contains(x));
        if xmin == 0 || xmin > xmax || !ordered || !within {
            return Err(SnapshotError);
        }
        Ok(Self { xmin, xmax, xip: xip.into() })
    }

    /// Of before the first transaction.
    pub fn nothing() -> Self {
        Self { xmin: 1, xmax: 1, xip: Box::default() }
    }

    pub fn xmin(&self) -> Xid {
        self.xmin
    }

    pub fn xmax(&self) -> Xid {
        self.xmax
    }

    /// The transactions below `xmax` that were still running.
    pub fn xip(&self) -> &[Xid] {
        &self.xip
    }

    /// Had `xid` ended when the snapshot was taken (`pg_visible_in_snapshot`)?
    pub fn sees(&self, xid: Xid) -> bool {
        xid < self.xmin || (xid < self.xmax && self.xip.binary_search(&xid).is_err())
    }

    /// May rotation, which has dropped events of transactions up to `horizon`, have dropped one that this snapshot does
    /// not see? `now` is a later snapshot: what still runs there cannot have been dropped.
    pub fn overrun_by(&self, horizon: Xid, now: &Snapshot) -> bool {
        horizon >= self.xmax || self.xip.iter().any(|&x| x <= horizon && now.sees(x))
    }

    /// Does this snapshot see everything that `other` sees?
    pub fn covers(&self, other: &Snapshot) -> bool {
        // What other sees and we do not could be among our running ones, or at and above our xmax.
        if self.xip.iter().any(|&x| other.sees(x)) {
            return false;
        }
        if other.xmax <= self.xmax {
            return true;
        }
        let beyond = other.xip.len() - other.xip.partition_point(|&x| x < self.xmax);
        beyond as u64 == other.xmax - self.xmax
    }
}

impl FromStr for Snapshot {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        let number = |s: &str| s.parse::<Xid>().map_err(|_| SnapshotError);
        let mut parts = text.splitn(3, ':');
        let (Some(xmin), Some(xmax), Some(xip)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(SnapshotError);
        };
        let xip = if xip.is_empty() { Vec::new() } else { xip.split(',').map(number).collect::<Result<_, _>>()? };
        Self::new(number(xmin)?, number(xmax)?, xip)
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (i, x) in self.xip.iter().enumerate() {
            write!(f, "{}{x}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snap(text: &str) -> Snapshot {
        text.parse().expect(text)
    }

    #[test]
    fn text_round_trips_and_bad_text_is_refused() {
        for text in ["10:10:", "10:20:10,14,19", "3:3:"] {
            assert_eq!(snap(text).to_string(), text);
        }
        for text in [
            "",
            "10",
            "10:20",
            "20:10:",
            "10:20:9",
            "10:20:20",
            "10:20:15,14",
            "10:20:14,14",
            "0:1:",
            "a:b:",
            "10:20:x",
            "-1:2:",
        ] {
            assert_eq!(text.parse::<Snapshot>(), Err(SnapshotError), "{text}");
        }
    }

    #[test]
    fn sees_what_had_ended() {
        let s = snap("10:20:10,14");
        for (xid, seen) in [(9, true), (10, false), (11, true), (14, false), (19, true), (20, false), (99, false)] {
            assert_eq!(s.sees(xid), seen, "{xid}");
        }
    }

    #[test]
    fn the_horizon_overruns_what_was_not_seen() {
        let s = snap("10:20:10,14");
        for (horizon, now, overrun) in [
            (9, "30:30:", false),
            (10, "30:30:", true),
            (10, "10:30:10", false), // 10 still runs: nothing of it can have been dropped
            (13, "14:30:14", true),
            (19, "10:30:10,14", false),
            (20, "10:30:10,14", true),
        ] {
            assert_eq!(s.overrun_by(horizon, &snap(now)), overrun, "horizon {horizon} now {now}");
        }
    }

    #[test]
    fn covers_agrees_with_its_definition_on_every_small_pair() {
        let mut all = Vec::new();
        for xmin in 1..4u64 {
            for xmax in xmin..5 {
                for bits in 0..(1u32 << (xmax - xmin)) {
                    let xip = (xmin..xmax).filter(|x| bits >> (x - xmin) & 1 == 1).collect();
                    all.push(Snapshot::new(xmin, xmax, xip).expect("in range"));
                }
            }
        }
        for a in &all {
            for b in &all {
                let by_definition = (0..8).all(|x| !b.sees(x) || a.sees(x));
                assert_eq!(a.covers(b), by_definition, "{a} covers {b}");
            }
        }
    }
}
