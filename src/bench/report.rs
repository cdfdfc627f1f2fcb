//! What was measured, and what it means.

use std::fmt;
use std::time::Duration;

use super::fanout::IN_TIME_MS;
use super::figures::Spread;

#[derive(Clone, Debug)]
pub struct Report {
    pub host: Host,
    pub lasts: Duration,
    pub writers: Vec<Writers>,
    pub bulk: Vec<Bulk>,
    pub latency: Latency,
    pub fanout: Fanout,
}

#[derive(Clone, Debug)]
pub struct Host {
    pub postgres: String,
    /// Its address, without a password.
    pub place: String,
    pub role: String,
    pub synchronous_commit: String,
    pub fsync: String,
    /// Does a commit wait for the disk?
    pub durable: bool,
}

/// Commits a second; medians of rounds, the ratio of the rounds' ratios.
#[derive(Clone, Debug)]
pub struct Writers {
    pub writers: usize,
    pub unwatched_per_s: f64,
    pub watched_per_s: f64,
    pub ratio: f64,
}

/// One statement. A ratio is the speed beside the unwatched table's.
#[derive(Clone, Debug)]
pub struct Bulk {
    pub statement: &'static str,
    pub rows: u64,
    pub unwatched_ms: f64,
    pub watched_ms: f64,
    /// Watched with `bulk => true`.
    pub by_statement_ms: f64,
    pub watched_ratio: f64,
    pub by_statement_ratio: f64,
}

#[derive(Clone, Debug)]
pub struct Latency {
    pub clients: usize,
    pub commits_per_s: f64,
    /// From sending the statement to the answered commit: Postgres and its disk.
    pub commit: Spread,
    /// From the answered commit to a client.
    pub after_commit: Spread,
    /// From sending the statement to a client.
    pub whole: Spread,
}

#[derive(Clone, Debug)]
pub struct Fanout {
    pub clients: usize,
    /// The highest rate that was in time.
    pub best: Option<Step>,
    /// The changes could not be made any faster: the server might have kept up with more.
    pub writers_were_the_limit: bool,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub asked_per_s: f64,
    pub changes_per_s: f64,
    pub messages_per_s: f64,
    pub p50_ms: f64,
    pub p95_ms: f64,
    /// Everybody got everything.
    pub complete: bool,
    pub in_time: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Host { postgres, place, role, synchronous_commit, fsync, durable } = &self.host;
        writeln!(f, "Postgres {postgres} at {place} as {role}")?;
        if cfg!(debug_assertions) {
            writeln!(f, "THIS rowcast IS A DEBUG BUILD: build it with --release, these figures mean nothing")?;
        }
        let durable = if *durable { "wait" } else { "do NOT wait" };
        writeln!(f, "commits {durable} for the disk (synchronous_commit {synchronous_commit}, fsync {fsync})")?;
        writeln!(f, "each figure measured for {} s; server, writers and clients on this machine", seconds(self.lasts))?;
        self.writers_text(f)?;
        self.bulk_text(f)?;
        self.latency_text(f)?;
        self.fanout_text(f)
    }
}

