//! Errors of the HTTP faces: one type, RFC 9457 bodies, a code that never changes. What caused an error is logged
//! here, once, and never sent.

use poem::error::ResponseError;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{Response, error};
use poem_openapi::ApiResponse;
use poem_openapi::error::{ParseParamError, ParsePathError};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;

use crate::connection::Denied;
use crate::domain::{ChannelError, CursorError, ReadError, ReplayError};
use crate::store::StoreError;

use super::schema::Problem;

/// `docs/ERRORS.md` lists every one; a test compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProblemCode {
    BadRequest,
    BadChannel,
    BadCursor,
    BadHandshake,
    TooManySubscriptions,
    NotAuthenticated,
    TokenNotValid,
    BadAuthorizationHeader,
    UserNotFound,
    UserInactive,
    OriginNotAllowed,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    TimedOut,
    NotReplayable,
    CursorExpired,
    BodyTooLarge,
    UnsupportedMediaType,
    Invalid,
    Refused,
    HostNotAllowed,
    UpgradeRequired,
    TooManyRequests,
    ConnectionLimit,
    HeadersTooLarge,
    Internal,
    ViewFailed,
    MessageTooLarge,
    DatabaseUnavailable,
    NotReady,
    TooManyConnections,
    ViewTimeout,
}

impl ProblemCode {
    pub const ALL: [ProblemCode; 33] = [
        ProblemCode::BadRequest,
        ProblemCode::BadChannel,
        ProblemCode::BadCursor,
        ProblemCode::BadHandshake,
        ProblemCode::TooManySubscriptions,
        ProblemCode::NotAuthenticated,
        ProblemCode::TokenNotValid,
        ProblemCode::BadAuthorizationHeader,
        ProblemCode::UserNotFound,
        ProblemCode::UserInactive,
        ProblemCode::OriginNotAllowed,
        ProblemCode::Forbidden,
        ProblemCode::NotFound,
        ProblemCode::MethodNotAllowed,
        ProblemCode::TimedOut,
        ProblemCode::NotReplayable,
        ProblemCode::CursorExpired,
        ProblemCode::BodyTooLarge,
        ProblemCode::UnsupportedMediaType,
        ProblemCode::Invalid,
        ProblemCode::Refused,
        ProblemCode::HostNotAllowed,
        ProblemCode::UpgradeRequired,
        ProblemCode::TooManyRequests,
        ProblemCode::ConnectionLimit,
        ProblemCode::HeadersTooLarge,
        ProblemCode::Internal,
        ProblemCode::ViewFailed,
        ProblemCode::MessageTooLarge,
        ProblemCode::DatabaseUnavailable,
        ProblemCode::NotReady,
        ProblemCode::TooManyConnections,
        ProblemCode::ViewTimeout,
    ];

