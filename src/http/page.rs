//! Pages that are compiled in.

use bytes::Bytes;
use poem::http::{StatusCode, header};
use poem::{Body, Endpoint, Request, Response};
use sha1::{Digest as _, Sha1};

/// What pages may do: load from here, talk to here, nothing else. `connect-src 'self'` covers `ws:` of the same host.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'";

/// A file that is served from the binary. A page's scripts must be files of their own: none inline.
#[derive(Clone, Debug)]
pub struct Page {
    pub path: String,
    pub content_type: &'static str,
    pub body: Bytes,
}

impl Page {
    pub fn new(path: impl Into<String>, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { path: path.into(), content_type, body: body.into() }
    }
}

pub(super) struct Served {
    page: Page,
    etag: String,
}

impl Served {
    pub fn new(page: Page) -> Self {
        let etag = etag(&page.body);
        Self { page, etag }
    }
}

impl Endpoint for Served {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let response = Response::builder()
            .header(header::ETAG, &self.etag)
            .header(header::CACHE_CONTROL, "no-cache")
            .header(header::CONTENT_SECURITY_POLICY, POLICY);
        if none_match(request.header("if-none-match"), &self.etag) {
            return Ok(response.status(StatusCode::NOT_MODIFIED).finish());
        }
        Ok(response.content_type(self.page.content_type).body(Body::from(self.page.body.clone())))
    }
}

/// A weak tag of what `body` says.
pub(super) fn etag(body: &[u8]) -> String {
    let hash = Sha1::digest(body);
    let hex: String = hash.iter().take(10).map(|b| format!("{b:02x}")).collect();
    format!("W/\"{hex}\"")
}

/// Does `If-None-Match` name this tag (weak comparison)?
pub(super) fn none_match(header: Option<&str>, etag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    header.is_some_and(|h| h.trim() == "*" || h.split(',').any(|tag| opaque(tag) == opaque(etag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly() {
        let cases = [
            (None, false),
            (Some("\"a\""), true),
            (Some("W/\"a\""), true),
            (Some("\"b\", W/\"a\""), true),
            (Some("*"), true),
            (Some("\"b\""), false),
            (Some(""), false),
        ];
        for (header, want) in cases {
            assert_eq!(none_match(header, "W/\"a\""), want, "{header:?}");
        }
    }
}
