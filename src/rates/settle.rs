//! What holds now, given what held before: the last good value where nobody quotes, and jumps on hold.
//!
//! ```text
//!   fresh, near the last value ───────────────▶ holds
//!   fresh, a jump ─▶ held ──second refresh or second provider──▶ holds
//!   nothing ─▶ the last value, cached ──last_good_s──▶ expired
//! ```

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};

use super::config::Rules;
use super::consensus::Confidence;
use super::figure::Figure;

/// What is remembered of a currency's middle, or of a payout provider's price.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mark {
    pub good: Option<Good>,
    /// A jump that waits, and since when.
    pub held: Option<(Figure, DateTime<Utc>)>,
}

/// The last good value.
#[derive(Clone, Debug, PartialEq)]
pub struct Good {
    pub value: Figure,
    /// When fresh quotes last gave it; written again at most once a minute.
    pub at: DateTime<Utc>,
    pub as_of: Option<DateTime<Utc>>,
    pub confidence: Confidence,
    pub sources: Vec<Arc<str>>,
}

/// What this refresh found.
#[derive(Clone, Debug, PartialEq)]
pub struct Fresh {
    pub value: Figure,
    pub confidence: Confidence,
    pub sources: Vec<Arc<str>>,
    /// Of independent sources: what may confirm a jump.
    pub values: Vec<Figure>,
    pub as_of: Option<DateTime<Utc>>,
}

/// What holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub value: Figure,
    pub confidence: Confidence,
    pub sources: Vec<Arc<str>>,
    pub as_of: Option<DateTime<Utc>>,
    /// Not from fresh quotes: how long ago it was.
    pub cached_s: Option<i64>,
    /// Too long ago.
    pub expired: bool,
    /// A jump that waits.
    pub held: Option<Figure>,
}

/// None: there never was a value.
pub fn settle(rules: &Rules, mark: &Mark, fresh: Option<Fresh>, now: DateTime<Utc>) -> (Option<Standing>, Mark) {
    let Some(fresh) = fresh else { return (last_good(rules, mark, now), mark.clone()) };
    if let Some(good) = &mark.good
        && fresh.value.deviation(good.value) > rules.jump
        && !confirmed(rules, mark, good, &fresh)
    {
        let mark = Mark { held: Some((fresh.value, now)), ..mark.clone() };
        return (last_good(rules, &mark, now), mark);
    }
    let Fresh { value, confidence, sources, as_of, .. } = fresh;
    let mut good = Good { value, at: now, as_of, confidence, sources: sources.clone() };
    if let Some(before) = &mark.good {
        let young = (Duration::zero()..Duration::minutes(1)).contains(&(now - before.at));
        let same = Good { at: before.at, as_of: before.as_of, ..good.clone() };
        if young && same == *before {
            good = same;
        }
    }
    let standing = Standing { value, confidence, sources, as_of, cached_s: None, expired: false, held: None };
    (Some(standing), Mark { good: Some(good), held: None })
}

fn last_good(rules: &Rules, mark: &Mark, now: DateTime<Utc>) -> Option<Standing> {
    let good = mark.good.as_ref()?;
    let age = now - good.at;
    Some(Standing {
        value: good.value,
        confidence: Confidence::Low,
        sources: good.sources.clone(),
        as_of: good.as_of,
        cached_s: Some(age.num_seconds()),
        expired: age > rules.last_good,
        held: mark.held.map(|(value, _)| value),
    })
}

