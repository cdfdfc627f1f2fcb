//! The server's side of the WebSocket handshake (RFC 6455, 4.2), by hand: after it the socket is ours.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use poem::http::{HeaderMap, HeaderName, StatusCode, header};
use poem::{Body, Response};
use sha1::{Digest as _, Sha1};

use super::problem::{ApiError, ProblemCode};

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const VERSION: &str = "13";

/// A handshake that was found right.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Handshake {
    accept: String,
    protocol: Option<&'static str>,
}

impl Handshake {
    /// `protocols` are the subprotocols that the endpoint speaks; the client's first that is among them is chosen.
    /// One that offers only others, or none, gets none.
    pub fn check(headers: &HeaderMap, protocols: &[&'static str]) -> Result<Self, ApiError> {
        if !lists(headers, header::UPGRADE, "websocket") || !lists(headers, header::CONNECTION, "upgrade") {
            return Err(ApiError::new(
                ProblemCode::UpgradeRequired,
                "This path is a WebSocket: connect with a WebSocket client; /sse streams over plain HTTP.",
            ));
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|v| v != VERSION) {
            let detail = "Only version 13 is spoken: say 'Sec-WebSocket-Version: 13'.";
            return Err(ApiError::new(ProblemCode::UpgradeRequired, detail));
        }
        let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
        let key = match (keys.next(), keys.next()) {
            (Some(key), None) if STANDARD.decode(key).is_ok_and(|k| k.len() == 16) => key,
            _ => {
                let detail = "'Sec-WebSocket-Key' is 16 random bytes in base64, exactly once.";
                return Err(ApiError::new(ProblemCode::BadHandshake, detail));
            }
        };
        let mut hash = Sha1::new();
        hash.update(key);
        hash.update(GUID);
        let protocol = tokens(headers, header::SEC_WEBSOCKET_PROTOCOL)
            .find_map(|offered| protocols.iter().copied().find(|ours| *ours == offered));
        Ok(Self { accept: STANDARD.encode(hash.finalize()), protocol })
    }

    pub fn into_response(self) -> Response {
        let mut response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        if let Some(protocol) = self.protocol {
            response = response.header(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        response.body(Body::empty())
    }
}

/// What a client that failed must be told besides the problem.
pub(super) fn refusal(error: ApiError) -> Response {
    let upgrade = error.code == ProblemCode::UpgradeRequired;
    let mut response = error.into_response();
    if upgrade {
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, header::HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, header::HeaderValue::from_static(VERSION));
    }
    response
}

fn lists(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|t| t.eq_ignore_ascii_case(token))
}

fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).into_iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Headers as `name: value` lines over the right ones; an empty value takes one away.
    fn check(changes: &str) -> Result<Handshake, ProblemCode> {
        let right = "connection: keep-alive, Upgrade\nupgrade: WebSocket\nsec-websocket-version: 13\n\
                     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
        let mut headers = HeaderMap::new();
        for line in right.lines().chain(changes.lines()) {
            let (name, value) = line.split_once(':').expect("a header");
            let name = HeaderName::try_from(name.trim_start_matches('+')).expect("a name");
            match value.trim() {
                "" => {
                    headers.remove(name);
                }
                value if line.starts_with('+') => {
                    headers.append(name, value.parse().expect("a value"));
                }
                value => {
                    headers.insert(name, value.parse().expect("a value"));
                }
            }
        }
        Handshake::check(&headers, &["rowcast.v1"]).map_err(|e| e.code)
    }

    #[test]
    fn handshakes() {
        // The example of RFC 6455, 1.3.
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned();
        let right = |protocol| Ok(Handshake { accept: accept.clone(), protocol });
        let cases = [
            ("", right(None)),
            ("sec-websocket-protocol: chat, rowcast.v1", right(Some("rowcast.v1"))),
            ("sec-websocket-protocol: chat\n+sec-websocket-protocol: rowcast.v1", right(Some("rowcast.v1"))),
            ("sec-websocket-protocol: chat", right(None)),
            ("upgrade:", Err(ProblemCode::UpgradeRequired)),
            ("upgrade: h2c", Err(ProblemCode::UpgradeRequired)),
            ("connection: keep-alive", Err(ProblemCode::UpgradeRequired)),
            ("sec-websocket-version: 8", Err(ProblemCode::UpgradeRequired)),
            ("sec-websocket-version:", Err(ProblemCode::UpgradeRequired)),
            ("sec-websocket-key:", Err(ProblemCode::BadHandshake)),
            ("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ", Err(ProblemCode::BadHandshake)),
            ("sec-websocket-key: AAAA", Err(ProblemCode::BadHandshake)),
            ("sec-websocket-key: ************************", Err(ProblemCode::BadHandshake)),
            ("+sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", Err(ProblemCode::BadHandshake)),
        ];
        for (changes, want) in cases {
            assert_eq!(check(changes), want, "{changes:?}");
        }
    }
}
