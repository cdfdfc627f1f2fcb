//! JSON Web Tokens (RFC 7519) as djangorestframework-simplejwt makes them: verify, and sign for development.
//!
//! By hand over `ring`, which TLS has brought along anyway: the format is three base64 texts, and what decides is ours to
//! say in any case (which claims, which types). The header may only agree with the algorithm that is configured.

mod claims;
mod jwks;
mod key;
mod spki;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;

pub use claims::{Claims, Rules, user_text};
pub use jwks::Jwks;
pub use key::{Algorithm, Key, KeyError, random_key};

const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Why a token is not accepted; the sentence is simplejwt's where it has one.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    #[error("Token is invalid")]
    Invalid,
    #[error("Token is expired")]
    Expired,
    #[error("Token has no 'exp' claim")]
    NoExpiry,
    #[error("Token has no type")]
    NoType,
    #[error("Token has wrong type")]
    WrongType,
    #[error("Token contained no recognizable user identification")]
    NoUser,
    /// The key set could not be fetched, and none was before.
    #[error("The keys of tokens cannot be fetched right now")]
    NoKeys,
}

pub enum Keys {
    /// Any of these; several while a key is rotated.
    Fixed(Vec<Key>),
    Jwks(Jwks),
}

pub struct Verifier {
    pub algorithm: Algorithm,
    pub keys: Keys,
    pub rules: Rules,
}

impl Verifier {
    pub async fn verify(&self, token: &str, now_s: i64) -> Result<Claims, TokenError> {
        let parts = Parts::split(token)?;
        let header: Header = serde_json::from_slice(&decode(parts.header)?).map_err(|_| TokenError::Invalid)?;
        if header.alg != self.algorithm.name() || header.crit.is_some() {
            return Err(TokenError::Invalid);
        }
        let signature = decode(parts.signature)?;
        let good = match &self.keys {
            Keys::Fixed(keys) => keys.iter().any(|key| key.verifies(parts.signed.as_bytes(), &signature)),
            Keys::Jwks(set) => {
                let keys = set.keys(header.kid.as_deref(), self.algorithm, now_s).await?;
                keys.iter().any(|key| key.verifies(parts.signed.as_bytes(), &signature))
            }
        };
        if !good {
            return Err(TokenError::Invalid);
        }
        self.rules.check(&decode(parts.payload)?, now_s)
    }
}

/// A token for these claims, signed with a shared secret.
pub fn sign(algorithm: Algorithm, secret: &[u8], claims: &serde_json::Value) -> Result<String, KeyError> {
    let header = serde_json::json!({ "alg": algorithm.name(), "typ": "JWT" });
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(claims));
    let signature = key::sign(algorithm, secret, signed.as_bytes())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood: none are.
    crit: Option<Box<RawValue>>,
}

struct Parts<'a> {
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
    signed: &'a str,
}

impl<'a> Parts<'a> {
    fn split(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Invalid)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Invalid)?;
        if payload.contains('.') {
            return Err(TokenError::Invalid);
        }
        Ok(Self { header, payload, signature, signed })
    }
}

fn decode(text: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Invalid)
}

#[cfg(test)]
mod tests;
