//! Tokens of other issuers: public keys in PEM and behind a URL, and what such a token must say.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _, RsaKeyPair};
use rowcast::auth::Stats;
use rowcast::auth::jwt::{Algorithm, Jwks, Keys, Rules, TokenError, Verifier};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::now_s;
use crate::kit::{Dir, Server, TestDb, http_client, patiently, wait_until};
use crate::provider::server::{Reply, Server as Issuer, http};

const RSA_PRIVATE: &str = include_str!("../../fixtures/jwt/rs256_private.pem");
const RSA_PUBLIC: &str = include_str!("../../fixtures/jwt/rs256_public.pem");
/// Of SubjectPublicKeyInfo, before the point: P-256, P-384.
const SPKI: [&str; 2] =
    ["3059301306072a8648ce3d020106082a8648ce3d030107034200", "3076301006072a8648ce3d020106052b81040022036200"];

struct Pair(EcdsaKeyPair, Algorithm);

impl Pair {
    fn new(algorithm: Algorithm) -> Self {
        let how: &EcdsaSigningAlgorithm = match algorithm {
            Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            _ => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        };
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(how, &random).expect("a key");
        Self(EcdsaKeyPair::from_pkcs8(how, document.as_ref(), &random).expect("our own"), algorithm)
    }

    fn sign(&self, kid: Option<&str>, claims: &Value) -> String {
        let sign = |text: &[u8]| self.0.sign(&SystemRandom::new(), text).expect("signs").as_ref().to_vec();
        signed(self.1, kid, claims, sign)
    }

    fn jwk(&self, kid: &str) -> Value {
        let point = &self.0.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        let curve = if self.1 == Algorithm::ES256 { "P-256" } else { "P-384" };
        json!({"kty": "EC", "use": "sig", "kid": kid, "crv": curve, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
    }

    fn pem(&self) -> String {
        let head = SPKI[usize::from(self.1 != Algorithm::ES256)];
        let mut der: Vec<u8> =
            (0..head.len()).step_by(2).map(|i| u8::from_str_radix(&head[i..i + 2], 16).expect("hex")).collect();
        der.extend_from_slice(self.0.public_key().as_ref());
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }
}

fn signed(algorithm: Algorithm, kid: Option<&str>, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let mut header = json!({"alg": algorithm.name(), "typ": "JWT"});
    if let Some(kid) = kid {
        header["kid"] = kid.into();
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&header), part(claims));
    let mark = URL_SAFE_NO_PAD.encode(sign(text.as_bytes()));
    format!("{text}.{mark}")
}

fn rsa(claims: &Value) -> String {
    let body: String = RSA_PRIVATE.lines().filter(|line| !line.starts_with("-----")).collect();
    let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(body).expect("base64")).expect("a key");
    signed(Algorithm::RS256, None, claims, |text| {
        let mut mark = vec![0; key.public().modulus_len()];
        key.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut mark).expect("signs");
        mark
    })
}

/// An issuer whose answer can be changed, and a verifier that asks it.
async fn issuer(answer: Vec<u8>) -> (Issuer, Arc<Mutex<Vec<u8>>>, Verifier, Arc<Stats>) {
    let answer = Arc::new(Mutex::new(answer));
    let said = answer.clone();
    let issuer = Issuer::new(move |_| {
        let bytes = said.lock().expect("no test panics here").clone();
        Box::pin(async move { Reply::Bytes(bytes) })
    })
    .await;
    let stats = Arc::new(Stats::default());
    let verifier = verifier(&issuer, stats.clone());
    (issuer, answer, verifier, stats)
}

fn verifier(issuer: &Issuer, stats: Arc<Stats>) -> Verifier {
    let rules = Rules { user_claim: "sub".into(), ..Rules::default() };
    let keys = Keys::Jwks(Jwks::new(format!("{}/keys", issuer.url), http_client(), stats));
    Verifier { algorithm: Algorithm::ES256, keys, rules }
}

fn set(keys: &[Value]) -> Vec<u8> {
    http(200, &["Content-Type: application/json"], json!({ "keys": keys }).to_string())
}

