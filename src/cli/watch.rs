use clap::{ArgAction, Args};
use serde_json::json;

use super::Failure;
use super::globals::Globals;
use super::out::{Out, Style};
use crate::app::Watch as Route;

/// Route a table's changes to a channel
///
/// The same as `select rowcast.watch(…)` in SQL; repeating it changes nothing, or replaces the route of the same
/// table, channel and event.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: rowcast watch orders 'orders:{id}' --columns id,status --when 'new.status <> old.status'"
)]
pub struct Watch {
    /// The table, as SQL names it: orders, shop.orders, '"Mixed Case"'
    table: String,
    /// The channel, with columns in braces: 'orders:{id}'
    channel: String,
    /// The event's name; without it insert, update, delete or truncate
    #[arg(long)]
    event: Option<String>,
    /// Only these columns travel; others never enter the log
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,…")]
    columns: Option<Vec<String>>,
    /// An SQL condition over new and old: 'new.grade is distinct from old.grade'
    #[arg(long, value_name = "SQL")]
    when: Option<String>,
    /// A query that finds the channel's keys: 'select portfolio_id from investment where symbol = {symbol}'
    #[arg(long, value_name = "SQL")]
    keys: Option<String>,
    /// Only these operations
    #[arg(long, value_delimiter = ',', value_name = "OPERATION,…", value_parser = ["insert", "update", "delete", "truncate"])]
    operations: Option<Vec<String>>,
    /// Capture by statement: cheaper for plain tables that are written in bulk
    #[arg(long, conflicts_with = "no_bulk")]
    bulk: bool,
    /// Capture by row: right in every case, and the default
    #[arg(long)]
    no_bulk: bool,
    /// Do not ring (for PREPARE TRANSACTION): its events wait for the next ring or safety poll
    #[arg(long, action = ArgAction::SetTrue)]
    no_bell: bool,
}

impl Watch {
    pub fn run(self, globals: &Globals, out: &mut Out) -> Result<(), Failure> {
        let bulk = match (self.bulk, self.no_bulk) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            // As the table has it.
            _ => None,
        };
        let route = Route {
            table: self.table,
            channel: self.channel,
            event: self.event,
            columns: self.columns,
            when: self.when,
            keys: self.keys,
            operations: self.operations,
            bulk,
            bell: self.no_bell.then_some(false),
        };
        let opened = globals.with_store(async |store| {
            store.watch(&route).await?;
            Ok(store.is_opened(&route.channel).await?)
        })?;
        if out.terminal() {
            let (table, channel) = (out.paint(Style::Bold, &route.table), out.paint(Style::Cyan, &route.channel));
            out.line(&format!("watching {table} on {channel}"))?;
            if !opened && !globals.config()?.connection.open {
                let hint = format!(
                    "no rule says who may listen; everybody: select rowcast.define_access('{}', everyone => true); others: docs/AUTH.md",
                    route.channel.replace('\'', "''")
                );
                return out.line(&out.paint(Style::Dim, &hint));
            }
            return Ok(());
        }
        out.json(&json!({"watching": route.table, "channel": route.channel}))
    }
}
