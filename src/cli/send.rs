use std::io::Read;

use clap::Args;
use serde_json::json;
use serde_json::value::RawValue;

use super::Failure;
use super::globals::Globals;
use super::out::Out;

/// Send a message of your own, through Postgres
///
/// The same as `select rowcast.send(…)` in SQL, where it is atomic with your transaction.
#[derive(Debug, Args)]
#[command(after_help = "Example: rowcast send dashboard notice '{\"text\": \"back in five minutes\"}'")]
pub struct Send {
    /// Such as orders:42
    channel: String,
    /// What happened, in a word of yours
    event: String,
    /// JSON, or - to read it from stdin
    #[arg(default_value = "null", value_parser = payload)]
    payload: String,
}

impl Send {
    pub fn run(self, globals: &Globals, out: &mut Out) -> Result<(), Failure> {
        let payload = if self.payload == "-" { from_stdin()? } else { self.payload };
        globals.with_store(async |store| Ok(store.send(&self.channel, &self.event, &payload).await?))?;
        if out.terminal() {
            return out.line(&format!("sent '{}' to '{}'", self.event, self.channel));
        }
        out.json(&json!({"sent": self.event, "channel": self.channel}))
    }
}

fn payload(text: &str) -> Result<String, String> {
    if text == "-" || serde_json::from_str::<&RawValue>(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err("not JSON (a string needs its own quotes: '\"text\"')".into())
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|e| Failure::new(format!("cannot read stdin: {e}")))?;
    match serde_json::from_str::<&RawValue>(&text) {
        Ok(_) => Ok(text),
        Err(e) => Err(Failure::usage(format!("stdin is not JSON: {e}"))),
    }
}