    pub fn as_str(self) -> &'static str {
        self.facts().0
    }

    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.facts().1).expect("a status of three digits")
    }

    fn title(self) -> &'static str {
        self.facts().2
    }

    fn facts(self) -> (&'static str, u16, &'static str) {
        match self {
            ProblemCode::BadRequest => ("bad_request", 400, "The request was not understood"),
            ProblemCode::BadChannel => ("bad_channel", 400, "Not the name of a channel"),
            ProblemCode::BadCursor => ("bad_cursor", 400, "Not a cursor"),
            ProblemCode::BadHandshake => ("bad_handshake", 400, "Not a WebSocket handshake"),
            ProblemCode::TooManySubscriptions => ("too_many_subscriptions", 400, "Too many channels"),
            ProblemCode::NotAuthenticated => ("not_authenticated", 401, "Say who you are"),
            ProblemCode::TokenNotValid => ("token_not_valid", 401, "The token is not accepted"),
            ProblemCode::BadAuthorizationHeader => ("bad_authorization_header", 401, "Not an Authorization header"),
            ProblemCode::UserNotFound => ("user_not_found", 401, "The token's user does not exist"),
            ProblemCode::UserInactive => ("user_inactive", 401, "The token's user is deactivated"),
            ProblemCode::OriginNotAllowed => ("origin_not_allowed", 403, "Not for pages of this origin"),
            ProblemCode::Forbidden => ("forbidden", 403, "Not allowed"),
            ProblemCode::NotFound => ("not_found", 404, "Nothing is here"),
            ProblemCode::MethodNotAllowed => ("method_not_allowed", 405, "Not with this method"),
            ProblemCode::TimedOut => ("timed_out", 408, "The request took too long"),
            ProblemCode::NotReplayable => ("not_replayable", 409, "A state channel has no events to replay"),
            ProblemCode::CursorExpired => ("cursor_expired", 410, "The log no longer reaches back"),
            ProblemCode::BodyTooLarge => ("body_too_large", 413, "The body is too large"),
            ProblemCode::UnsupportedMediaType => ("unsupported_media_type", 415, "Send JSON"),
            ProblemCode::Invalid => ("invalid", 422, "The body has a wrong value"),
            ProblemCode::Refused => ("refused", 422, "The database refused it"),
            ProblemCode::HostNotAllowed => ("host_not_allowed", 421, "Not by this name"),
            ProblemCode::UpgradeRequired => ("upgrade_required", 426, "WebSocket clients only"),
            ProblemCode::TooManyRequests => ("too_many_requests", 429, "Too often"),
            ProblemCode::ConnectionLimit => ("connection_limit", 429, "Too many connections of one client"),
            ProblemCode::HeadersTooLarge => ("headers_too_large", 431, "The headers are too large"),
            ProblemCode::Internal => ("internal", 500, "Something broke on our side"),
            ProblemCode::ViewFailed => ("view_failed", 500, "The view of this channel failed"),
            ProblemCode::MessageTooLarge => ("message_too_large", 500, "The content of this channel is too large"),
            ProblemCode::DatabaseUnavailable => ("database_unavailable", 503, "The database cannot be reached"),
            ProblemCode::NotReady => ("not_ready", 503, "The stream has not begun yet"),
            ProblemCode::TooManyConnections => ("too_many_connections", 503, "No room for another connection"),
            ProblemCode::ViewTimeout => ("view_timeout", 504, "The view of this channel took too long"),
        }
    }
}

/// What a handler fails with: a code, and a sentence for the client.
#[derive(Debug, thiserror::Error)]
#[error("{}: {detail}", code.as_str())]
pub struct ApiError {
    pub code: ProblemCode,
    pub detail: String,
    /// Of a refused token: why, in simplejwt's `messages`.
    pub cause: Option<String>,
}

impl ApiError {
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), cause: None }
    }

    pub fn into_response(self) -> Response {
        problem(self.code.status(), self.code, &self.detail, self.cause.as_deref())
    }

    /// The last bytes of an HTTP/1.1 connection, for where no request was read.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let (code, body) = (self.code, body(self.code.status(), self.code, &self.detail, self.cause.as_deref()));
        let head = format!(
            "HTTP/1.1 {}\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\nretry-after: 1\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            code.status(),
            body.len()
        );
        [head, body].concat().into_bytes()
    }
}

fn body(status: StatusCode, code: ProblemCode, detail: &str, cause: Option<&str>) -> String {
    let mut body = serde_json::json!({
        "type": format!("urn:rowcast:problem:{}", code.as_str()),
        "title": code.title(),
        "status": status.as_u16(),
        "detail": detail,
        "code": code.as_str(),
    });
    if let Some(cause) = cause {
        body["messages"] =
            serde_json::json!([{ "token_class": "AccessToken", "token_type": "access", "message": cause }]);
    }
    body.to_string()
}

fn problem(status: StatusCode, code: ProblemCode, detail: &str, cause: Option<&str>) -> Response {
    let body = body(status, code, detail, cause);
    let mut response = Response::builder().status(status).content_type("application/problem+json").body(body);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"api\""));
    }
    if [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&status) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Whatever a route or the framework failed with, as a problem.
pub(super) fn response_of(error: poem::Error) -> Response {
    if error.is_from_response() || error.is::<ApiError>() {
        return error.into_response();
    }
    let status = error.status();
    let (code, detail) = match status {
        StatusCode::NOT_FOUND => (ProblemCode::NotFound, "No route has this path: /docs lists them.".into()),
        StatusCode::METHOD_NOT_ALLOWED => {
            (ProblemCode::MethodNotAllowed, "This path does not answer to this method: see 'Allow'.".into())
        }
        StatusCode::PAYLOAD_TOO_LARGE => (ProblemCode::BodyTooLarge, "Send a smaller body.".into()),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            (ProblemCode::UnsupportedMediaType, "Say 'Content-Type: application/json'.".into())
        }
        StatusCode::UNPROCESSABLE_ENTITY => (ProblemCode::Invalid, error.to_string()),
        s if s.is_client_error() => (ProblemCode::BadRequest, said(&error)),
        _ => {
            tracing::error!(error = %error, "http.request failed");
            (ProblemCode::Internal, "The cause is in the server's log.".into())
        }
    };
    // The body's status is the response's own, also where the framework has a finer one than our code.
    problem(if status.is_client_error() { status } else { code.status() }, code, &detail, None)
}

