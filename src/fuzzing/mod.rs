//! Every parser that eats bytes from outside, as a function of bytes that must not panic and must keep its promises.
//! `fuzz/` gives them to cargo-fuzz; `driver`, a test, runs them without it.

mod credentials;
#[cfg(test)]
mod driver;

use crate::domain::{ChannelName, Cursor, DatabaseUrl, Pattern};
use crate::protocol::native;

pub use crate::hub::fuzzing::websocket;
pub use crate::provider::fuzzing::answers as provider;

/// Name and function.
pub type Target = (&'static str, fn(&[u8]));

/// Each is a file in `fuzz/fuzz_targets`.
pub const TARGETS: &[Target] = &[
    ("websocket", websocket),
    ("protocol", protocol),
    ("cursor", cursor),
    ("pattern", pattern),
    ("provider", provider),
    ("database_url", database_url),
    ("forwarded", forwarded),
    ("token", token),
    ("session", session),
];

pub use self::credentials::{session, token};
pub use crate::http::fuzzing::forwarded;

pub fn protocol(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match native::decode(text, 100, 255) {
        Ok(native::Command::Subscribe { channels, .. } | native::Command::Unsubscribe { channels, .. }) => {
            assert!((1..=100).contains(&channels.len()) && channels.iter().all(|c| c.as_str().len() <= 255));
        }
        Ok(native::Command::Ping { id }) => assert!(id.is_none_or(|id| id.get().len() <= 256)),
        Err(refusal) => assert!(!refusal.message.is_empty()),
        #[allow(unreachable_patterns, reason = "commands to come")]
        Ok(_) => {}
    }
}

pub fn cursor(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string().parse::<Cursor>().as_ref(), Ok(&cursor), "it comes back as it went");
    }
}

/// A template, a line break, a name.
pub fn pattern(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (template, name) = text.split_once('\n').unwrap_or((text, text));
    let (Ok(pattern), Ok(name)) = (Pattern::parse(template), ChannelName::new(name)) else { return };
    if let Some(values) = pattern.matches(name.as_str()) {
        let again = pattern.fill(|n, _| values.get(n).copied());
        assert_eq!(again.as_ref(), Some(&name), "{template} with {values:?}");
    }
}

pub fn database_url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match DatabaseUrl::parse(text, "someone") {
        Ok(url) => {
            // Of the seeds' passwords; where it came from the password alone, it must not be shown.
            let mark = "12345";
            if url.password().is_some_and(|p| p.contains(mark)) && text.matches(mark).count() == 1 {
                assert!(!format!("{url:?}").contains(mark), "a password is shown");
            }
        }
        Err(error) => drop(error.to_string()),
    }
}
