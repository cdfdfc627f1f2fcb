//! What says who somebody is: nothing is accepted but what the key has signed.

use futures_util::FutureExt as _;

use crate::auth::jwt::{Algorithm, Key, Keys, Rules, Verifier, sign};
use crate::auth::{Secrets, session as django};

/// Of the samples in `tests/fixtures/django_sessions`.
const KEY: &str = "django-insecure-test-key-0123456789-abcdefghijklmnopqrstuv";
const SALT: &str = "django.contrib.sessions.SessionStore";
const NOW_S: i64 = 1_800_000_000;

/// Of Django 2.2, of 5.2, and a compressed one.
pub const SESSIONS: [&str; 3] = [
    "YjJmYzEzODg1ZjUyOTcwOGYyNzM0NWQ3NWUyNjU3YzRmMDM0ZGE1Yzp7Il9hdXRoX3VzZXJfaWQiOiIxIiwiX2F1dG\
     hfdXNlcl9iYWNrZW5kIjoiZGphbmdvLmNvbnRyaWIuYXV0aC5iYWNrZW5kcy5Nb2RlbEJhY2tlbmQiLCJfYXV0aF91\
     c2VyX2hhc2giOiJkYzVhMGIzNDQ1MDdmYjMzMjc2YTYxYzg2YWIzNTlkOWRiZTNjMWZkIn0=",
    ".eJxVjEEOwiAQRe_C2hBxoMy4dO8ZyBQYqRpISrsy3l2bdKHb_977LxV4XUpYe57DlNRZGXX43UaOj1w3kO5cb03HV\
     pd5GvWm6J12fW0pPy-7-3dQuJdvLehI0FqyhiEzCHAiz5jFgmNnIlDMePLgDYojcAascMKBBox8ZPX-ANusN5M:1xU\
     QDK:iVOFkdWzjENEiiOjeGtyVXLo1wmtkdCcMmXNpRUe1XA",
    ".eJztzDsOwjAQBNC7uEYWztrJmpKeM0TrHw5EtpRPhbg7iZQCesptXrEzOy_R07rkfp3j1A9BXIQSp--bI_-MZQ_Cg\
     8q9Sl_LMg1O7hV5pLO81RDH69H9Gcg05-07obEJtbZaEUSCBBRsRxiTBkNGebA-YtNBpzAZC0aBThSwtS16OtM26sb\
     qtiVyXjXAsizLsizL_kvx_gAR-O_-:1xUQDK:90f9tVD--7Mv7iBU94swnP-b10pIX9g6sVfro6CBrbU",
];

pub fn token_of_ours() -> String {
    let claims = serde_json::json!({ "token_type": "access", "user_id": "42", "exp": NOW_S + 60 });
    sign(Algorithm::HS256, KEY.as_bytes(), &claims).expect("a shared secret signs")
}

/// As a token, and as the claims of one whose signature is good.
pub fn token(data: &[u8]) {
    let rules = Rules {
        token_type: Some(("token_type".into(), "access".into())),
        user_claim: "user_id".into(),
        ..Rules::default()
    };
    if let Ok(claims) = rules.check(data, NOW_S) {
        assert!(!claims.user.is_empty() && claims.expires_at_s > NOW_S);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let key = Key::secret(Algorithm::HS256, KEY.as_bytes()).expect("a shared secret");
    let verifier = Verifier { algorithm: Algorithm::HS256, keys: Keys::Fixed(vec![key]), rules };
    let verified = verifier.verify(text, NOW_S).now_or_never().expect("fixed keys are not waited for");
    assert_eq!(verified.is_ok(), text == token_of_ours(), "{verified:?}");
}

/// As a session's row, and as the content of one whose signature is good.
pub fn session(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let secrets = Secrets::of(&[KEY]);
    let decoded = django::decode(text, SALT, &secrets);
    assert_eq!(decoded.is_some(), SESSIONS.contains(&text), "{decoded:?}");
    let content = serde_json::from_str(text).ok();
    if let Some(login) = decoded.or(content).as_ref().and_then(django::login) {
        assert!(!login.user.is_empty() && !django::matches_password(&login.hash, "no password", &secrets));
    }
}
