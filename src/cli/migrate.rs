use clap::{Args, ValueEnum};
use serde_json::json;

use super::Failure;
use super::globals::Globals;
use super::out::{Out, Style};
use crate::app::{Applied, MigrationSet, Store};

/// Install or update schema rowcast in the database
///
/// Needs a role that may create a schema in it, no superuser. Repeating it changes nothing.
#[derive(Debug, Args)]
pub struct Migrate {
    /// More than the schema: the tables, channels and rules of the reference applications
    #[arg(long, value_enum, value_name = "WHAT")]
    with: Vec<Extra>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Extra {
    Reference,
}

impl Migrate {
    pub fn run(self, globals: &Globals, out: &mut Out) -> Result<(), Failure> {
        let wanted = self.with.contains(&Extra::Reference);
        let (core, reference) = globals.with_store(async |store| {
            let core = migrate(store).await?;
            let reference = if wanted { Some(migrate_reference(store).await?) } else { None };
            Ok((core, reference))
        })?;
        if !out.terminal() {
            let mut answer = json!({"applied": listed(&core), "total": core.total});
            if let Some(applied) = &reference {
                answer["reference"] = json!({"applied": listed(applied), "total": applied.total});
            }
            return out.json(&answer);
        }
        show(out, "rowcast", &core)?;
        if let Some(applied) = &reference {
            show(out, "rowcast_reference", applied)?;
        }
        Ok(())
    }
}

fn listed(applied: &Applied) -> serde_json::Value {
    applied.now.iter().map(|(v, d)| json!({"version": v, "description": d})).collect()
}

fn show(out: &mut Out, schema: &str, applied: &Applied) -> Result<(), Failure> {
    for (version, description) in &applied.now {
        out.line(&format!("{} {version:04} {description}", out.paint(Style::Green, "applied")))?;
    }
    let state = if applied.now.is_empty() { "was up to date" } else { "is up to date" };
    out.line(&format!("schema {schema} {state}: {} migrations", applied.total))
}

/// The reference applications' tables, after the schema itself. What it refuses says why, and changes nothing.
pub async fn migrate_reference(store: &Store) -> Result<Applied, Failure> {
    Ok(store.migrate(MigrationSet::Reference).await?)
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
