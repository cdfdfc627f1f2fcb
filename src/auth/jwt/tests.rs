use super::*;

const NOW_S: i64 = 1_795_187_200;

fn fixtures() -> serde_json::Value {
    serde_json::from_str(include_str!("../../../tests/fixtures/jwt/tokens.json")).expect("JSON")
}

fn rules() -> Rules {
    Rules { token_type: Some(("token_type".into(), "access".into())), user_claim: "user_id".into(), ..Rules::default() }
}

fn hs256(secret: &str, rules: Rules) -> Verifier {
    let key = Key::secret(Algorithm::HS256, secret.as_bytes()).expect("a shared secret");
    Verifier { algorithm: Algorithm::HS256, keys: Keys::Fixed(vec![key]), rules }
}

#[tokio::test]
async fn every_sample_of_simplejwt_gets_its_verdict() {
    let fixtures = fixtures();
    let secret = fixtures["secret_key"].as_str().expect("a key");
    let plain = hs256(secret, rules());
    let strict = hs256(secret, Rules { issuer: Some("lms-api".into()), audiences: vec!["lms-web".into()], ..rules() });
    let pem = include_str!("../../../tests/fixtures/jwt/rs256_public.pem");
    let rs256 = Verifier {
        algorithm: Algorithm::RS256,
        keys: Keys::Fixed(vec![Key::pem(Algorithm::RS256, pem).expect("a public key")]),
        rules: rules(),
    };
    let samples = fixtures["samples"].as_array().expect("samples");
    assert_eq!(samples.len(), 22);
    for sample in samples {
        let name = sample["name"].as_str().expect("a name");
        let verifier = match name {
            n if n.starts_with("aud_") => &strict,
            "rs256_valid" => &rs256,
            _ => &plain,
        };
        let verdict = verifier.verify(sample["token"].as_str().expect("a token"), NOW_S).await;
        let accepted = sample["verdict"] == "accept";
        assert_eq!(verdict.is_ok(), accepted, "{name}: {verdict:?}");
        match verdict {
            Ok(claims) => {
                assert_eq!(claims.user, "42", "{name}");
                assert_eq!(serde_json::Value::Object(claims.all), sample["claims"], "{name}");
            }
            Err(error) => {
                // Where simplejwt has words for it, they are ours.
                let theirs = sample["library_error"].as_str().expect("why");
                assert!(theirs.contains(&error.to_string()), "{name}: {error} instead of {theirs}");
            }
        }
    }
    // A token of one algorithm is nothing to a verifier of another, its key being public or not.
    let hs = samples[0]["token"].as_str().expect("a token");
    assert_eq!(rs256.verify(hs, NOW_S).await.map(|c| c.user), Err(TokenError::Invalid));
    let as_secret = hs256(pem, rules());
    let forged = sign(Algorithm::HS256, pem.as_bytes(), &samples[0]["claims"]).expect("signs");
    assert!(as_secret.verify(&forged, NOW_S).await.is_ok(), "the attack is a real one");
    assert_eq!(rs256.verify(&forged, NOW_S).await.map(|c| c.user), Err(TokenError::Invalid));
}

#[tokio::test]
async fn claims_have_their_types_and_times_their_leeway() {
    let base = serde_json::json!({"token_type": "access", "exp": NOW_S + 10, "user_id": 7});
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = base.clone();
        claims[name] = value;
        claims
    };
    let cases = [
        (base.clone(), Ok("7")),
        (with("user_id", "8b1f6a0e-3c1d-4f0a-9a55-0d7c3e0e9a11".into()), Ok("8b1f6a0e-3c1d-4f0a-9a55-0d7c3e0e9a11")),
        (with("user_id", true.into()), Err(TokenError::NoUser)),
        (with("user_id", serde_json::Value::Null), Err(TokenError::NoUser)),
        (with("user_id", 1.5.into()), Err(TokenError::NoUser)),
        (with("user_id", serde_json::json!(["7"])), Err(TokenError::NoUser)),
        (with("user_id", "".into()), Err(TokenError::NoUser)),
        (with("user_id", "a\nb".into()), Err(TokenError::NoUser)),
        (with("exp", "soon".into()), Err(TokenError::Invalid)),
        (with("exp", true.into()), Err(TokenError::Invalid)),
        (with("exp", (NOW_S - 5).into()), Err(TokenError::Expired)),
        (with("exp", (NOW_S - 3).into()), Ok("7")),
        (with("nbf", (NOW_S + 4).into()), Ok("7")),
        (with("nbf", (NOW_S + 5).into()), Err(TokenError::Invalid)),
        (with("iat", (NOW_S + 5).into()), Err(TokenError::Invalid)),
        (with("token_type", 1.into()), Err(TokenError::WrongType)),
    ];
    let verifier = hs256("k", Rules { leeway_s: 4, ..rules() });
    for (claims, want) in cases {
        let token = sign(Algorithm::HS256, b"k", &claims).expect("signs");
        let got = verifier.verify(&token, NOW_S).await.map(|c| c.user);
        assert_eq!(got.as_deref().map_err(|e| *e), want, "{claims}");
    }
}

#[tokio::test]
async fn what_is_no_token_is_invalid() {
    let verifier = hs256("k", rules());
    let good = sign(Algorithm::HS256, b"k", &serde_json::json!({"exp": 1})).expect("signs");
    let crit = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","crit":["b64"]}"#);
    let long = format!("{good}{}", "A".repeat(TOKEN_BYTES_MAX));
    let cases = ["", ".", "..", "a.b", "a.b.c.d", "é.é.é", &good.replace('.', " "), &format!("{good}="), &long, &crit];
    for token in cases {
        assert_eq!(verifier.verify(token, NOW_S).await.map(|c| c.user), Err(TokenError::Invalid), "{token:.40}");
    }
}

#[test]
fn a_key_must_fit_its_algorithm() {
    let rsa = include_str!("../../../tests/fixtures/jwt/rs256_public.pem");
    let private = include_str!("../../../tests/fixtures/jwt/rs256_private.pem");
    assert_eq!(Key::pem(Algorithm::ES256, rsa).map(|_| ()), Err(KeyError::Kind(Algorithm::ES256)));
    assert_eq!(Key::pem(Algorithm::RS256, private).map(|_| ()), Err(KeyError::Pem));
    assert_eq!(
        Key::pem(Algorithm::RS256, "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----").map(|_| ()),
        Err(KeyError::Pem)
    );
    assert_eq!(Key::secret(Algorithm::RS256, b"x").map(|_| ()), Err(KeyError::Kind(Algorithm::RS256)));
    assert!(sign(Algorithm::ES256, b"x", &serde_json::Value::Null).is_err());
}
