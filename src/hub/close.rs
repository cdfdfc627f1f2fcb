//! Every code with which rowcast closes a WebSocket, and what a client does then. Codes below 4000 mean what
//! RFC 6455, 7.4.1 and the IANA registry say; those from 4000 on are ours. "Reconnect" means: with the last cursor,
//! after a jittered pause; anything else would be refused the same way again.

/// The conversation is over. Do not reconnect.
pub const NORMAL: u16 = 1000;
/// The server stops for good, or the page is left. Reconnect (another instance may answer).
pub const GOING_AWAY: u16 = 1001;
/// The client broke RFC 6455. Do not reconnect: it would happen again.
pub const PROTOCOL: u16 = 1002;
/// A message of a kind that the dialect does not take (binary). Do not reconnect.
pub const UNSUPPORTED: u16 = 1003;
/// A text message that is not UTF-8. Do not reconnect.
pub const INVALID_TEXT: u16 = 1007;
/// A rule of the server forbids what the client did. Do not reconnect.
pub const POLICY: u16 = 1008;
/// A message larger than `frame_bytes_max`. Do not reconnect.
pub const TOO_BIG: u16 = 1009;
/// The server failed. Reconnect.
pub const INTERNAL: u16 = 1011;
/// The server restarts. Reconnect.
pub const RESTART: u16 = 1012;
/// The server has too much to do now. Reconnect, later than usual.
pub const TRY_LATER: u16 = 1013;

/// The client read slower than its channels spoke, and its backlog was full. Reconnect and resume.
pub const SLOW: u16 = 4008;
/// Nothing came from the client within `idle_timeout_ms`, not even a pong. Reconnect.
pub const IDLE: u16 = 4009;
/// The request makes no sense to this endpoint. Do not reconnect.
pub const BAD_REQUEST: u16 = 4400;
/// Not, or no longer, authenticated. Reconnect with new credentials only.
pub const UNAUTHORIZED: u16 = 4401;
/// Authenticated, but not allowed. Do not reconnect.
pub const FORBIDDEN: u16 = 4403;
/// What was asked for does not exist. Do not reconnect.
pub const NOT_FOUND: u16 = 4404;
/// More connections or requests than allowed. Reconnect, later than usual.
pub const TOO_MANY: u16 = 4429;

/// What the hub itself says with a code, at most 123 bytes (RFC 6455, 5.5).
pub(super) const SLOW_REASON: &str = "slow consumer: reconnect and resume with your last cursor";
pub(super) const IDLE_REASON: &str = "nothing heard from you: answer pings, then reconnect and resume";

/// Every code above, with whether a client should reconnect by itself.
pub const ALL: [(u16, bool); 17] = [
    (NORMAL, false),
    (GOING_AWAY, true),
    (PROTOCOL, false),
    (UNSUPPORTED, false),
    (INVALID_TEXT, false),
    (POLICY, false),
    (TOO_BIG, false),
    (INTERNAL, true),
    (RESTART, true),
    (TRY_LATER, true),
    (SLOW, true),
    (IDLE, true),
    (BAD_REQUEST, false),
    (UNAUTHORIZED, false),
    (FORBIDDEN, false),
    (NOT_FOUND, false),
    (TOO_MANY, true),
];

/// May a peer send this code in a close frame (RFC 6455, 7.4.2, with the registered 1012 to 1014)?
pub(super) fn valid_from_peer(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_may_travel_and_stands_once() {
        for (i, (code, _)) in ALL.iter().enumerate() {
            assert!(valid_from_peer(*code), "{code}");
            assert!(ALL[i + 1..].iter().all(|(other, _)| other != code), "{code} twice");
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
            assert!(!valid_from_peer(code), "{code}");
        }
        assert!(SLOW_REASON.len() <= 123 && IDLE_REASON.len() <= 123);
    }
}
