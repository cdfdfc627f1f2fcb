//! The built program, as its user meets it: what it prints, where, and its exit code.

mod bench;
mod doctor;
mod keys;
mod newcomer;
mod rates;
mod routes;
mod serving;
mod tail;

use std::process::Output;

use serde_json::Value;

use crate::kit::{Binary, TestDb};

/// The program with these arguments on this database.
async fn rowcast(db: &TestDb<'_>, args: &[&str]) -> Output {
    Binary::new(args).env("DATABASE_URL", &db.url()).output().await
}

/// An empty database, brought up to date by the program itself.
async fn migrated() -> TestDb<'static> {
    let db = TestDb::bare().await;
    ok(&rowcast(&db, &["migrate"]).await);
    db
}

/// Its stdout as JSON lines, having ended well and said nothing on stderr.
#[track_caller]
fn ok(output: &Output) -> Vec<Value> {
    let errors = text(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    assert_eq!(errors, "");
    json_lines(output)
}

/// Its stderr, having ended with this code and said nothing on stdout.
#[track_caller]
fn refused(output: &Output, code: i32) -> String {
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    assert_eq!(text(&output.stdout), "");
    for leak in ["panicked", "backtrace", "src/"] {
        assert!(!errors.contains(leak), "{errors}");
    }
    errors
}

fn json_lines(output: &Output) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"));
    text(&output.stdout).lines().map(parse).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the program writes UTF-8")
}
