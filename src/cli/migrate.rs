use clap::Args;
use serde_json::json;

use super::Failure;
use super::globals::Globals;
use super::out::{Out, Style};
use crate::app::{Applied, MigrationSet, Store};

/// Install or update schema rowcast in the database
///
/// Needs a role that may create a schema in it, no superuser. Repeating it changes nothing.
#[derive(Debug, Args)]
pub struct Migrate {}

impl Migrate {
    pub fn run(self, globals: &Globals, out: &mut Out) -> Result<(), Failure> {
        let applied = globals.with_store(migrate)?;
        if !out.terminal() {
            let now: Vec<_> = applied.now.iter().map(|(v, d)| json!({"version": v, "description": d})).collect();
            return out.json(&json!({"applied": now, "total": applied.total}));
        }
        for (version, description) in &applied.now {
            out.line(&format!("{} {version:04} {description}", out.paint(Style::Green, "applied")))?;
        }
        let state = if applied.now.is_empty() { "was up to date" } else { "is up to date" };
        out.line(&format!("schema rowcast {state}: {} migrations", applied.total))?;
        Ok(())
    }
}

/// Brings the schema up to date, and says which right was missing.
pub async fn migrate(store: &Store) -> Result<Applied, Failure> {
    store.migrate(MigrationSet::Core).await.map_err(|e| {
        Failure::from(e).or_hint(
            "The role needs: `grant create on database … to …` to make schema rowcast, and to own it to update it. \
             `rowcast doctor` shows what is missing.",
        )
    })
}