/// The framework knows no names of a path's parts, and has words of its own for the rest.
fn said(error: &poem::Error) -> String {
    if let Some(ParseParamError { name, reason }) = error.downcast_ref() {
        let bound = |kind: &str| {
            let after = reason.split_once(kind)?.1;
            Some(&after[..after.find([',', ')']).unwrap_or(after.len())])
        };
        return match (bound("minimum("), bound("maximum(")) {
            (Some(least), _) => format!("'{name}' is {least} at least."),
            (_, Some(most)) => format!("'{name}' is {most} at most."),
            _ => format!("'{name}' cannot be read: /docs says what it may be."),
        };
    }
    match error.downcast_ref::<ParsePathError>() {
        Some(e) => format!("A part of the path cannot be read: {}.", e.reason),
        None => error.to_string(),
    }
}

impl ResponseError for ApiError {
    fn status(&self) -> StatusCode {
        self.code.status()
    }

    fn as_response(&self) -> Response {
        problem(self.code.status(), self.code, &self.detail, self.cause.as_deref())
    }
}

impl ApiResponse for ApiError {
    fn meta() -> MetaResponses {
        let content = vec![MetaMediaType { content_type: "application/problem+json", schema: Problem::schema_ref() }];
        let description = "Every error, as RFC 9457 describes it; docs/ERRORS.md lists the codes";
        MetaResponses {
            responses: vec![MetaResponse {
                description,
                status: None,
                status_range: None,
                content,
                headers: Vec::new(),
            }],
        }
    }

    fn register(registry: &mut Registry) {
        Problem::register(registry);
    }
}

impl From<ChannelError> for ApiError {
    fn from(e: ChannelError) -> Self {
        Self::new(ProblemCode::BadChannel, format!("{e}: send another name."))
    }
}

impl From<CursorError> for ApiError {
    fn from(e: CursorError) -> Self {
        Self::new(ProblemCode::BadCursor, e.to_string())
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        let code = match denied {
            Denied::Unknown => ProblemCode::DatabaseUnavailable,
            // To show credentials may help.
            Denied::Nameless => ProblemCode::NotAuthenticated,
            Denied::Forbidden | Denied::Unopened => ProblemCode::Forbidden,
        };
        Self::new(code, denied.message())
    }
}

impl From<ReadError> for ApiError {
    fn from(e: ReadError) -> Self {
        let code = match e {
            ReadError::View { .. } => ProblemCode::ViewFailed,
            ReadError::Key { .. } => ProblemCode::BadChannel,
            ReadError::Timeout { .. } => ProblemCode::ViewTimeout,
            ReadError::TooLarge { .. } => ProblemCode::MessageTooLarge,
            ReadError::Unavailable => ProblemCode::DatabaseUnavailable,
        };
        Self::new(code, e.to_string())
    }
}

impl From<ReplayError> for ApiError {
    fn from(e: ReplayError) -> Self {
        let code = match e {
            ReplayError::Reset | ReplayError::TooMany(_) => ProblemCode::CursorExpired,
            ReplayError::Unavailable => ProblemCode::DatabaseUnavailable,
        };
        Self::new(code, e.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(e: StoreError) -> Self {
        match e {
            // Postgres' own sentence is about what the client sent; its hint is for whoever mends it.
            StoreError::Refused { message, .. } => Self::new(ProblemCode::Refused, message),
            StoreError::Unavailable(cause) => {
                tracing::warn!(%cause, "http.request: the database cannot be reached");
                Self::new(ProblemCode::DatabaseUnavailable, "Try again in a moment.")
            }
            StoreError::Timeout => Self::new(ProblemCode::DatabaseUnavailable, "It took too long: try again later."),
            other => {
                tracing::error!(error = %other, "http.request failed");
                Self::new(ProblemCode::Internal, "The cause is in the server's log.")
            }
        }
    }
}

/// Bodies are read within a bound; a broken one is the client's own.
impl From<error::ReadBodyError> for ApiError {
    fn from(e: error::ReadBodyError) -> Self {
        match e {
            error::ReadBodyError::PayloadTooLarge => Self::new(ProblemCode::BodyTooLarge, "Send a smaller body."),
            e => Self::new(ProblemCode::BadRequest, e.to_string()),
        }
    }
}
