//! What a token must say, and what is taken from it.

use serde_json::{Map, Value};

use super::TokenError;

/// The issuer's settings: simplejwt's names are in the comments.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// ISSUER; None: any.
    pub issuer: Option<String>,
    /// AUDIENCE, any of them; empty: not looked at.
    pub audiences: Vec<String>,
    /// LEEWAY
    pub leeway_s: i64,
    /// TOKEN_TYPE_CLAIM and the type of an access token; None: not looked at.
    pub token_type: Option<(String, String)>,
    /// USER_ID_CLAIM
    pub user_claim: String,
}

/// Of a token that was found good.
#[derive(Clone, Debug)]
pub struct Claims {
    pub user: String,
    pub expires_at_s: i64,
    /// As they stand in the token.
    pub all: Map<String, Value>,
}

impl Rules {
    pub fn check(&self, payload: &[u8], now_s: i64) -> Result<Claims, TokenError> {
        let Ok(Value::Object(all)) = serde_json::from_slice(payload) else { return Err(TokenError::Invalid) };
        // In PyJWT's order: not yet valid, then expired, then for whom and by whom.
        for name in ["iat", "nbf"] {
            if let Some(value) = all.get(name)
                && seconds(value).ok_or(TokenError::Invalid)? > now_s.saturating_add(self.leeway_s)
            {
                return Err(TokenError::Invalid);
            }
        }
        let expires_at_s = match all.get("exp") {
            None | Some(Value::Null) => None,
            Some(value) => Some(seconds(value).ok_or(TokenError::Invalid)?),
        };
        if expires_at_s.is_some_and(|at| at <= now_s.saturating_sub(self.leeway_s)) {
            return Err(TokenError::Expired);
        }
        if let Some(issuer) = &self.issuer
            && all.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(TokenError::Invalid);
        }
        if !self.audiences.is_empty() && !self.is_for_us(all.get("aud")) {
            return Err(TokenError::Invalid);
        }
        let expires_at_s = expires_at_s.ok_or(TokenError::NoExpiry)?;
        if let Some((claim, wanted)) = &self.token_type {
            match all.get(claim) {
                None => return Err(TokenError::NoType),
                Some(found) if found.as_str() != Some(wanted) => return Err(TokenError::WrongType),
                Some(_) => {}
            }
        }
        let user = all.get(&self.user_claim).and_then(user_text).ok_or(TokenError::NoUser)?;
        Ok(Claims { user, expires_at_s, all })
    }

    fn is_for_us(&self, audience: Option<&Value>) -> bool {
        let known = |value: &Value| value.as_str().is_some_and(|a| self.audiences.iter().any(|ours| ours == a));
        match audience {
            Some(Value::Array(many)) => many.iter().any(known),
            Some(one) => known(one),
            None => false,
        }
    }
}

/// A user's key is a text or a whole number (simplejwt wrote numbers before 5.5.1); nothing else is one.
pub fn user_text(value: &Value) -> Option<String> {
    const BYTES_MAX: usize = 255;
    match value {
        Value::Number(n) if n.is_i64() || n.is_u64() => Some(n.to_string()),
        Value::String(s) if !s.is_empty() && s.len() <= BYTES_MAX && !s.chars().any(char::is_control) => {
            Some(s.clone())
        }
        _ => None,
    }
}

fn seconds(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_f64().filter(|f| f.is_finite()).map(|f| f as i64))
}
