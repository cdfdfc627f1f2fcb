//! Tokens for the demo's own pages. There are none of these outside the demo.

use std::net::IpAddr;
use std::sync::Arc;

use poem::http::{HeaderMap, header};
use poem::{Addr, Endpoint, Request, Response};
use serde::Serialize;

use super::problem::{ApiError, ProblemCode};

/// An access token for an account of the demo; None: there is no such account.
pub type Mint = Arc<dyn Fn(&str) -> Option<Minted> + Send + Sync>;

#[derive(Serialize)]
pub struct Minted {
    pub token: String,
    pub expires_in_s: i64,
}

pub(super) struct DemoToken(pub Mint);

impl Endpoint for DemoToken {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        Ok(self.answer(&request).unwrap_or_else(ApiError::into_response))
    }
}

impl DemoToken {
    fn answer(&self, request: &Request) -> Result<Response, ApiError> {
        let peer = match &request.remote_addr().0 {
            Addr::SocketAddr(address) => Some(address.ip()),
            _ => None,
        };
        if !at_this_machine(peer, request.headers()) {
            let detail = "Demo tokens are for browsers on the demo's own machine, at 127.0.0.1 or localhost.";
            return Err(ApiError::new(ProblemCode::Forbidden, detail));
        }
        let query: Vec<(String, String)> = request.params().unwrap_or_default();
        let user = query.iter().find(|(name, _)| name == "user").map_or("", |(_, value)| value.as_str());
        let minted = (self.0)(user)
            .ok_or_else(|| ApiError::new(ProblemCode::NotFound, "The demo has no such account: see ?user=alice."))?;
        let body = serde_json::to_string(&minted).expect("a text and a number");
        Ok(Response::builder().header(header::CACHE_CONTROL, "no-store").content_type("application/json").body(body))
    }
}

/// The peer alone is not enough: a proxy on this machine has a loopback address, and so has a browser here whose page came from
/// elsewhere, be it by a name that resolves to loopback.
fn at_this_machine(peer: Option<IpAddr>, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let host = text("host").unwrap_or("");
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    peer.is_some_and(|ip| ip.is_loopback())
        && ["localhost", "127.0.0.1", "[::1]"].contains(&name)
        && text("sec-fetch-site").is_none_or(|site| ["same-origin", "none"].contains(&site))
        && !["forwarded", "x-forwarded-for", "x-real-ip"].iter().any(|name| headers.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use poem::http::{HeaderName, HeaderValue};

    #[test]
    fn only_a_browser_at_this_machine_gets_a_token() {
        type Headers = &'static [(&'static str, &'static str)];
        let cases: &[(&str, &str, Headers, bool)] = &[
            ("127.0.0.1", "127.0.0.1:8080", &[], true),
            ("127.0.0.1", "localhost", &[("sec-fetch-site", "same-origin")], true),
            ("::1", "[::1]:8080", &[("sec-fetch-site", "none")], true),
            ("192.0.2.1", "127.0.0.1:8080", &[], false),
            ("127.0.0.1", "rebound.example:8080", &[], false),
            ("127.0.0.1", "localhost.example", &[], false),
            ("127.0.0.1", "127.0.0.1:8080", &[("sec-fetch-site", "same-site")], false),
            ("127.0.0.1", "127.0.0.1:8080", &[("sec-fetch-site", "cross-site")], false),
            ("127.0.0.1", "127.0.0.1:8080", &[("x-forwarded-for", "192.0.2.1")], false),
        ];
        for (peer, host, more, want) in cases {
            let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
            headers.extend(more.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))));
            assert_eq!(at_this_machine(peer.parse().ok(), &headers), *want, "{peer} {host} {more:?}");
        }
        assert!(!at_this_machine(None, &HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("localhost"))])));
    }
}
