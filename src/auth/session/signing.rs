//! Django's signatures, byte for byte: the session's own text, and the mark that ties it to the user's password.
//!
//! Two formats. Modern (3.1 on): `payload:time:signature`, HMAC-SHA256, the payload base64url, compressed where it begins
//! with a dot. Legacy (2.2, 3.0): base64 of `signature:json`, HMAC-SHA1. A colon tells them apart: base64 has none.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::{digest, hmac};
use serde_json::{Map, Value};

use crate::auth::config::Secrets;

const DATA_BYTES_MAX: usize = 1024 * 1024;
const AUTH_SALT: &str = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash";
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a session says of its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub backend: String,
    pub hash: String,
}

/// The session's content, if one of the keys signed it. `salt` is `django.contrib.sessions.SessionStore` but for custom classes.
pub fn decode(data: &str, salt: &str, secrets: &Secrets) -> Option<Map<String, Value>> {
    if data.len() > 2 * DATA_BYTES_MAX {
        return None;
    }
    let json = match data.rsplit_once(':') {
        Some((signed, signature)) => modern(signed, signature, salt, secrets)?,
        None => legacy(data, salt, secrets)?,
    };
    match serde_json::from_slice(&json) {
        Ok(Value::Object(content)) => Some(content),
        // A pickle, say.
        _ => None,
    }
}

/// None: nobody is logged in.
pub fn login(content: &Map<String, Value>) -> Option<Login> {
    let text = |name| content.get(name).and_then(Value::as_str).filter(|s| !s.is_empty()).map(str::to_owned);
    let user = content.get("_auth_user_id").and_then(crate::auth::jwt::user_text)?;
    Some(Login { user, backend: text("_auth_user_backend")?, hash: text("_auth_user_hash")? })
}

/// Was the session made while the user had this password?
pub fn matches_password(hash: &str, password: &str, secrets: &Secrets) -> bool {
    secrets.all().any(|secret| {
        let salted = [AUTH_SALT.as_bytes(), secret.expose().as_bytes()].concat();
        let key = match hash.len() {
            64 => hmac_key(hmac::HMAC_SHA256, &digest::SHA256, &salted),
            40 => hmac_key(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &digest::SHA1_FOR_LEGACY_USE_ONLY, &salted),
            _ => return false,
        };
        from_hex(hash).is_some_and(|mac| hmac::verify(&key, password.as_bytes(), &mac).is_ok())
    })
}

fn modern(signed: &str, signature: &str, salt: &str, secrets: &Secrets) -> Option<Vec<u8>> {
    let mac = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let good = secrets.all().any(|secret| {
        let salted = [salt.as_bytes(), b"signer", secret.expose().as_bytes()].concat();
        let key = hmac_key(hmac::HMAC_SHA256, &digest::SHA256, &salted);
        hmac::verify(&key, signed.as_bytes(), &mac).is_ok()
    });
    // The time of signing is not looked at: the row's own date decides.
    let (payload, _time) = signed.rsplit_once(':').filter(|_| good)?;
    match payload.strip_prefix('.') {
        None => LENIENT.decode(payload).ok(),
        Some(compressed) => {
            let bytes = LENIENT.decode(compressed).ok()?;
            miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(&bytes, DATA_BYTES_MAX).ok()
        }
    }
}

fn legacy(data: &str, salt: &str, secrets: &Secrets) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(data).ok()?;
    let at = bytes.iter().position(|&b| b == b':')?;
    let (hash, json) = (std::str::from_utf8(&bytes[..at]).ok()?, &bytes[at + 1..]);
    let mac = from_hex(hash)?;
    // The same class, without the dot between.
    let salt = salt.rsplit_once('.').map_or_else(|| salt.to_owned(), |(module, class)| format!("{module}{class}"));
    let good = secrets.all().any(|secret| {
        let salted = [salt.as_bytes(), secret.expose().as_bytes()].concat();
        let key = hmac_key(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &digest::SHA1_FOR_LEGACY_USE_ONLY, &salted);
        hmac::verify(&key, json, &mac).is_ok()
    });
    good.then(|| json.to_vec())
}

fn hmac_key(algorithm: hmac::Algorithm, hash: &'static digest::Algorithm, salted: &[u8]) -> hmac::Key {
    hmac::Key::new(algorithm, digest::digest(hash, salted).as_ref())
}

/// Lower-case hex, as Python writes it.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}
