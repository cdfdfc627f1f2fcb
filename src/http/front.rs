//! What happens to every request, around its route: log, timeout, errors as problems, cross-origin rules, headers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, IntoResponse as _, Request, Response};
use tracing::Instrument as _;

use crate::auth::host_listed;

use super::acceptor::Registry;
use super::limits::Limits;
use super::problem::{ApiError, ProblemCode, response_of};
use super::raw::BodyLimit;

pub(super) struct Front<E> {
    pub inner: E,
    pub registry: Arc<Registry>,
    pub limits: Arc<Limits>,
    /// Under TLS only.
    pub hsts: Option<HeaderValue>,
    pub request_timeout: Duration,
    pub body_bytes_max: usize,
    pub cors: Arc<Cors>,
    /// Empty: all.
    pub hosts: Vec<String>,
}

impl<E: Endpoint> Endpoint for Front<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let _busy = self.registry.busy(&request);
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let arrival = self.limits.arrival(&request);
        let origin = self.cors.allowed(request.headers());
        let span = tracing::info_span!(
            "http.request",
            %method,
            %path,
            query = shown(request.uri().query().unwrap_or_default()),
            peer = %arrival.address
        );
        let began = Instant::now();
        request.set_data(BodyLimit(self.body_bytes_max));
        let allowed = arrival.ask().and_then(|()| self.named(&request));
        request.set_data(arrival);
        let mut response = if let Err(refused) = allowed {
            refused.into_response()
        } else if let (Some(_), true) = (&origin, preflight(&request)) {
            Response::builder().status(StatusCode::NO_CONTENT).finish()
        } else {
            let answer = tokio::time::timeout(self.request_timeout, self.inner.call(request));
            match answer.instrument(span.clone()).await {
                Ok(Ok(output)) => output.into_response(),
                Ok(Err(error)) => span.in_scope(|| response_of(error)),
                Err(_) => ApiError::new(ProblemCode::TimedOut, "Send the request again, faster.").into_response(),
            }
        };
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods_of(&path)));
        }
        self.cors.say(origin, response.headers_mut());
        secure(response.headers_mut());
        if let Some(hsts) = &self.hsts {
            response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        span.in_scope(|| logged(response.status(), began.elapsed()));
        Ok(response)
    }
}

impl<E> Front<E> {
    /// Is it one of our names by which the client asks? A page elsewhere may have a name that was made to lead here, and would
    /// be of the same origin as we are.
    fn named(&self, request: &Request) -> Result<(), ApiError> {
        // A prober asks by an address.
        let path = request.uri().path();
        if self.hosts.is_empty() || ["/healthz", "/readyz"].contains(&path.strip_suffix('/').unwrap_or(path)) {
            return Ok(());
        }
        let header = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
        // HTTP/2 has it in the address.
        let host = header.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
        match host_listed(&self.hosts, host.unwrap_or_default()) {
            true => Ok(()),
            false => {
                let detail = "This server is not asked by this name: http.hosts lists its names.";
                Err(ApiError::new(ProblemCode::HostNotAllowed, detail))
            }
        }
    }
}

fn logged(status: StatusCode, took: Duration) {
    let (status, ms) = (status.as_u16(), took.as_millis() as u64);
    if status >= 500 {
        tracing::warn!(status, ms, "answered");
    } else {
        tracing::debug!(status, ms, "answered");
    }
}

/// A query as it may be logged: the values of parameters that we do not know could be secrets (`token=`).
fn shown(query: &str) -> String {
    let harmless = [
        "channel",
        "prefix",
        "limit",
        "after",
        "sort",
        "cursor",
        "pair",
        "pairs",
        "source_currency",
        "destination_currency",
        "base_currency",
        "amount",
    ];
    let parts = query.split('&').filter(|p| !p.is_empty()).map(|pair| match pair.split_once('=') {
        Some((name, _)) if harmless.contains(&name) => pair.to_owned(),
        Some((name, _)) => format!("{name}=redacted"),
        None => "redacted".to_owned(),
    });
    parts.collect::<Vec<_>>().join("&")
}

/// RFC 9110 wants a 405 to say what would do.
fn methods_of(path: &str) -> &'static str {
    let path = path.trim_end_matches('/');
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match parts[..] {
        ["api", "channels", _, "events"] | ["api", "jobs", _, "runs"] => "GET, HEAD, POST",
        ["api", "orders" | "transactions" | "submissions"] => "GET, HEAD, POST",
        ["api", "orders", _] => "GET, HEAD, PATCH",
        ["api", "submissions", _, "grade"] | ["api", "notifications", _, "read"] | ["api", "notifications", "read"] => {
            "POST"
        }
        ["api", "v1", "rates" | "convert"] => "POST",
        _ => "GET, HEAD",
    }
}

/// RFC 6797.
pub(super) fn hsts(max_age_s: u64) -> Option<HeaderValue> {
    (max_age_s > 0).then(|| HeaderValue::try_from(format!("max-age={max_age_s}")).expect("digits"))
}

fn secure(headers: &mut HeaderMap) {
    let mut put = |name, value| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(header::REFERRER_POLICY, "no-referrer");
    put(header::X_FRAME_OPTIONS, "DENY");
    // Pages bring their own.
    put(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
}

/// Which other origins may read our answers. Nothing is said to the others, so a browser keeps the answer from them.
/// Credentials (cookies, `Authorization`) are for origins that were listed by name, never for `*`.
pub(super) struct Cors {
    origins: Vec<String>,
    /// `*` was listed.
    any: bool,
}

/// What one origin is granted.
pub(super) enum Grant {
    /// By its name.
    Named(HeaderValue),
    Any,
}

impl Cors {
    pub fn new(origins: &[String]) -> Self {
        let (any, named): (Vec<_>, Vec<_>) = origins.iter().partition(|o| *o == "*");
        let named = named.into_iter().map(|o| o.trim_end_matches('/').to_ascii_lowercase());
        Self { any: !any.is_empty(), origins: named.collect() }
    }

    pub fn allowed(&self, headers: &HeaderMap) -> Option<Grant> {
        let origin = headers.get(header::ORIGIN)?;
        let text = origin.to_str().ok()?.to_ascii_lowercase();
        if self.origins.contains(&text) {
            return Some(Grant::Named(origin.clone()));
        }
        self.any.then_some(Grant::Any)
    }

    fn say(&self, grant: Option<Grant>, headers: &mut HeaderMap) {
        if self.origins.is_empty() && !self.any {
            return;
        }
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let mut put = |name, value| drop(headers.insert(name, HeaderValue::from_static(value)));
        match &grant {
            None => return,
            Some(Grant::Any) => {
                put(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
                put(header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type, if-none-match, last-event-id");
            }
            Some(Grant::Named(_)) => {
                put(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
                let headers = "authorization, content-type, if-none-match, last-event-id";
                put(header::ACCESS_CONTROL_ALLOW_HEADERS, headers);
            }
        }
        put(header::ACCESS_CONTROL_EXPOSE_HEADERS, "rowcast-cursor, etag, location, retry-after");
        put(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PATCH");
        put(header::ACCESS_CONTROL_MAX_AGE, "600");
        if let Some(Grant::Named(origin)) = grant {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
    }
}

fn preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_a_query_are_not_logged() {
        let cases = [
            ("", ""),
            ("channel=a&cursor=C", "channel=a&cursor=C"),
            ("token=eyJ&channel=a", "token=redacted&channel=a"),
            ("access_token=x=y&&eyJ", "access_token=redacted&redacted"),
        ];
        for (query, want) in cases {
            assert_eq!(shown(query), want);
        }
    }
}
