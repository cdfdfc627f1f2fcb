//! May this channel be listened to here? Asked once per subscription, before anything is read.
//!
//! There are no identities yet: the answer is the same for every client. `Open`, the default, lets everybody
//! listen to everything; `Listed` is for a server that shall show some channels and no others.

use std::sync::Arc;

use crate::domain::{ChannelName, Identity, Pattern, PatternError};

#[derive(Clone, Debug)]
pub enum Admission {
    Open,
    /// Only channels that match one of these.
    Listed(Arc<[Pattern]>),
}

/// The channel may not be listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("connection.channels: '{pattern}' is not a channel pattern: {source}")]
pub struct AdmissionError {
    pattern: String,
    source: PatternError,
}

impl Admission {
    pub fn from_patterns(patterns: &[String]) -> Result<Self, AdmissionError> {
        if patterns.is_empty() {
            return Ok(Self::Open);
        }
        let parse =
            |text: &String| Pattern::parse(text).map_err(|source| AdmissionError { pattern: text.clone(), source });
        Ok(Self::Listed(patterns.iter().map(parse).collect::<Result<_, _>>()?))
    }

    pub async fn may_listen(&self, _identity: &Identity, channel: &ChannelName) -> Result<(), Denied> {
        match self {
            Self::Open => Ok(()),
            Self::Listed(patterns) if patterns.iter().any(|p| p.matches(channel.as_str()).is_some()) => Ok(()),
            Self::Listed(_) => Err(Denied),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn listed_channels_and_no_others() {
        let name = |text| ChannelName::new(text).expect("valid");
        let listed = Admission::from_patterns(&["rates".into(), "orders:{id}".into()]).expect("patterns");
        for (channel, allowed) in [("rates", true), ("orders:1", true), ("orders:", false), ("students:1", false)] {
            assert_eq!(listed.may_listen(&Identity::default(), &name(channel)).await.is_ok(), allowed, "{channel}");
        }
        let open = Admission::from_patterns(&[]).expect("empty");
        assert!(open.may_listen(&Identity::default(), &name("students:1")).await.is_ok());
        assert!(Admission::from_patterns(&["a{".into()]).is_err());
    }
}
