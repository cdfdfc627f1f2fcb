//! Runs the targets without cargo-fuzz: seeds, changed a little or a lot, for a while. `FUZZ_MS` says how long for
//! each target (default 300); `FUZZ_SEED` repeats a run.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::TARGETS;

/// splitmix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let texts: &[&str] = match target {
        "websocket" => &["\x03\u{1}", "\x01", ""],
        "protocol" => &[
            r#"{"type":"subscribe","channel":"orders:1","cursor":"AQAAAAAAAAABCgAAAAA","id":[1,{"a":"b"}]}"#,
            r#"{"type":"subscribe","channels":["a","b\u0000","😀"]}"#,
            r#"{"type":"unsubscribe","channel":"a"}"#,
            r#"{"type":"ping","id":"\ud800"}"#,
            r#"{"type":"auth","token":"x.y.z"}"#,
        ],
        "cursor" => &["AQAAAAAAAAABCgAAAAA", "AQAAAAAAAAABCgAAAQEAADk", "AQAAAAAAAAABCwAAAAA"],
        "pattern" => &["orders:{id}\norders:1", "{a}:{b}:x\n1:2:x", "a{b}c{d}\nabcd", "{{x}}\nx", "rates\nrates"],
        "database_url" => &[
            "postgres://u:p%20word12345@[::1]:5432,h2/db?sslmode=verify-full&sslrootcert=system&connect_timeout=3",
            "postgresql:///db?host=/var/run/postgresql&user=x&password=secret12345&target_session_attrs=read-write",
            "host=localhost port=5432 dbname='a b' password='it\\'s long enough'",
        ],
        "forwarded" => &["203.0.113.1, 10.0.0.1", "for=\"[2001:db8::1]:80\";by=x, for=10.0.0.2", "[::1]:80,,unknown"],
        "token" => &[
            r#"{"token_type":"access","user_id":42,"exp":4102444800,"iat":1,"nbf":1.5}"#,
            r#"{"token_type":"access","user_id":"é","exp":1e300,"aud":["a"],"iss":"i"}"#,
            "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyX2lkIjoiMSJ9.AAAA",
        ],
        "session" => &[
            r#"{"_auth_user_id":"42","_auth_user_backend":"b","_auth_user_hash":"0123456789abcdef0123456789abcdef01234567"}"#,
            r#"{"_auth_user_id":7}"#,
        ],
        _ => &[],
    };
    let mut seeds: Vec<Vec<u8>> = texts.iter().map(|t| t.as_bytes().to_vec()).collect();
    if target == "websocket" {
        for first in [0x81, 0x01, 0x80, 0x00, 0x82, 0x89, 0x8a, 0x88, 0xc1] {
            for payload in [&b""[..], b"hello", &[0xff; 3], &[b'x'; 126], &[b'y'; 1100]] {
                let mut seed = vec![3];
                seed.extend(crate::hub::fuzzing::masked(first, payload));
                seed.extend(crate::hub::fuzzing::masked(0x81, b"next"));
                seeds.push(seed);
            }
        }
    }
    match target {
        "token" => seeds.push(super::credentials::token_of_ours().into_bytes()),
        "session" => seeds.extend(super::credentials::SESSIONS.map(|data| data.into())),
        _ => {}
    }
    if target == "provider" {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/providers");
        for file in fs::read_dir(folder).expect("our fixtures") {
            let body = fs::read(file.expect("readable").path()).expect("readable");
            seeds.extend((0..16).map(|choice| [&[choice], &*body].concat()));
        }
    }
    seeds
}

fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut data = match random.below(8) {
        0 => (0..random.below(200)).map(|_| random.next() as u8).collect(),
        _ => seeds[random.below(seeds.len())].clone(),
    };
    for _ in 0..random.below(6) {
        let at = random.below(data.len() + 1);
        match random.below(7) {
            0 if at < data.len() => data[at] ^= 1 << random.below(8),
            1 if at < data.len() => data[at] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'{', b':'][random.below(8)],
            2 => data.insert(at, random.next() as u8),
            3 => data.truncate(at),
            4 => drop(data.drain(at..(at + random.below(8)).min(data.len()))),
            5 => {
                let piece = data[at..(at + random.below(40)).min(data.len())].to_vec();
                let to = random.below(data.len() + 1);
                data.splice(to..to, piece);
            }
            _ => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                data.truncate(at);
                data.extend_from_slice(&other[from..]);
            }
        }
    }
    data
}

#[test]
fn no_parser_breaks_on_what_comes_from_outside() {
    #[expect(clippy::disallowed_methods, reason = "how long, and what to repeat, is said from outside")]
    let setting = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let each = Duration::from_millis(setting("FUZZ_MS").unwrap_or(300));
    let seed = setting("FUZZ_SEED").unwrap_or(1);
    for (name, target) in TARGETS {
        let (seeds, mut random) = (seeds(name), Random(seed));
        let (began, mut runs) = (Instant::now(), 0u64);
        seeds.iter().for_each(|seed| target(seed));
        while began.elapsed() < each {
            for _ in 0..64 {
                let data = mutated(&seeds, &mut random);
                let fine = std::panic::catch_unwind(|| target(&data)).is_ok();
                assert!(fine, "{name} breaks on {:?} (FUZZ_SEED={seed})", data.escape_ascii().to_string());
                runs += 1;
            }
        }
        println!("{name}: {runs} executions in {:.1} s", began.elapsed().as_secs_f64());
    }
}

#[test]
fn cargo_fuzz_has_the_same_targets() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("fuzz/Cargo.toml");
    let files = fs::read_dir(folder.join("fuzz_targets")).expect("a folder").count();
    assert_eq!(files, TARGETS.len());
    for (name, _) in TARGETS {
        let source = fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).expect(name);
        assert!(source.contains(&format!("rowcast::fuzzing::{name}(data)")), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}