/// By the refresh before, or by two sources that agree with each other and both say that it jumped.
fn confirmed(rules: &Rules, mark: &Mark, good: &Good, fresh: &Fresh) -> bool {
    let near = |a: Figure, b: Figure| a.max(b).deviation(a.min(b)) <= rules.confirm;
    if mark.held.is_some_and(|(held, _)| near(held, fresh.value)) {
        return true;
    }
    let jumped = |v: &Figure| v.deviation(good.value) > rules.jump && (*v > good.value) == (fresh.value > good.value);
    let mut values: Vec<Figure> = fresh.values.iter().copied().filter(jumped).collect();
    values.sort();
    values.windows(2).any(|w| near(w[0], w[1]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rates::Config;

    fn figure(text: &str) -> Figure {
        text.parse().expect("a figure")
    }

    /// Values of the sources; the first counts.
    fn fresh(values: &str) -> Option<Fresh> {
        let values: Vec<Figure> = values.split_terminator(' ').map(figure).collect();
        let value = *values.first()?;
        let sources = values.iter().map(|_| Arc::from("a")).collect();
        Some(Fresh { value, confidence: Confidence::High, sources, values, as_of: None })
    }

    // One row is one refresh; `held` and `cached` as they stand after it.
    #[test]
    fn a_course_of_refreshes() {
        for course in [
            // (hour, sources' values, what holds, held, cached for so many hours)
            vec![(0, "", "", "", None), (1, "100", "100", "", None), (2, "110", "110", "", None)],
            // A jump is confirmed by the next refresh,
            vec![(0, "100", "100", "", None), (1, "110.1", "100", "110.1", Some(1)), (2, "110.5", "110.5", "", None)],
            // not by another jump, nor by a refresh without quotes;
            vec![
                (0, "100", "100", "", None),
                (1, "120", "100", "120", Some(1)),
                (2, "150", "100", "150", Some(2)),
                (3, "", "100", "150", Some(3)),
                (4, "80", "100", "80", Some(4)),
                (5, "100.1", "100.1", "", None),
            ],
            // or at once by two sources.
            vec![(0, "100", "100", "", None), (1, "150 151.5", "150", "", None)],
            vec![(0, "100", "100", "", None), (1, "150 151.6", "100", "150", Some(1))],
            vec![(0, "100", "100", "", None), (1, "150 100 100.1", "100", "150", Some(1))],
            // The last good value holds for a day.
            vec![
                (0, "100", "100", "", None),
                (24, "", "100", "", Some(24)),
                (25, "", "100 expired", "", Some(25)),
                (26, "101", "101", "", None),
            ],
        ] {
            let rules = Rules::new(&Config::default()).expect("right");
            let start: DateTime<Utc> = "2026-11-18T12:00:00Z".parse().expect("a time");
            let mut mark = Mark::default();
            for (hour, values, holds, held, cached_h) in &course {
                let (standing, next) = settle(&rules, &mark, fresh(values), start + Duration::hours(*hour));
                mark = next;
                let seen = standing
                    .as_ref()
                    .map_or(String::new(), |s| format!("{}{}", s.value, if s.expired { " expired" } else { "" }));
                assert_eq!(seen, *holds, "hour {hour} of {course:?}");
                let Some(standing) = standing else { continue };
                assert_eq!(standing.held.map_or(String::new(), |h| h.to_string()), *held, "hour {hour} of {course:?}");
                assert_eq!(standing.cached_s.map(|s| s / 3_600), *cached_h, "hour {hour} of {course:?}");
                let confidence = if cached_h.is_some() { Confidence::Low } else { Confidence::High };
                assert_eq!(standing.confidence, confidence, "hour {hour} of {course:?}");
            }
        }
    }

    #[test]
    fn the_same_again_within_a_minute_changes_no_mark() {
        let rules = Rules::new(&Config::default()).expect("right");
        let start: DateTime<Utc> = "2026-11-18T12:00:00Z".parse().expect("a time");
        let (_, first) = settle(&rules, &Mark::default(), fresh("100"), start);
        for (after_s, values, same) in [(5, "100", true), (59, "100", true), (60, "100", false), (5, "100.1", false)] {
            let (_, next) = settle(&rules, &first, fresh(values), start + Duration::seconds(after_s));
            assert_eq!(next == first, same, "{after_s} s, {values}");
        }
    }
}
