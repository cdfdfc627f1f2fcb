use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Hard bound of a channel's name, in bytes; the configuration can only lower it.
pub const CHANNEL_BYTES_MAX: usize = 255;

/// The name of a channel: 1 to 255 bytes of UTF-8 without control characters, cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChannelError {
    #[error("a channel name must not be empty")]
    Empty,
    #[error("a channel name may be {CHANNEL_BYTES_MAX} bytes long, this one has {0}")]
    TooLong(usize),
    #[error("a channel name must not contain control characters")]
    Control,
}

impl ChannelName {
    pub fn new(name: &str) -> Result<Self, ChannelError> {
        if name.is_empty() {
            return Err(ChannelError::Empty);
        }
        if name.len() > CHANNEL_BYTES_MAX {
            return Err(ChannelError::TooLong(name.len()));
        }
        if name.chars().any(char::is_control) {
            return Err(ChannelError::Control);
        }
        Ok(Self(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let long = "x".repeat(256);
        let cases = [
            ("orders:1", None),
            ("zażółć gęślą", None),
            (&long[..255], None),
            ("", Some(ChannelError::Empty)),
            (&long[..], Some(ChannelError::TooLong(256))),
            ("a\nb", Some(ChannelError::Control)),
            ("a\0", Some(ChannelError::Control)),
        ];
        for (name, error) in cases {
            assert_eq!(ChannelName::new(name).err(), error, "{name:?}");
        }
    }
}
