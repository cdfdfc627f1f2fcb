//! When a cron line is due. tokio-cron-scheduler would freeze a zone's offset at the moment a job is added, and so be an hour
//! off after the clocks change: it gives the beat, this reads the lines.

use chrono::{DateTime, Offset, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds};
use croner::{Cron, JobType};

/// Missed ticks are counted up to here.
pub const TICKS_MAX: i32 = 3_600;
/// No zone repeats more than this at once.
const AMBIGUOUS_MINUTES_MAX: i64 = 180;

/// A cron line in its time zone.
#[derive(Clone, Debug)]
pub struct Line {
    cron: Cron,
    zone: Tz,
}

/// Ticks that have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The newest.
    pub tick: DateTime<Utc>,
    /// The newest of those before it, if there are.
    pub before: Option<DateTime<Utc>>,
    /// How many came before it, at most `TICKS_MAX`.
    pub earlier: i32,
}

impl Line {
    /// Five fields (minute hour day month weekday), or six with seconds first. The error is a sentence.
    pub fn parse(cron: &str, timezone: &str) -> Result<Self, String> {
        let zone = timezone
            .parse()
            .map_err(|_| format!("\"{timezone}\" is not a time zone of the IANA database, such as Europe/Berlin"))?;
        let fields = cron.split_whitespace().count();
        if !(5..=6).contains(&fields) {
            return Err(format!(
                "the cron line \"{cron}\" has {fields} field{}: it needs five, or six with seconds first",
                if fields == 1 { "" } else { "s" }
            ));
        }
        let parser = CronParser::builder().seconds(Seconds::Optional).build();
        let cron = parser.parse(cron).map_err(|e| format!("the cron line \"{cron}\" cannot be read: {e}"))?;
        Ok(Self { cron, zone })
    }

    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self.cron.determine_job_type() {
            JobType::FixedTime => self.next_of_day(after),
            JobType::IntervalWildcard => self.next_of_many(after),
        }
    }

    /// A time of day. In the hour that comes twice croner answers with the first, which may be behind us: asked again from
    /// later on.
    fn next_of_day(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let probes = (0..=AMBIGUOUS_MINUTES_MAX).map(|minutes| whole(after) + TimeDelta::minutes(minutes));
        for probe in probes {
            let next = self.cron.find_next_occurrence(&probe.with_timezone(&self.zone), false).ok()?.to_utc();
            if next > after {
                return Some(next);
            }
        }
        None
    }

    /// Many times a day: through both of two hours that are called the same, where croner would leave the second out. Looked
    /// for in the offset of now, and, if the clocks change before that, from the change on in the new one.
    fn next_of_many(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let offset = |at: DateTime<Utc>| at.with_timezone(&self.zone).offset().fix();
        let next_in = |from: DateTime<Utc>| {
            let next = self.cron.find_next_occurrence(&whole(from).with_timezone(&offset(from)), false).ok()?.to_utc();
            Some(next).filter(|next| *next > from)
        };
        let next = next_in(after)?;
        if offset(next) == offset(after) {
            return Some(next);
        }
        // The last second before the change.
        let (mut before, mut past) = (whole(after), next);
        while past - before > TimeDelta::seconds(1) {
            let middle = whole(before + (past - before) / 2);
            if offset(middle) == offset(next) { past = middle } else { before = middle }
        }
        let found = self.cron.find_next_occurrence(&before.with_timezone(&offset(next)), false).ok()?.to_utc();
        Some(found).filter(|found| *found > after)
    }

    /// What came after `settled`, up to `now`.
    pub fn due(&self, settled: DateTime<Utc>, now: DateTime<Utc>) -> Option<Due> {
        let mut due = Due { tick: self.next(settled).filter(|tick| *tick <= now)?, before: None, earlier: 0 };
        while let Some(next) = self.next(due.tick).filter(|tick| *tick <= now) {
            due = Due { tick: next, before: Some(due.tick), earlier: due.earlier + 1 };
            if due.earlier == TICKS_MAX {
                // Far behind: the newest two are found from the other end.
                due.tick = self.last(now, true).filter(|last| *last > due.tick).unwrap_or(due.tick);
                due.before = self.last(due.tick, false).or(due.before);
                break;
            }
        }
        Some(due)
    }

    fn last(&self, upto: DateTime<Utc>, inclusive: bool) -> Option<DateTime<Utc>> {
        let last = self.cron.find_previous_occurrence(&whole(upto).with_timezone(&self.zone), inclusive).ok()?;
        Some(last.to_utc())
    }
}

