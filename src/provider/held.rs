use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

/// Not to be asked, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub why: Why,
    pub(super) since: DateTime<Utc>,
    /// None: until the configuration is loaded again, or (`Probing`) until the probe is back.
    pub until: Option<DateTime<Utc>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Failing,
    RateLimited,
    Quota,
    Auth,
    /// A probe is on its way.
    Probing,
    /// Our own minimal interval.
    Interval,
    /// It announced when it will have news.
    NoNews,
}

impl Held {
    pub fn new(why: Why, since: DateTime<Utc>, until: Option<DateTime<Utc>>) -> Self {
        Self { why, since, until }
    }

    /// A clock that was set back ends it: better once too often than silent for the difference. By more than an hour:
    /// a round that began a little before another one ended must not look like it.
    pub(super) fn holds(&self, now: DateTime<Utc>) -> bool {
        let clock_went_back = self.until.is_some() && self.since - now > TimeDelta::hours(1);
        !clock_went_back && self.until.is_none_or(|until| now < until)
    }
}

impl Why {
    const ALL: [(Self, &str); 7] = [
        (Self::Failing, "failing"),
        (Self::RateLimited, "rate_limited"),
        (Self::Quota, "quota"),
        (Self::Auth, "auth"),
        (Self::Probing, "probing"),
        (Self::Interval, "interval"),
        (Self::NoNews, "no_news"),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(why, _)| *why == self).expect("each is there").1
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| *name == text).map(|(why, _)| *why)
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.why {
            Why::Failing => "keeps failing",
            Why::RateLimited => "was asked too often",
            Why::Quota => "has no requests left",
            Why::Auth => "refused the key",
            Why::Probing => "is being tried",
            Why::Interval => "was asked just now",
            Why::NoNews => "has no news yet",
        })?;
        match (self.until, self.why) {
            (Some(until), _) => write!(f, ", asked again after {}", until.format("%Y-%m-%dT%H:%M:%SZ")),
            (None, Why::Probing) => Ok(()),
            (None, _) => f.write_str(", asked again when the configuration is loaded anew"),
        }
    }
}
