//! When a cron line is due. tokio-cron-scheduler would freeze a zone's offset at the moment a job is added, and so be an hour
//! off after the clocks change: it gives the beat, this reads the lines.

use chrono::{DateTime, Timelike, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds};

/// Missed ticks are counted up to here.
pub const TICKS_MAX: i32 = 3_600;

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
                "the cron line \"{cron}\" has {fields} fields: it needs five, or six with seconds first"
            ));
        }
        let parser = CronParser::builder().seconds(Seconds::Optional).build();
        let cron = parser.parse(cron).map_err(|e| format!("the cron line \"{cron}\" cannot be read: {e}"))?;
        Ok(Self { cron, zone })
    }

    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let next = self.cron.find_next_occurrence(&whole(after).with_timezone(&self.zone), false).ok()?;
        Some(next.to_utc()).filter(|next| *next > after)
    }

    /// What came after `settled`, up to `now`.
    pub fn due(&self, settled: DateTime<Utc>, now: DateTime<Utc>) -> Option<Due> {
        let mut due = Due { tick: self.next(settled).filter(|tick| *tick <= now)?, before: None, earlier: 0 };
        while let Some(next) = self.next(due.tick).filter(|tick| *tick <= now) {
            due = Due { tick: next, before: Some(due.tick), earlier: due.earlier + 1 };
            if due.earlier == TICKS_MAX {
                // Far behind: the newest two are found from the other end.
                due.tick = self.last(now, true).unwrap_or(due.tick);
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
            ("* * * *", "UTC", "has 4 fields"),
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
        // A fixed minute is not run again in the hour that comes twice; every tenth minute is.
        let hourly = line("30 * * * *", "Europe/Berlin");
        assert_eq!(next(&hourly, "2026-03-29T00:00:00Z", 2), ["03-29 00:30:00", "03-29 01:30:00"]);
        assert_eq!(next(&hourly, "2026-10-25T00:00:00Z", 2), ["10-25 00:30:00", "10-25 02:30:00"]);
        let often = next(&line("*/10 * * * *", "Europe/Berlin"), "2026-10-25T00:45:00Z", 8);
        assert_eq!((often[0].as_str(), often[7].as_str()), ("10-25 00:50:00", "10-25 02:00:00"));
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
