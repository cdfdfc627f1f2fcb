//! `[endpoint.NAME]`: tables that are checked one by one, and that lie over the compiled-in ones of the same name.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Table, Value};

use crate::connection::endpoint;

/// The endpoints of the reference applications.
pub const REFERENCE: &str = include_str!("reference.toml");

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Endpoints {
    pub with: Vec<With>,
}

/// Compiled-in endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum With {
    Reference,
}

/// One table, known to be one of an endpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Table")]
pub struct EndpointTable(Table);

impl TryFrom<Table> for EndpointTable {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        read(&table).map(|_| Self(table))
    }
}

/// All endpoints: the compiled-in ones that are switched on, and over them, key by key, those of the configuration.
pub fn all(
    with: &[With],
    own: &BTreeMap<String, EndpointTable>,
) -> Result<BTreeMap<String, endpoint::Config>, (String, String)> {
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    for With::Reference in with {
        let Value::Table(compiled) = reference() else { continue };
        tables.extend(compiled.into_iter().filter_map(|(name, table)| Some((name, table.try_into().ok()?))));
    }
    for (name, EndpointTable(table)) in own {
        tables.entry(name.clone()).or_default().extend(table.clone());
    }
    tables.into_iter().map(|(name, table)| Ok((name.clone(), read(&table).map_err(|why| (name, why))?))).collect()
}

/// Lets the compiled-in endpoints turn clients away by close code, which a browser shows to its page.
pub fn reject_by_close(own: &mut BTreeMap<String, EndpointTable>) {
    let Value::Table(compiled) = reference() else { return };
    for name in compiled.into_iter().map(|(name, _)| name) {
        let EndpointTable(table) = own.entry(name).or_insert_with(|| EndpointTable(Table::new()));
        table.entry("reject").or_insert_with(|| "close".into());
    }
}

fn reference() -> Value {
    let mut file: Table = toml::from_str(REFERENCE).expect("a test reads it");
    file.remove("endpoint").expect("it has endpoints")
}

fn read(table: &Table) -> Result<endpoint::Config, String> {
    endpoint::Config::deserialize(table.clone()).map_err(|e| e.message().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_ones_own_lies_over_the_compiled_in_one() {
        let own: BTreeMap<String, EndpointTable> =
            toml::from_str("[portfolio]\ninterval_ms = 7\n[stock]\npath = \"/ws/stock/\"").expect("valid");
        let all = all(&[With::Reference], &own).expect("valid");
        assert_eq!((all["portfolio"].interval_ms, all["portfolio"].path.as_str()), (7, "/ws/portfolio/"));
        assert_eq!(all["stock"].path, "/ws/stock/");
        assert_eq!(super::all(&[], &own).expect("valid").len(), 2);
        assert_eq!(super::all(&[With::Reference], &BTreeMap::new()).expect("valid").len(), 7);
    }
}
