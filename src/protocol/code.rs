use crate::domain::ReadError;

/// What went wrong, as a word that never changes: the `code` of `error` and `reset` frames.
///
/// `docs/ERRORS.md` and `openapi/asyncapi.yaml` list every one; a test compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    // A frame was not understood.
    BadJson,
    BadFrame,
    UnknownType,
    BadChannel,
    BadCursor,
    BinaryUnsupported,
    // A command was understood and refused.
    AlreadySubscribed,
    NotSubscribed,
    TooManySubscriptions,
    Forbidden,
    TokenNotValid,
    ConnectionLimit,
    // A subscription or a connection has ended.
    AccessLost,
    AccessUnknown,
    Unauthorized,
    // A channel could not be read, or not now.
    ViewFailed,
    ViewTimeout,
    MessageTooLarge,
    DatabaseUnavailable,
    NotReady,
    Overloaded,
    // Why a subscription starts over (`reset`).
    CursorExpired,
    TooManyEvents,
    StreamRestarted,
}

impl Code {
    pub const ALL: [Code; 24] = [
        Code::BadJson,
        Code::BadFrame,
        Code::UnknownType,
        Code::BadChannel,
        Code::BadCursor,
        Code::BinaryUnsupported,
        Code::AlreadySubscribed,
        Code::NotSubscribed,
        Code::TooManySubscriptions,
        Code::Forbidden,
        Code::TokenNotValid,
        Code::ConnectionLimit,
        Code::AccessLost,
        Code::AccessUnknown,
        Code::Unauthorized,
        Code::ViewFailed,
        Code::ViewTimeout,
        Code::MessageTooLarge,
        Code::DatabaseUnavailable,
        Code::NotReady,
        Code::Overloaded,
        Code::CursorExpired,
        Code::TooManyEvents,
        Code::StreamRestarted,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Code::BadJson => "bad_json",
            Code::BadFrame => "bad_frame",
            Code::UnknownType => "unknown_type",
            Code::BadChannel => "bad_channel",
            Code::BadCursor => "bad_cursor",
            Code::BinaryUnsupported => "binary_unsupported",
            Code::AlreadySubscribed => "already_subscribed",
            Code::NotSubscribed => "not_subscribed",
            Code::TooManySubscriptions => "too_many_subscriptions",
            Code::Forbidden => "forbidden",
            Code::TokenNotValid => "token_not_valid",
            Code::ConnectionLimit => "connection_limit",
            Code::AccessLost => "access_lost",
            Code::AccessUnknown => "access_unknown",
            Code::Unauthorized => "unauthorized",
            Code::ViewFailed => "view_failed",
            Code::ViewTimeout => "view_timeout",
            Code::MessageTooLarge => "message_too_large",
            Code::DatabaseUnavailable => "database_unavailable",
            Code::NotReady => "not_ready",
            Code::Overloaded => "overloaded",
            Code::CursorExpired => "cursor_expired",
            Code::TooManyEvents => "too_many_events",
            Code::StreamRestarted => "stream_restarted",
        }
    }

    /// One sentence and what to do, where nothing more exact is known.
    pub fn message(self) -> &'static str {
        match self {
            Code::BadJson => "This frame is not JSON: send one JSON object per text frame.",
            Code::BadFrame => "This frame has a field of the wrong type: compare it with docs/PROTOCOL.md.",
            Code::UnknownType => "This type is not known: send 'subscribe', 'unsubscribe', 'auth' or 'ping'.",
            Code::BadChannel => "This is not the name of a channel: send 1 to 255 bytes without control characters.",
            Code::BadCursor => "This is not a cursor: hand back the text of a 'cursor' unchanged, or leave it out.",
            Code::BinaryUnsupported => "Binary frames are not understood: send JSON as text frames.",
            Code::AlreadySubscribed => "This connection is subscribed to the channel already: nothing was changed.",
            Code::NotSubscribed => "This connection is not subscribed to the channel: nothing was changed.",
            Code::TooManySubscriptions => {
                "This connection has as many subscriptions as are allowed: unsubscribe, or open another one."
            }
            Code::Forbidden => "This channel may not be listened to here.",
            Code::TokenNotValid => "This token is not accepted: nothing was changed.",
            Code::ConnectionLimit => "This user has as many connections as it may: close one; nothing was changed.",
            Code::AccessLost => "This channel may not be listened to any more.",
            Code::AccessUnknown => {
                "It cannot be found out whether this channel may be listened to still: subscribe again later."
            }
            Code::Unauthorized => "What this connection rested on has ended: connect again with new credentials.",
            Code::ViewFailed => "The view of this channel failed: whoever defined it can mend it.",
            Code::ViewTimeout => "The view of this channel took too long: try again later.",
            Code::MessageTooLarge => "The content of this channel is larger than is allowed.",
            Code::DatabaseUnavailable => "The database cannot be reached right now: subscribe again later.",
            Code::NotReady => "The stream has not begun yet: subscribe again in a moment.",
            Code::Overloaded => {
                "More happened on this channel while its snapshot was read than can be kept: subscribe again later."
            }
            Code::CursorExpired => {
                "The log no longer reaches back to this cursor: what follows is a fresh snapshot, discard what you had."
            }
            Code::TooManyEvents => {
                "Too many events have passed since this cursor: what follows is a fresh snapshot, discard what you had."
            }
            Code::StreamRestarted => {
                "The stream started anew: what follows is a fresh snapshot, discard what you had and older cursors."
            }
        }
    }
}

impl From<&ReadError> for Code {
    fn from(error: &ReadError) -> Self {
        match error {
            ReadError::View { .. } => Code::ViewFailed,
            ReadError::Key { .. } => Code::BadChannel,
            ReadError::Timeout { .. } => Code::ViewTimeout,
            ReadError::TooLarge { .. } => Code::MessageTooLarge,
            ReadError::Unavailable => Code::DatabaseUnavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn words_differ_and_sentences_end() {
        let words: HashSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.message().ends_with('.'), "{code:?}");
        }
    }
}
