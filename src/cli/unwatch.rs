use clap::Args;
use serde_json::json;

use super::Failure;
use super::globals::Globals;
use super::out::Out;

/// Take a table's route back, or all of its routes; the last one takes the triggers along
#[derive(Debug, Args)]
pub struct Unwatch {
    /// The table, as SQL names it
    table: String,
    /// The channel as it was given to watch; without it, every channel
    channel: Option<String>,
}

impl Unwatch {
    pub fn run(self, globals: &Globals, out: &mut Out) -> Result<(), Failure> {
        let ended =
            globals.with_store(async |store| Ok(store.unwatch(&self.table, self.channel.as_deref()).await?))?;
        if !out.terminal() {
            return out.json(&json!({"unwatched": self.table, "channel": self.channel, "routes": ended}));
        }
        let from = self.channel.map_or("any channel".into(), |c| format!("'{c}'"));
        match ended {
            0 => out.line(&format!("{} was not watched on {from}", self.table)),
            n => out.line(&format!("no longer watching {} on {from} ({n} routes)", self.table)),
        }
    }
}