#[tokio::test]
async fn a_key_set_is_fetched_when_needed_kept_and_rotated_by_kid() {
    let (a, b) = (Pair::new(Algorithm::ES256), Pair::new(Algorithm::ES256));
    let (issuer, answer, verifier, stats) = issuer(set(&[a.jwk("a")])).await;
    let say = |bytes: Vec<u8>| *answer.lock().expect("no test panics here") = bytes;
    let start = 1_800_000_000;
    let claims = json!({"sub": "42", "exp": start + 100_000});
    let (by_a, by_b, nameless) = (a.sign(Some("a"), &claims), b.sign(Some("b"), &claims), a.sign(None, &claims));
    let verify =
        async |token: &str, after_s: i64| verifier.verify(token, start + after_s).await.map(|claims| claims.user);
    let (good, bad) = (Ok("42".to_owned()), Err(TokenError::Invalid));
    let get = |n: &std::sync::atomic::AtomicU64| n.load(std::sync::atomic::Ordering::Relaxed);
    assert!(issuer.seen().is_empty(), "not before somebody comes");
    for token in [&by_a, &by_a, &nameless] {
        assert_eq!(verify(token, 0).await, good);
    }
    assert_eq!(issuer.seen().len(), 1);
    // The issuer rotates. Its new key is not asked for at once, so that made-up ones cannot make us ask.
    say(set(&[b.jwk("b")]));
    assert_eq!(verify(&by_b, 5).await, bad);
    for n in 0..100 {
        assert_eq!(verify(&a.sign(Some(&format!("made up {n}")), &claims), 6).await, bad);
    }
    assert_eq!((verify(&by_a, 29).await, issuer.seen().len()), (good.clone(), 1));
    assert_eq!((verify(&by_b, 31).await, issuer.seen().len()), (good.clone(), 2));
    assert_eq!((verify(&by_a, 32).await, issuer.seen().len()), (bad.clone(), 2), "gone with its set");
    assert_eq!(verify(&a.sign(Some("b"), &claims), 33).await, bad, "another's name is no key");
    // It is read again when it is old; an issuer that is down takes no key away.
    say(http(500, &[], ""));
    assert_eq!((verify(&by_b, 630).await, issuer.seen().len()), (good.clone(), 2));
    assert_eq!(verify(&by_b, 640).await, good);
    wait_until("the issuer has failed", async || get(&stats.jwks_failed) == 1).await;
    assert_eq!(issuer.seen().len(), 3);
    assert_eq!((verify(&by_b, 660).await, issuer.seen().len()), (good.clone(), 3), "it is left in peace for a while");
    assert_eq!(verify(&by_b, 671).await, good);
    wait_until("the issuer has failed again", async || get(&stats.jwks_failed) == 2).await;
    assert_eq!((issuer.seen().len(), get(&stats.jwks_fetched)), (4, 2));
}

