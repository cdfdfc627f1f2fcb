//! May this channel be listened to, or published on? Asked once per subscription, before anything is read.
//!
//! First the server's own list (`connection.channels`), for one that shall show some channels and no others; then the rules
//! of access.

use std::sync::Arc;

use crate::auth::{Access, Action, Verdict};
use crate::domain::{ChannelName, Identity, Pattern, PatternError};

pub struct Admission {
    /// None: all.
    listed: Option<Box<[Pattern]>>,
    pub(super) access: Arc<Access>,
}

/// The channel may not be listened to, or not published on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    Forbidden,
    /// A rule may let somebody in, and nobody says who this is.
    Nameless,
    /// No rule speaks of it.
    Unopened,
    /// The database could not be asked.
    Unknown,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("connection.channels: '{pattern}' is not a channel pattern: {source}")]
pub struct AdmissionError {
    pattern: String,
    source: PatternError,
}

impl Denied {
    pub fn message(self) -> &'static str {
        match self {
            Self::Forbidden => "This channel may not be used by this client.",
            Self::Nameless => "This channel may not be used by clients that do not say who they are: send a token.",
            Self::Unopened => {
                "No rule opens this channel. In the database: select rowcast.define_access('PATTERN', everyone => true); without \
                 everyone it is for whoever is authenticated (docs/AUTH.md)."
            }
            Self::Unknown => "The database cannot be asked about access right now: try again later.",
        }
    }
}

impl Admission {
    pub fn new(patterns: &[String], access: Arc<Access>) -> Result<Self, AdmissionError> {
        let parse =
            |text: &String| Pattern::parse(text).map_err(|source| AdmissionError { pattern: text.clone(), source });
        let listed = patterns.iter().map(parse).collect::<Result<Box<[_]>, _>>()?;
        Ok(Self { listed: (!listed.is_empty()).then_some(listed), access })
    }

    pub async fn may_listen(&self, identity: &Identity, channel: &ChannelName) -> Result<(), Denied> {
        self.ask(Action::Listen, identity, channel).await
    }

    /// Of many channels those that may be listened to. One question for all of them, not one for each.
    pub async fn listenable<'c>(&self, identity: &Identity, channels: &'c [ChannelName]) -> Vec<&'c ChannelName> {
        let listed: Vec<&ChannelName> = channels.iter().filter(|channel| self.lists(channel)).collect();
        let questions: Vec<_> = listed.iter().map(|channel| (identity, *channel)).collect();
        let verdicts = self.access.ask_all(Action::Listen, &questions).await;
        listed.into_iter().zip(verdicts).filter(|(_, verdict)| *verdict == Verdict::Allowed).map(|(c, _)| c).collect()
    }

    pub async fn may_publish(&self, identity: &Identity, channel: &ChannelName) -> Result<(), Denied> {
        self.ask(Action::Publish, identity, channel).await
    }

    /// By way of an endpoint that has looked at the client itself: where there is a rule, it counts as well.
    pub async fn may_pass(&self, identity: &Identity, channel: &ChannelName) -> Result<(), Denied> {
        match self.may_listen(identity, channel).await {
            Err(Denied::Unopened) => Ok(()),
            other => other,
        }
    }

    async fn ask(&self, action: Action, identity: &Identity, channel: &ChannelName) -> Result<(), Denied> {
        if !self.lists(channel) {
            return Err(Denied::Forbidden);
        }
        match self.access.ask(action, identity, channel).await {
            Verdict::Allowed => Ok(()),
            Verdict::Denied if identity.is_anonymous() => Err(Denied::Nameless),
            Verdict::Denied => Err(Denied::Forbidden),
            Verdict::Unopened => Err(Denied::Unopened),
            Verdict::Unknown => Err(Denied::Unknown),
        }
    }

    fn lists(&self, channel: &ChannelName) -> bool {
        let matches = |patterns: &[Pattern]| patterns.iter().any(|p| p.matches(channel.as_str()).is_some());
        self.listed.as_deref().is_none_or(matches)
    }
}