/// croner keeps the fraction of the second that it is given.
fn whole(at: DateTime<Utc>) -> DateTime<Utc> {
    at.with_nanosecond(0).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    fn line(cron: &str, zone: &str) -> Line {
        Line::parse(cron, zone).unwrap_or_else(|e| panic!("{e}"))
    }

    fn next(line: &Line, from: &str, count: usize) -> Vec<String> {
        let mut ticks = vec![at(from)];
        (0..count).for_each(|i| ticks.extend(line.next(ticks[i])));
        ticks[1..].iter().map(|t| t.format("%m-%d %H:%M:%S").to_string()).collect()
    }

    #[test]
    fn five_fields_or_six_and_a_sentence_for_the_rest() {
        assert_eq!(next(&line("*/10 * * * *", "UTC"), "2026-11-20T16:05:00Z", 2), ["11-20 16:10:00", "11-20 16:20:00"]);
        assert_eq!(
            next(&line("*/5 * * * * *", "UTC"), "2026-11-20T16:05:01Z", 2),
            ["11-20 16:05:05", "11-20 16:05:10"]
        );
        for (cron, zone, said) in [
            ("* * * *", "UTC", "has 4 fields: "),
            ("now", "UTC", "has 1 field: "),
            ("61 * * * *", "UTC", "cannot be read"),
            ("* * * * mon-frog", "UTC", "cannot be read"),
            ("* * * * *", "Mars/Olympus", "is not a time zone"),
        ] {
            let refused = Line::parse(cron, zone).map(|_| ()).expect_err(cron);
            assert!(refused.contains(said), "{cron}: {refused}");
        }
    }

    #[test]
    fn utc_knows_no_summer_and_a_zone_does() {
        // In Berlin, 2026-03-29 has no 02:30, and 2026-10-25 has two.
        let utc = line("30 2 * * *", "UTC");
        assert_eq!(next(&utc, "2026-03-28T12:00:00Z", 2), ["03-29 02:30:00", "03-30 02:30:00"]);
        let berlin = line("30 2 * * *", "Europe/Berlin");
        // 02:30 that does not exist is run at 03:00; of the two, the first.
        assert_eq!(next(&berlin, "2026-03-27T12:00:00Z", 3), ["03-28 01:30:00", "03-29 01:00:00", "03-30 00:30:00"]);
        assert_eq!(next(&berlin, "2026-10-23T12:00:00Z", 3), ["10-24 00:30:00", "10-25 00:30:00", "10-26 01:30:00"]);
        // Asked in the second 02:xx, the first is behind us.
        assert_eq!(next(&berlin, "2026-10-25T01:10:00Z", 1), ["10-26 01:30:00"]);
        assert_eq!(next(&line("5 3 * * *", "Europe/Berlin"), "2026-10-25T01:10:00Z", 1), ["10-25 02:05:00"]);
        // What runs many times a day does so in each hour that there is.
        let hourly = line("30 * * * *", "Europe/Berlin");
        assert_eq!(next(&hourly, "2026-03-29T00:00:00Z", 2), ["03-29 00:30:00", "03-29 01:30:00"]);
        let both = ["10-25 00:30:00", "10-25 01:30:00", "10-25 02:30:00"];
        assert_eq!(next(&hourly, "2026-10-25T00:00:00Z", 3), both);
        let often = line("*/10 * * * *", "Europe/Berlin");
        for from in ["2026-03-29T00:45:00Z", "2026-10-25T00:45:00Z", "2026-10-25T01:05:00Z"] {
            let ticks = next(&often, from, 18);
            let utc = next(&line("*/10 * * * *", "UTC"), from, 18);
            assert_eq!(ticks, utc, "{from}");
        }
        // New York is behind UTC; Lord Howe Island moves by half an hour; noon in summer, seen from winter.
        let ny = line("0 */2 * * *", "America/New_York");
        assert_eq!(next(&ny, "2026-03-08T04:00:00Z", 3), ["03-08 05:00:00", "03-08 08:00:00", "03-08 10:00:00"]);
        let howe = line("*/15 * * * *", "Australia/Lord_Howe");
        assert_eq!(next(&howe, "2026-04-04T14:31:00Z", 3), ["04-04 14:45:00", "04-04 15:00:00", "04-04 15:15:00"]);
        let summer = line("0,30 12 1 7 *", "Europe/Berlin");
        assert_eq!(next(&summer, "2026-01-01T00:00:00Z", 2), ["07-01 10:00:00", "07-01 10:30:00"]);
    }

    #[test]
    fn what_is_due_is_the_newest_tick_and_how_many_came_before() {
        let seconds = line("* * * * * *", "UTC");
        let now = at("2026-11-20T16:05:10.300Z");
        let due = |settled: &str| seconds.due(at(settled), now);
        assert_eq!(due("2026-11-20T16:05:10Z"), None);
        let tick = at("2026-11-20T16:05:10Z");
        assert_eq!(due("2026-11-20T16:05:09Z"), Some(Due { tick, before: None, earlier: 0 }));
        let before = Some(at("2026-11-20T16:05:09Z"));
        assert_eq!(due("2026-11-20T16:05:07.5Z"), Some(Due { tick, before, earlier: 2 }));
        assert_eq!(due("2025-11-20T16:05:07Z"), Some(Due { tick, before, earlier: TICKS_MAX }));
        assert_eq!(due("2027-01-01T00:00:00Z"), None, "a clock that went back");
        assert_eq!(line("0 0 30 2 *", "UTC").next(now), None, "never");
    }
}