/// While one fetch is under way, only those wait for it who need what it may bring.
#[tokio::test]
async fn a_stalled_issuer_stalls_nobody_whose_key_is_known() {
    let (a, b) = (Pair::new(Algorithm::ES256), Pair::new(Algorithm::ES256));
    let (first_set, second) = (set(&[a.jwk("a")]), set(&[a.jwk("a"), b.jwk("b")]));
    let (gate, gated) = watch::channel(true);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let issuer = Issuer::new(move |_| {
        let (mut gate, first) = (gated.clone(), count.fetch_add(1, Ordering::SeqCst) == 0);
        let keys = if first { first_set.clone() } else { second.clone() };
        Box::pin(async move {
            let _ = gate.wait_for(|open| *open).await;
            Reply::Bytes(keys)
        })
    })
    .await;
    let verifier = Arc::new(verifier(&issuer, Arc::default()));
    let start = 1_800_000_000;
    let claims = json!({"sub": "42", "exp": start + 100_000});
    let (by_a, by_b, made_up) = (a.sign(Some("a"), &claims), b.sign(Some("b"), &claims), a.sign(Some("c"), &claims));
    let verify = async |token: &str, after_s: i64| {
        let verdict = patiently("a verdict", verifier.verify(token, start + after_s)).await;
        verdict.map(|claims| claims.user)
    };
    let waiting = |token: &str, after_s: i64| {
        let (verifier, token) = (verifier.clone(), token.to_owned());
        tokio::spawn(async move { verifier.verify(&token, start + after_s).await.map(|claims| claims.user) })
    };
    let good = Ok("42".to_owned());
    assert_eq!(verify(&by_a, 0).await, good);
    gate.send_replace(false);
    // The set is old: who comes first begins to renew it, and does not wait for that either.
    assert_eq!(verify(&by_a, 700).await, good);
    wait_until("the issuer is asked", async || asked.load(Ordering::SeqCst) == 2).await;
    let (unknown, forged) = (waiting(&by_b, 700), waiting(&made_up, 700));
    for _ in 0..100 {
        assert_eq!(verify(&by_a, 701).await, good);
    }
    assert!(!unknown.is_finished() && !forged.is_finished(), "they wait for the set that may have their keys");
    gate.send_replace(true);
    assert_eq!(patiently("the new key", unknown).await.expect("ends"), good);
    assert_eq!(patiently("a refusal", forged).await.expect("ends"), Err(TokenError::Invalid));
    assert_eq!(asked.load(Ordering::SeqCst), 2, "one fetch for all of them");
    // After a night without anybody, yesterday's keys do not count before the issuer was asked.
    gate.send_replace(false);
    let morning = waiting(&by_a, 40_000);
    wait_until("the issuer is asked again", async || asked.load(Ordering::SeqCst) == 3).await;
    let next = waiting(&by_b, 40_000);
    tokio::task::yield_now().await;
    assert!(!morning.is_finished() && !next.is_finished());
    gate.send_replace(true);
    assert_eq!(patiently("the morning's first", morning).await.expect("ends"), good);
    assert_eq!(patiently("the next one", next).await.expect("ends"), good);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn what_is_no_key_set_or_too_much_of_one_is_none() {
    let (a, p384) = (Pair::new(Algorithm::ES256), Pair::new(Algorithm::ES384));
    let now = now_s();
    let token = a.sign(Some("a"), &json!({"sub": "42", "exp": now + 60}));
    let mut large = json!({ "keys": [a.jwk("a")] });
    large["more"] = "x".repeat(300_000).into();
    let mut short = a.jwk("a");
    short["x"] = "AAAA".into();
    let mut many: Vec<Value> = (0..64).map(|n| p384.jwk(&n.to_string())).collect();
    many.push(a.jwk("a"));
    for (what, answer) in [
        ("too large", http(200, &[], large.to_string())),
        ("no JSON", http(200, &[], "keys")),
        ("none of the algorithm", set(&[p384.jwk("a")])),
        ("half a key", set(&[short])),
        ("past the 64 that are looked at", set(&many)),
        ("elsewhere", http(302, &["Location: https://keys.example/"], "")),
    ] {
        let (_issuer, _answer, verifier, _stats) = issuer(answer).await;
        assert_eq!(verifier.verify(&token, now).await.map(|c| c.user), Err(TokenError::NoKeys), "{what}");
    }
    // A stalled issuer holds nobody up for long.
    let stalled = Issuer::new(|_| Box::pin(async { Reply::Stalled(b"HTTP/1.1 200 OK\r\n".to_vec()) })).await;
    let verifier = verifier(&stalled, Arc::default());
    let verdict = patiently("a verdict", verifier.verify(&token, now)).await;
    assert_eq!(verdict.map(|c| c.user), Err(TokenError::NoKeys));
}

#[tokio::test]
async fn public_keys_issuers_audiences_and_leeway_are_what_the_settings_say() {
    let db = TestDb::new().await;
    let dir = Dir::new("keys");
    let (es256, es384) = (Pair::new(Algorithm::ES256), Pair::new(Algorithm::ES384));
    let stranger = Pair::new(Algorithm::ES256);
    let claims = |change: &dyn Fn(&mut Value)| {
        let mut claims =
            json!({"sub": "42", "iss": "https://id.example", "aud": ["web", "rowcast"], "exp": now_s() + 60});
        change(&mut claims);
        claims
    };
    let plain = claims(&|_| ());
    let keys = Issuer::saying(set(&[es256.jwk("a")])).await;
    let set_url = format!("{}/keys", keys.url);
    let cases: [(Algorithm, Option<String>, Vec<(String, u16)>); 4] = [
        (
            Algorithm::ES256,
            Some(es256.pem()),
            vec![
                (es256.sign(None, &plain), 200),
                (es256.sign(Some("any"), &plain), 200),
                (es256.sign(None, &claims(&|c| c["exp"] = (now_s() - 20).into())), 200),
                (es256.sign(None, &claims(&|c| c["exp"] = (now_s() - 40).into())), 401),
                (es256.sign(None, &claims(&|c| c["nbf"] = (now_s() + 90).into())), 401),
                (es256.sign(None, &claims(&|c| c["iss"] = "https://other.example".into())), 401),
                (es256.sign(None, &claims(&|c| c["aud"] = "rowcast".into())), 200),
                (es256.sign(None, &claims(&|c| c["aud"] = "web".into())), 401),
                (es256.sign(None, &claims(&|c| c["sub"] = Value::Null)), 401),
                (stranger.sign(None, &plain), 401),
                (es384.sign(None, &plain), 401),
                (rsa(&plain), 401),
            ],
        ),
        (Algorithm::ES384, Some(es384.pem()), vec![(es384.sign(None, &plain), 200), (es256.sign(None, &plain), 401)]),
        (Algorithm::RS256, Some(RSA_PUBLIC.to_owned()), vec![(rsa(&plain), 200), (es256.sign(None, &plain), 401)]),
        (Algorithm::ES256, None, vec![(es256.sign(Some("a"), &plain), 200), (stranger.sign(Some("a"), &plain), 401)]),
    ];
    for (algorithm, pem, tokens) in cases {
        let file = dir.path().join(format!("{}.pem", algorithm.name()));
        std::fs::write(&file, pem.as_deref().unwrap_or_default()).expect("our own directory");
        let server = Server::with(&db.url(), |c| {
            c.auth.jwt = true;
            c.auth.jwt_algorithm = algorithm;
            match pem {
                Some(_) => c.auth.jwt_public_key_file = Some(file),
                None => c.auth.jwt_jwks_url = Some(set_url.clone()),
            }
            c.auth.jwt_user_claim = "sub".into();
            c.auth.jwt_type_claim = "none".into();
            c.auth.jwt_issuer = Some("https://id.example".into());
            c.auth.jwt_audiences = vec!["rowcast".into()];
            c.auth.jwt_leeway_s = 30;
        })
        .await;
        for (n, (token, status)) in tokens.iter().enumerate() {
            let answer = http_client().get(server.http("/api/channels")).bearer_auth(token).send().await;
            assert_eq!(answer.expect("an answer").status().as_u16(), *status, "{} {n}", algorithm.name());
        }
        server.stop().await;
    }
    assert_eq!(keys.seen().len(), 1);
}
