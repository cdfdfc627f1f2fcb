//! The examples, each run as its reader would: built with npm in a directory of its own and looked at in headless
//! Chromium, or with Python and what its requirements.txt names.

mod files;
mod javascript;
mod python;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use tokio::process::Command;

use crate::kit::{Binary, Running, TestDb, http_client};

/// A registry on a slow line, a busy machine.
const INSTALLED_WITHIN: Duration = Duration::from_secs(240);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// Whose pages come from another port of this machine.
async fn demo(db: &TestDb<'_>) -> Running {
    let demo = Binary::new(&["demo", "--listen", "127.0.0.1:0"]).env("DATABASE_URL", &db.url());
    demo.env("ROWCAST_AUTH_ORIGINS", "127.0.0.1").start().ready().await
}

async fn token(demo: &Running, user: &str) -> String {
    let answer = http_client().get(demo.http(&format!("/demo/token?user={user}"))).send().await.expect("an answer");
    let minted: serde_json::Value = answer.json().await.expect("JSON");
    minted["token"].as_str().expect("a token").to_owned()
}

/// Err: what went wrong, in the program's own words.
async fn run(command: &mut Command) -> Result<Output, String> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let done = tokio::time::timeout(INSTALLED_WITHIN, command.kill_on_drop(true).output()).await;
    let output = done.map_err(|_| format!("{name} took too long"))?.map_err(|e| format!("{name}: {e}"))?;
    match output.status.success() {
        true => Ok(output),
        false => Err(format!("{name}: {}{}", text(&output.stdout), text(&output.stderr))),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// None where a tool or its registry is missing, which a CI run does not forgive.
fn or_skip<T>(what: &str, found: &Result<T, String>) -> Option<T>
where
    T: Clone,
{
    match found {
        Ok(found) => Some(found.clone()),
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "CI needs {what}: {why}");
            eprintln!("SKIPPED: no {what}: {why}");
            None
        }
    }
}
