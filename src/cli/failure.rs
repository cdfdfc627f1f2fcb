//! How a command ends that did not succeed: one sentence, a hint, an exit code.

use std::io;
use std::process::ExitCode;

use crate::app::{AddressError, StoreError};

use super::out::note;

const FAILED: u8 = 1;
const USAGE: u8 = 2;

#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    Said {
        message: String,
        hint: Option<String>,
        code: u8,
    },
    /// What went wrong is on stdout already.
    Shown,
    /// The reader of stdout went away: what it wanted it has.
    Quiet,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self::Said { message: message.into(), hint: None, code: FAILED }
    }

    /// Wrong usage or configuration: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Said { message: message.into(), hint: None, code: USAGE }
    }

    pub fn hint(self, text: impl Into<String>) -> Self {
        match self {
            Self::Said { message, code, .. } => Self::Said { message, hint: Some(text.into()), code },
            other => other,
        }
    }

    /// A hint where none was given nearer to the cause.
    pub fn or_hint(self, text: &str) -> Self {
        match self {
            Self::Said { hint: None, .. } => self.hint(text),
            other => other,
        }
    }

    /// Message and hint, as `report` prints them.
    pub fn said(self) -> (String, Option<String>) {
        let clean = |text: String| without_passwords(&one_line(&text));
        match self {
            Self::Said { message, hint, .. } => (clean(message), hint.map(clean)),
            Self::Shown | Self::Quiet => (String::new(), None),
        }
    }

    pub fn stdout(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Quiet,
            _ => Self::new(format!("cannot write to stdout: {error}")),
        }
    }

    /// Prints it, and gives the process's exit code.
    pub fn report(self) -> ExitCode {
        match self {
            Self::Quiet => ExitCode::SUCCESS,
            Self::Shown => FAILED.into(),
            Self::Said { code, .. } => {
                let (message, hint) = self.said();
                note(&format!("rowcast: {message}"));
                if let Some(hint) = hint {
                    note(&format!("hint: {hint}"));
                }
                code.into()
            }
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<StoreError>() {
            Ok(error) => error.into(),
            Err(error) => Self::new(told(&error)),
        }
    }
}

/// An error and its causes, each said once: many an error has its cause in its own words already.
pub fn told(error: &anyhow::Error) -> String {
    let mut said = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if cause.starts_with(&said) {
            said = cause;
        } else if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

impl From<AddressError> for Failure {
    fn from(error: AddressError) -> Self {
        let message = error.to_string();
        match error {
            AddressError::Unreadable(_) => Self::usage(message).hint("Check DATABASE_URL or --database-url."),
            AddressError::Missing => Self::usage(message).hint(
                "Set DATABASE_URL or --database-url; without one, a `rowcast demo` that runs in this directory is found.",
            ),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::Unavailable(_) => {
                Self::new(message).hint("Is Postgres running, and does `psql \"$DATABASE_URL\"` connect?")
            }
            StoreError::Timeout => Self::new(message).hint("Something may hold a lock: look at pg_stat_activity."),
            StoreError::Refused { sqlstate, hint, .. } => {
                let failure = Self::new(message);
                match (hint, &*sqlstate) {
                    (Some(hint), _) => failure.hint(hint),
                    // undefined schema, function, table: rowcast's own, when one of ours is missing
                    (None, "3F000" | "42883") => failure.hint("Run `rowcast migrate` on this database first."),
                    (None, "42501") => {
                        failure.hint("The role lacks a right: connect as the owner, or have it granted to this role.")
                    }
                    (None, "28P01" | "28000") => failure.hint("Check user and password in DATABASE_URL."),
                    (None, "3D000") => failure.hint("Create the database, or check its name in DATABASE_URL."),
                    (None, _) => failure,
                }
            }
            StoreError::Answer(_) | StoreError::Migration(_) => Self::new(message),
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The belt: no module puts a password into an error, and if one did, it would end here.
fn without_passwords(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, word) in text.split(' ').enumerate() {
        if i > 0 {
            out.push(' ');
        }
        out.push_str(&masked(word));
    }
    out
}

fn masked(word: &str) -> String {
    if let Some((scheme, rest)) = word.split_once("://") {
        // The last @ of the authority: a password may hold one that nobody escaped.
        let authority = rest.split(['/', '?']).next().unwrap_or(rest);
        if let Some(at) = authority.rfind('@')
            && let Some(colon) = authority[..at].find(':')
        {
            return format!("{scheme}://{}:***{}", &rest[..colon], masked_pairs(&rest[at..]));
        }
    }
    masked_pairs(word)
}

fn masked_pairs(word: &str) -> String {
    match word.find("password=") {
        None => word.to_owned(),
        Some(start) => {
            let value = start + "password=".len();
            let end = word[value..].find(['&', ';', ',']).map_or(word.len(), |n| value + n);
            format!("{}***{}", &word[..value], &word[end..])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked_wherever_a_url_or_a_pair_holds_one() {
        for (text, want) in [
            ("nothing to hide: a@b", "nothing to hide: a@b"),
            ("no postgres://u:s3cret@h:1/db?x=1 here", "no postgres://u:***@h:1/db?x=1 here"),
            ("postgres://u:p@ss@h/db", "postgres://u:***@h/db"),
            ("postgres://u@h/db", "postgres://u@h/db"),
            ("postgres:///db?user=u&password=s3cret&port=1", "postgres:///db?user=u&password=***&port=1"),
            ("host=h password=s3cret user=u", "host=h password=*** user=u"),
        ] {
            assert_eq!(without_passwords(text), want);
        }
    }

    #[test]
    fn a_cause_is_said_once() {
        let chain = |said: &[&str]| {
            let (last, above) = said.split_last().expect("one at least");
            above.iter().rev().fold(anyhow::anyhow!("{last}"), |e, said| e.context(said.to_string()))
        };
        for (errors, want) in [
            (&["cannot start", "no socket"][..], "cannot start: no socket"),
            (&["cannot read x: no such file", "no such file"], "cannot read x: no such file"),
            (&["[auth]", "[auth] needs a key"], "[auth] needs a key"),
            (&["[auth]", "cannot read x: gone", "gone"], "[auth]: cannot read x: gone"),
        ] {
            assert_eq!(told(&chain(errors)), want);
        }
    }

    #[test]
    fn a_hint_of_postgres_goes_before_ours() {
        let refused = |sqlstate: &str, hint: Option<&str>| {
            Failure::from(StoreError::Refused {
                sqlstate: sqlstate.into(),
                message: "no".into(),
                hint: hint.map(str::to_owned),
            })
        };
        let hint = |f| match f {
            Failure::Said { hint, code: 1, .. } => hint,
            other => panic!("{other:?}"),
        };
        assert_eq!(hint(refused("42501", Some("theirs"))).as_deref(), Some("theirs"));
        assert!(hint(refused("3F000", None)).is_some_and(|h| h.contains("rowcast migrate")));
        assert_eq!(hint(refused("22023", None)), None);
    }
}
