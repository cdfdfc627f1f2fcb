use std::fmt;
use std::time::Duration;

use super::Plan;
use super::follower::{Followed, Role};
use super::truth::Truth;
use super::upkeep::Held;
use super::writer::Written;

/// What was done, what came of it, and whether a promise was broken.
#[derive(Debug)]
pub struct Report {
    pub seed: u64,
    pub lasted: Duration,
    written: Written,
    committed: u64,
    faults: Vec<(&'static str, u64)>,
    held: Vec<Held>,
    received: u64,
    connections: u64,
    resumed: u64,
    fresh: u64,
    resets: u64,
    followers: usize,
    /// Empty: everything that is promised held.
    pub violations: Vec<String>,
}

impl Report {
    #[expect(clippy::too_many_arguments, reason = "the one place that sees everything")]
    pub(super) fn judge(
        plan: &Plan,
        lasted: Duration,
        written: Written,
        committed: u64,
        faults: Vec<(&'static str, u64)>,
        held: Vec<Held>,
        truth: &Truth,
        followed: &[(Role, Followed)],
        missing: usize,
    ) -> Self {
        let mut violations = Vec::new();
        if missing > 0 {
            violations.push(format!("{missing} followers never heard the end"));
        }
        for (Role { channel, manner, sse, .. }, seen) in followed {
            let expected = truth.get(channel);
            if let Some(violation) = &seen.violation {
                violations.push(violation.clone());
            } else if Some(&seen.rows) != expected {
                let odd = expected.into_iter().flatten().filter(|row| !seen.rows.contains(row)).take(3);
                violations.push(format!(
                    "{channel}, {manner:?}, SSE {sse}: knows {} rows of {}, and not {:?}",
                    seen.rows.len(),
                    expected.map_or(0, Vec::len),
                    odd.collect::<Vec<_>>()
                ));
            }
        }
        let sum = |of: fn(&Followed) -> u64| followed.iter().map(|(_, seen)| of(seen)).sum();
        Self {
            seed: plan.seed,
            lasted,
            written,
            committed,
            faults,
            held,
            received: sum(|f| f.events),
            connections: sum(|f| f.connections),
            resumed: sum(|f| f.resumed),
            fresh: sum(|f| f.fresh),
            resets: sum(|f| f.resets),
            followers: followed.len() + missing,
            violations,
        }
    }

    pub fn faults_in_all(&self) -> u64 {
        self.faults.iter().map(|(_, n)| n).sum()
    }

    pub fn received(&self) -> u64 {
        self.received
    }

    pub fn resumed(&self) -> u64 {
        self.resumed
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Written { committed, rolled_back, failed } = self.written;
        writeln!(f, "seed {}, {:.0} s", self.seed, self.lasted.as_secs_f64())?;
        writeln!(f, "transactions  {committed} committed, {rolled_back} rolled back, {failed} failed")?;
        writeln!(
            f,
            "events        {} committed, {} received by {} followers",
            self.committed, self.received, self.followers
        )?;
        writeln!(
            f,
            "connections   {}, of which {} resumed and {} began afresh; {} resets",
            self.connections, self.resumed, self.fresh, self.resets
        )?;
        writeln!(f, "faults        {}", self.faults_in_all())?;
        for (name, n) in self.faults.iter().filter(|(_, n)| *n > 0) {
            writeln!(f, "  {n:>4}  {name}")?;
        }
        let third = self.held.len() / 3;
        for (name, part) in [("first", &self.held[..third]), ("last", &self.held[self.held.len() - third..])] {
            writeln!(f, "{name:<5} third   {}", Held::median(part))?;
        }
        match self.violations.as_slice() {
            [] => writeln!(f, "nothing missing, nothing twice, every row in order, every state as the table has it"),
            violations => {
                writeln!(f, "BROKEN {} times (run again with --seed {}):", violations.len(), self.seed)?;
                violations.iter().try_for_each(|v| writeln!(f, "  {v}"))
            }
        }
    }
}