impl Report {
    fn writers_text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nWRITERS: one row per transaction")?;
        writeln!(f, "  {:>8}  {:>13}  {:>13}  {:>6}", "writers", "unwatched/s", "watched/s", "ratio")?;
        for w in &self.writers {
            let (plain, watched) = (grouped(w.unwatched_per_s), grouped(w.watched_per_s));
            writeln!(f, "  {:>8}  {plain:>13}  {watched:>13}  {:>6.2}", w.writers, w.ratio)?;
        }
        if let Some(worst) = self.writers.iter().min_by(|a, b| a.ratio.total_cmp(&b.ratio)) {
            let at = if worst.writers == 1 { "one writer".to_owned() } else { format!("{} writers", worst.writers) };
            let words = match worst.ratio {
                r if r >= 0.97 => "no difference that these writers would notice".to_owned(),
                r => format!("each write takes {:.0} % more of the writers' time", (1.0 / r - 1.0) * 100.0),
            };
            writeln!(
                f,
                "  A watched table takes {:.2} × the writes of the same table unwatched with {at}: {words}.",
                worst.ratio
            )?;
        }
        Ok(())
    }

    fn bulk_text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nBULK: many rows in one statement")?;
        writeln!(f, "  {:<24}  {:>12}  {:>20}  {:>20}", "", "unwatched", "watched", "with bulk => true")?;
        for b in &self.bulk {
            let name = match b.statement {
                "copy" => format!("COPY of {} rows", grouped(b.rows as f64)),
                _ => format!("UPDATE of {} rows", grouped(b.rows as f64)),
            };
            let beside = |ms: f64, ratio: f64| format!("{} ({ratio:.2} ×)", millis(ms));
            writeln!(
                f,
                "  {name:<24}  {:>12}  {:>20}  {:>20}",
                millis(b.unwatched_ms),
                beside(b.watched_ms, b.watched_ratio),
                beside(b.by_statement_ms, b.by_statement_ratio)
            )?;
        }
        let gain = self.bulk.iter().map(|b| b.by_statement_ratio / b.watched_ratio).fold(0.0, f64::max);
        match gain {
            g if g >= 1.2 => {
                writeln!(f, "  A plain table that is written in bulk gains up to {g:.1} × by watch(…, bulk => true).")
            }
            _ => writeln!(f, "  bulk => true gains little here."),
        }
    }

    fn latency_text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latency { clients, commits_per_s, commit, after_commit, whole } = &self.latency;
        writeln!(f, "\nLATENCY: {clients} clients, {} commits/s", grouped(*commits_per_s))?;
        for (name, s) in [("the commit itself", commit), ("commit to client", after_commit), ("both", whole)] {
            writeln!(f, "  {name:<20}  p50 {:>9}  p99 {:>9}", millis(s.p50_ms), millis(s.p99_ms))?;
        }
        let (half, most) = (millis(after_commit.p50_ms), millis(after_commit.p99_ms));
        writeln!(f, "  Half of all changes are with a client {half} after their commit, 99 of 100 within {most}.")
    }

    fn fanout_text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clients = self.fanout.clients;
        writeln!(f, "\nFAN-OUT: {} subscribers of one table, synchronous_commit off", grouped(clients as f64))?;
        writeln!(f, "  {:>10}  {:>12}  {:>10}  {:>10}", "changes/s", "messages/s", "p50", "p95")?;
        let mut steps: Vec<&Step> = self.fanout.steps.iter().collect();
        steps.sort_by(|a, b| a.asked_per_s.total_cmp(&b.asked_per_s));
        for s in steps {
            let verdict = match (s.complete, s.in_time) {
                (false, _) => "  seconds behind, or clients cut off",
                (true, false) => "  too late",
                _ => "",
            };
            let (changes, messages) = (grouped(s.changes_per_s), grouped(s.messages_per_s));
            writeln!(
                f,
                "  {changes:>10}  {messages:>12}  {:>10}  {:>10}{verdict}",
                millis(s.p50_ms),
                millis(s.p95_ms)
            )?;
        }
        match &self.fanout.best {
            Some(best) => {
                let (changes, messages) = (grouped(best.changes_per_s), grouped(best.messages_per_s));
                writeln!(
                    f,
                    "  {changes} changes/s reach everybody within {IN_TIME_MS} ms (p95): {messages} messages/s."
                )?;
                match self.fanout.writers_were_the_limit {
                    true => writeln!(f, "  The writers could not make more; the server might deliver it."),
                    false => Ok(()),
                }
            }
            None => writeln!(
                f,
                "  No rate that was tried reaches everybody within {IN_TIME_MS} ms (p95): try fewer --clients."
            ),
        }
    }
}

fn seconds(d: Duration) -> String {
    let s = d.as_secs_f64();
    if s.fract() == 0.0 { format!("{s:.0}") } else { format!("{s:.1}") }
}

fn millis(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms => format!("{} ms", grouped(ms)),
    }
}

/// 12,345; what is small keeps a digit.
fn grouped(value: f64) -> String {
    if value < 10.0 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        for (value, want) in [(0.0, "0"), (2.5, "2.5"), (12.5, "12"), (999.6, "1,000"), (1_234_567.0, "1,234,567")] {
            assert_eq!(grouped(value), want);
        }
        for (ms, want) in [(0.123, "0.12 ms"), (45.67, "45.7 ms"), (1_234.0, "1,234 ms")] {
            assert_eq!(millis(ms), want);
        }
        assert_eq!(
            (seconds(Duration::from_secs(10)), seconds(Duration::from_millis(500))),
            ("10".into(), "0.5".into())
        );
    }
}
