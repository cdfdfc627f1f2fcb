//! What is written down is what the code does.

use std::collections::{BTreeMap, BTreeSet};

use rowcast::http::ProblemCode;
use rowcast::hub::close;
use rowcast::protocol::{Code, native};
use serde_json::Value;

const OPENAPI: &str = include_str!("../../../openapi/openapi.yaml");
const ASYNCAPI: &str = include_str!("../../../openapi/asyncapi.yaml");
const PROTOCOL: &str = include_str!("../../../docs/PROTOCOL.md");
const ERRORS: &str = include_str!("../../../docs/ERRORS.md");

#[test]
fn openapi_yaml_is_what_the_code_says() {
    assert!(
        OPENAPI == rowcast::http::openapi_yaml(),
        "openapi/openapi.yaml is old: write it anew with `rowcast openapi > openapi/openapi.yaml`"
    );
}

/// The first words in backticks of the table rows of a section.
fn listed(section: &str) -> Vec<&str> {
    let section = ERRORS.split("\n## ").find(|s| s.starts_with(section)).expect("a section");
    section.lines().filter_map(|l| l.strip_prefix("| `")?.split('`').next()).collect()
}

#[test]
fn errors_md_lists_every_code_once() {
    let frames: Vec<&str> = Code::ALL.iter().map(|c| c.as_str()).collect();
    assert_eq!(listed("In frames"), frames);
    let problems: Vec<&str> = ProblemCode::ALL.iter().map(|c| c.as_str()).collect();
    assert_eq!(listed("Over HTTP"), problems);
    for code in ProblemCode::ALL {
        let row = format!("| `{}` | {} |", code.as_str(), code.status().as_u16());
        assert!(ERRORS.contains(&row), "{row}");
    }
}

#[test]
fn asyncapi_has_every_frame_and_every_code() {
    let constants: BTreeSet<&str> =
        ASYNCAPI.lines().filter_map(|l| l.split("const: ").nth(1)).map(|c| c.trim_end_matches(" }")).collect();
    let types = native::CLIENT_TYPES.iter().chain(&native::SERVER_TYPES).copied();
    assert_eq!(constants, types.collect());
    let codes = ASYNCAPI.split("enum:\n").nth(1).expect("the enum of codes");
    let codes: Vec<&str> = codes.lines().filter_map(|l| l.trim().strip_prefix("- ")).collect();
    assert_eq!(codes, Code::ALL.iter().map(|c| c.as_str()).collect::<Vec<_>>());
}

/// Each golden frame of the rates' endpoints is one of those that asyncapi.yaml describes, with all that it requires.
#[test]
fn asyncapi_has_the_frames_of_the_rates() {
    let mut described: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in ASYNCAPI.split("type: { enum: [").skip(1) {
        let kind = part.split(']').next().expect("closed");
        let before = &ASYNCAPI[..part.as_ptr() as usize - ASYNCAPI.as_ptr() as usize];
        let required = before.rsplit("required: [").next().expect("required").split(']').next().expect("closed");
        described.entry(kind.to_owned()).or_default().push(required.to_owned());
    }
    for dialect in ["000", "002"] {
        let dir = format!("{}/tests/fixtures/wire/{dialect}", env!("CARGO_MANIFEST_DIR"));
        for file in std::fs::read_dir(&dir).expect("the golden files") {
            let text = std::fs::read_to_string(file.expect("readable").path()).expect("text");
            let Ok(frame) = serde_json::from_str::<Value>(&text) else { continue };
            let Some(kind) = frame["type"].as_str() else { continue };
            let members: Vec<&str> = frame.as_object().expect("an object").keys().map(String::as_str).collect();
            let known = described.get(kind).unwrap_or_else(|| panic!("{kind} is not described"));
            let is =
                |required: &String| required.split(", ").collect::<BTreeSet<_>>() == members.iter().copied().collect();
            assert!(known.iter().any(is), "{text} is none of {known:?}");
        }
    }
}

#[test]
fn protocol_md_has_every_close_code_and_its_advice() {
    let mut told = BTreeMap::new();
    for row in PROTOCOL.lines().filter(|l| l.starts_with("| ") && l.as_bytes()[2].is_ascii_digit()) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        for code in cells[1].split(", ") {
            told.insert(code.parse::<u16>().expect("a code"), !cells[3].starts_with("no"));
        }
    }
    for (code, reconnect) in close::ALL {
        let by_itself = told.remove(&code).unwrap_or_else(|| panic!("{code} is not told"));
        // 4401: with new credentials only, which is not by itself.
        assert_eq!(by_itself, reconnect || code == close::UNAUTHORIZED, "{code}");
    }
    assert!(told.is_empty(), "{told:?}");
}

/// Every line of the transcripts: what the client says is understood (or refused as shown), and what the server says has
/// the members that asyncapi.yaml names, in the order in which the code writes them.
#[test]
fn transcripts_in_protocol_md_are_real() {
    let mut seen = BTreeSet::new();
    let mut refused = 0;
    for line in PROTOCOL.lines() {
        if let Some(text) = line.strip_prefix("C: ") {
            refused += usize::from(native::decode(text, 100, 255).is_err());
        }
        let Some(text) = line.strip_prefix("S: ").or(line.strip_prefix("data: ")) else { continue };
        let frame: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let kind = frame["type"].as_str().expect("a type").to_owned();
        assert!(text.starts_with(&format!("{{\"type\":\"{kind}\"")), "{text}");
        let members: Vec<String> = frame.as_object().expect("an object").keys().cloned().collect();
        let (required, all) = members_of(&kind);
        assert!(required.iter().all(|m| members.contains(m)), "{text} lacks one of {required:?}");
        assert!(members.iter().all(|m| all.contains(m)), "{text} has more than {all:?}");
        if let Some(cursor) = frame["cursor"].as_str() {
            cursor.parse::<rowcast::domain::Cursor>().unwrap_or_else(|_| panic!("{cursor}"));
        }
        if kind == "reset" {
            let code = Code::ALL.iter().find(|c| c.as_str() == frame["code"]).expect("a code");
            assert_eq!(frame["message"], code.message());
        }
        if kind == "error" {
            let refusal = native::decode(r#"{"type":"subscribe","channel":""}"#, 100, 255).expect_err("empty");
            assert_eq!(
                (refusal.code.as_str(), &*refusal.message),
                ("bad_channel", frame["message"].as_str().expect("text"))
            );
            assert_eq!(refusal.channel.as_deref(), frame["channel"].as_str());
        }
        seen.insert(kind);
    }
    assert_eq!(refused, 1, "one transcript shows a refusal");
    assert_eq!(seen, native::SERVER_TYPES.iter().map(|t| (*t).to_owned()).collect());
}

/// `required` and `properties` of a message in asyncapi.yaml, by its layout.
fn members_of(kind: &str) -> (Vec<String>, Vec<String>) {
    let message = ASYNCAPI.split(&format!("\n    {kind}:\n      title:")).nth(1).expect(kind);
    let end = message.find("\n    }").or(message.find("\n\n")).unwrap_or(message.len());
    let message = message[..end].split("\n      title:").next().expect("its own part");
    let required = message.split("required: [").nth(1).expect("required").split(']').next().expect("closed");
    let properties = message.split("\n        properties:\n").nth(1).expect("properties");
    let property = |l: &str| {
        let name = l.strip_prefix("          ")?;
        (!name.starts_with(' ')).then(|| name.split(':').next().expect("a name").to_owned())
    };
    let all = properties.lines().take_while(|l| l.starts_with("          ")).filter_map(property).collect();
    (required.split(", ").map(str::to_owned).collect(), all)
}
