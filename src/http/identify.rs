//! Who asks: from a request's headers, cookies and query to a `Caller`. Credentials that are not accepted are refused; where
//! there are none, the caller is anonymous and what it asks for decides.

use std::sync::Arc;

use poem::http::{HeaderMap, Method, header};
use poem::{Endpoint, IntoResponse as _, Request, Response};

use crate::auth::jwt::TokenError;
use crate::auth::{Auth, Carrier, Refusal};
use crate::domain::{Caller, Identity};

use super::front::{Cors, Grant};
use super::problem::{ApiError, ProblemCode};

/// In a WebSocket's subprotocols, before a token: `rowcast.v1, bearer.TOKEN`. It is never chosen.
const SUBPROTOCOL: &str = "bearer.";
const QUERY: [&str; 2] = ["token", "access_token"];

/// Finds out who asks.
pub async fn identify(auth: &Auth, request: &Request) -> Result<Caller, ApiError> {
    if let Some(token) = token(auth, request)?.filter(|token| auth.judges(token)) {
        return Ok(auth.token(&token).await?);
    }
    if auth.takes_sessions()
        && let Some(key) = cookie(request.headers(), &auth.config().session_cookie)
    {
        return Ok(auth.session(&key).await?);
    }
    Ok(Caller::default())
}

/// Who asks, as `Identified` found out.
pub fn caller(request: &Request) -> Caller {
    request.data::<Caller>().cloned().unwrap_or_default()
}

/// The query without what authenticates.
pub fn without_secrets(mut query: Vec<(String, String)>) -> Vec<(String, String)> {
    query.retain(|(name, _)| !QUERY.contains(&name.as_str()));
    query
}

/// May a page of this origin do this? A WebSocket always, over HTTP what changes something, and what `cors` lets do may be done.
pub fn check_origin(auth: &Auth, cors: Option<&Cors>, headers: &HeaderMap) -> Result<(), ApiError> {
    // As Latin-1, which no byte can spoil; of several, the last.
    let latin = |value: &header::HeaderValue| value.as_bytes().iter().map(|&b| char::from(b)).collect::<String>();
    let origin = headers.get_all(header::ORIGIN).iter().next_back().map(latin);
    let host = headers.get(header::HOST).map(latin);
    match cors.and_then(|cors| cors.allowed(headers)) {
        Some(Grant::Named(_)) => return Ok(()),
        // A page from anywhere may do what it could without its visitor's session.
        Some(Grant::Any) if !headers.contains_key(header::COOKIE) => return Ok(()),
        _ => {}
    }
    // Without an origin it is no page; whether such a client may open a WebSocket is a setting, REST is for everybody.
    if (cors.is_some() && origin.is_none()) || auth.origins().allow(origin.as_deref(), host.as_deref()) {
        return Ok(());
    }
    let detail = match origin {
        Some(_) => "Pages of this origin may not connect here: auth.origins lists those that may.",
        None => "Clients without an Origin may not connect here: see auth.origin_required.",
    };
    Err(ApiError::new(ProblemCode::OriginNotAllowed, detail))
}

fn token(auth: &Auth, request: &Request) -> Result<Option<String>, ApiError> {
    let headers = request.headers();
    if auth.takes(Carrier::Header)
        && let Some(value) = headers.get(header::AUTHORIZATION)
    {
        let text = value.to_str().unwrap_or("Bearer");
        let mut words = text.split_ascii_whitespace();
        // Another scheme is for somebody else.
        if words.next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer")) {
            return match (words.next(), words.next()) {
                (Some(token), None) => Ok(Some(token.to_owned())),
                _ => {
                    let detail = "Authorization header must contain two space-delimited values";
                    Err(ApiError::new(ProblemCode::BadAuthorizationHeader, detail))
                }
            };
        }
    }
    if auth.takes(Carrier::Subprotocol) {
        let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|v| v.to_str().ok());
        if let Some(token) = offered.flat_map(|v| v.split(',')).find_map(|p| p.trim().strip_prefix(SUBPROTOCOL)) {
            return Ok(Some(token.to_owned()));
        }
    }
    if auth.takes(Carrier::Query) {
        let pairs = request.params::<Vec<(String, String)>>().unwrap_or_default();
        let found = pairs.into_iter().find(|(name, value)| QUERY.contains(&name.as_str()) && !value.is_empty());
        if let Some((_, token)) = found {
            return Ok(Some(token));
        }
    }
    Ok(auth.takes(Carrier::Cookie).then(|| cookie(headers, &auth.config().token_cookie)).flatten())
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';'));
    let found = all.filter_map(|pair| pair.split_once('=')).find(|(n, _)| n.trim() == name);
    found.map(|(_, value)| value.trim().trim_matches('"').to_owned()).filter(|value| !value.is_empty())
}

/// Around routes whose handlers ask who calls (`poem::web::Data<&Caller>`).
pub struct Identified<E> {
    pub inner: E,
    pub auth: Arc<Auth>,
    pub cors: Arc<Cors>,
}

impl<E: Endpoint> Endpoint for Identified<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let found = async {
            if !safe {
                check_origin(&self.auth, Some(&self.cors), request.headers())?;
            }
            identify(&self.auth, &request).await
        };
        match found.await {
            Ok(caller) => {
                request.set_data(caller);
                Ok(self.inner.call(request).await?.into_response())
            }
            Err(error) => Ok(error.into_response()),
        }
    }
}

/// simplejwt's words and codes: clients of the applications that rowcast replaces look at them.
impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Token(TokenError::NoKeys) => Self::new(ProblemCode::DatabaseUnavailable, refusal.to_string()),
            Refusal::Token(TokenError::NoUser) => Self::new(ProblemCode::TokenNotValid, refusal.to_string()),
            Refusal::Token(error) => {
                let detail = "Given token not valid for any token type";
                Self { cause: Some(error.to_string()), ..Self::new(ProblemCode::TokenNotValid, detail) }
            }
            Refusal::NoTokens | Refusal::Key => Self::new(ProblemCode::TokenNotValid, refusal.to_string()),
            Refusal::UserNotFound => Self::new(ProblemCode::UserNotFound, refusal.to_string()),
            Refusal::UserInactive => Self::new(ProblemCode::UserInactive, refusal.to_string()),
            Refusal::Database(error) => error.into(),
        }
    }
}

/// What is only for those who said who they are.
pub fn authenticated(identity: &Identity) -> Result<(), ApiError> {
    match identity.is_anonymous() {
        true => Err(ApiError::new(ProblemCode::NotAuthenticated, "Authentication credentials were not provided.")),
        false => Ok(()),
    }
}

/// What is only for the application's staff, and for servers whose key was made with `admin`.
pub fn staff(identity: &Identity) -> Result<(), ApiError> {
    authenticated(identity)?;
    match identity.staff {
        true => Ok(()),
        false => Err(ApiError::new(ProblemCode::Forbidden, "You do not have permission to perform this action.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_leave_the_query() {
        let pair = |name: &str| (name.to_owned(), "x".to_owned());
        let left = without_secrets(vec![pair("token"), pair("pairs"), pair("access_token")]);
        assert_eq!(left, [pair("pairs")]);
    }

    #[test]
    fn cookies_are_found_by_their_name() {
        let headers =
            HeaderMap::from_iter([(header::COOKIE, "a=1; sessionid=abc; xsessionid=no".parse().expect("ok"))]);
        for (name, want) in [("sessionid", Some("abc")), ("a", Some("1")), ("b", None)] {
            assert_eq!(cookie(&headers, name).as_deref(), want, "{name}");
        }
    }
}
