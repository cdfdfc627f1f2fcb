//! Keys and algorithms of signatures.

use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use ring::{hmac, rand};
use serde::Deserialize;

use super::spki;

/// RFC 7518, 3.1; those that `ring` has.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    ES256,
    ES384,
}

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    #[error("it is no public key in PEM (-----BEGIN PUBLIC KEY-----)")]
    Pem,
    #[error("it is not a key for {}", .0.name())]
    Kind(Algorithm),
    #[error("{} signs with a private key, and tokens are only signed with a shared secret here", .0.name())]
    NotShared(Algorithm),
}

/// What verifies; never shown.
pub enum Key {
    Secret(hmac::Key),
    /// The algorithm's own encoding: RSAPublicKey, or an uncompressed point.
    Public(&'static dyn signature::VerificationAlgorithm, Vec<u8>),
    /// Of a key set.
    Rsa(&'static signature::RsaParameters, Vec<u8>, Vec<u8>),
}

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
        }
    }

    pub fn is_shared(self) -> bool {
        self.hmac().is_some()
    }

    fn hmac(self) -> Option<hmac::Algorithm> {
        match self {
            Self::HS256 => Some(hmac::HMAC_SHA256),
            Self::HS384 => Some(hmac::HMAC_SHA384),
            Self::HS512 => Some(hmac::HMAC_SHA512),
            _ => None,
        }
    }

    /// Keys of less than 2048 bits are refused.
    pub(super) fn rsa(self) -> Option<&'static signature::RsaParameters> {
        match self {
            Self::RS256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::RS384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::RS512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
            _ => None,
        }
    }

    /// The curve's name in a key set, the length of a coordinate, and the algorithm.
    pub(super) fn ec(self) -> Option<(&'static str, usize, &'static dyn signature::VerificationAlgorithm)> {
        match self {
            Self::ES256 => Some(("P-256", 32, &signature::ECDSA_P256_SHA256_FIXED)),
            Self::ES384 => Some(("P-384", 48, &signature::ECDSA_P384_SHA384_FIXED)),
            _ => None,
        }
    }
}

impl Key {
    /// UTF-8 bytes as they are: no decoding, no derivation, as PyJWT does.
    pub fn secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyError> {
        let hmac = algorithm.hmac().ok_or(KeyError::Kind(algorithm))?;
        Ok(Self::Secret(hmac::Key::new(hmac, secret)))
    }

    /// A public key in PEM (SubjectPublicKeyInfo).
    pub fn pem(algorithm: Algorithm, pem: &str) -> Result<Self, KeyError> {
        let (kind, bits) = spki::parse(pem).ok_or(KeyError::Pem)?;
        let wrong = KeyError::Kind(algorithm);
        match (kind, algorithm.rsa(), algorithm.ec()) {
            (spki::Kind::Rsa, Some(rsa), _) => Ok(Self::Public(rsa, bits)),
            (spki::Kind::Ec, _, Some((_, n, ec))) if bits.len() == 1 + 2 * n => Ok(Self::Public(ec, bits)),
            _ => Err(wrong),
        }
    }

    pub fn verifies(&self, message: &[u8], mac: &[u8]) -> bool {
        match self {
            Self::Secret(key) => hmac::verify(key, message, mac).is_ok(),
            Self::Public(algorithm, bytes) => UnparsedPublicKey::new(*algorithm, bytes).verify(message, mac).is_ok(),
            Self::Rsa(params, n, e) => RsaPublicKeyComponents { n, e }.verify(params, message, mac).is_ok(),
        }
    }
}

pub(super) fn sign(algorithm: Algorithm, secret: &[u8], message: &[u8]) -> Result<Vec<u8>, KeyError> {
    let hmac = algorithm.hmac().ok_or(KeyError::NotShared(algorithm))?;
    Ok(hmac::sign(&hmac::Key::new(hmac, secret), message).as_ref().to_vec())
}

/// 256 random bits in hex, from the operating system.
pub fn random_key() -> Option<String> {
    let bytes: [u8; 32] = rand::generate(&rand::SystemRandom::new()).ok()?.expose();
    Some(bytes.iter().map(|b| format!("{b:02x}")).collect())
}
