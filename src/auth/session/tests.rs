use serde_json::Value;

use super::super::config::Secrets;
use super::*;

const SALT: &str = "django.contrib.sessions.SessionStore";
const MODEL_BACKEND: &str = "django.contrib.auth.backends.ModelBackend";

/// Everything but the database: the row's date and the user's state are the test's to judge.
#[test]
fn every_sample_of_four_djangos_is_decoded_as_by_itself() {
    let files = [
        (include_str!("../../../tests/fixtures/django_sessions/sessions_django_2.2.28.json"), 12),
        (include_str!("../../../tests/fixtures/django_sessions/sessions_django_3.2.25.json"), 12),
        (include_str!("../../../tests/fixtures/django_sessions/sessions_django_4.2.30.json"), 14),
        (include_str!("../../../tests/fixtures/django_sessions/sessions_django_5.2_postgres.json"), 14),
    ];
    for (text, count) in files {
        let file: Value = serde_json::from_str(text).expect("JSON");
        let text = |name: &str| file[name].as_str().expect("a text");
        let samples = file["samples"].as_array().expect("samples");
        assert_eq!(samples.len(), count, "Django {}", text("django"));
        for sample in samples {
            let name = sample["name"].as_str().expect("a name");
            let keys = match name {
                "signed_with_rotated_key_fallback" => vec![text("secret_key"), text("old_secret_key")],
                _ => vec![text("secret_key")],
            };
            let secrets = Secrets::of(&keys);
            let data = sample["django_session"]["session_data"].as_str().expect("data");
            let content = decode(data, SALT, &secrets);
            let expected = &sample["decode_result"];
            // Django makes an empty session of what it cannot verify.
            assert_eq!(Value::Object(content.clone().unwrap_or_default()), *expected, "{name}");

            let user = &sample["auth_user"];
            let accepted = content.as_ref().and_then(login).is_some_and(|login| {
                login.backend == MODEL_BACKEND
                    && user["is_active"] == true
                    && matches_password(&login.hash, user["password"].as_str().unwrap_or_default(), &secrets)
            });
            // The row's date is looked at by the query, and the user's row by another.
            let by_query = ["expired", "deleted_user"].contains(&name);
            assert_eq!(accepted && !by_query, !sample["request_user"]["id"].is_null(), "{name} of {}", text("django"));
        }
    }
}

#[test]
fn what_is_no_session_is_nobody() {
    let secrets = Secrets::of(&["k"]);
    for data in ["", ":", "::", "a:b:c", ".a:b:c", "\u{0}", "é:é:é", "YTpi"] {
        assert_eq!(decode(data, SALT, &secrets), None, "{data:?}");
    }
}

#[test]
fn a_compressed_session_is_inflated_within_a_bound() {
    let huge = miniz_oxide::deflate::compress_to_vec_zlib(&vec![b' '; 8 << 20], 9);
    assert!(miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(&huge, 1 << 20).is_err());
}
