//! Asks the database, in the order in which one thing needs the one before.

use crate::app::{self, Config, MigrationSet, Store};

use super::{Failure, Finding, access, judge, rates};

pub async fn all(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    match reached(config).await {
        Ok(store) => {
            database(config, &store, &mut found).await;
            store.close().await;
        }
        Err(failure) => {
            let (message, hint) = failure.said();
            let hint = hint.unwrap_or_else(|| "Does `psql \"$DATABASE_URL\"` connect?".into());
            found.push(Finding::fail("database", message, hint));
        }
    }
    found
}

async fn reached(config: &Config) -> Result<Store, Failure> {
    let store = app::store(config)?;
    store.reach().await?;
    Ok(store)
}

async fn database(config: &Config, store: &Store, found: &mut Vec<Finding>) {
    let facts = match store.server_facts().await {
        Ok(facts) => facts,
        Err(e) => {
            let hint = "Is Postgres running, and does `psql \"$DATABASE_URL\"` connect?";
            return found.push(Finding::fail("database", e.to_string(), hint));
        }
    };
    match store.round_trip().await {
        Ok(ping) => found.extend(judge::server(&facts, ping)),
        Err(e) => return found.push(Finding::fail("database", e.to_string(), "It went away just now: try again.")),
    }
    if judge::hides_the_rest(&facts) {
        return;
    }
    let (pending, total) = match store.pending(MigrationSet::Core).await {
        Ok(pending) => (pending, store.migrations_total(MigrationSet::Core)),
        Err(e) => return found.push(Finding::fail("schema", e.to_string(), "Run `rowcast migrate`.")),
    };
    found.push(judge::schema(&facts, &pending, total));
    if facts.schema_owner.is_none() || !pending.is_empty() {
        return;
    }
    match store.spine_facts().await {
        Ok(spine) => found.extend(judge::spine(&spine, &facts)),
        Err(e) => found.push(Finding::fail("log", e.to_string(), "Run `rowcast migrate`.")),
    }
    match store.table_facts().await {
        Ok(tables) if tables.is_empty() => {
            found.push(Finding::warn("tables", "none is watched", "Watch one: `rowcast watch orders 'orders:{id}'`."))
        }
        Ok(tables) => found.extend(tables.iter().map(judge::table)),
        Err(e) => found.push(Finding::fail("tables", e.to_string(), "Run `rowcast migrate`.")),
    }
    match store.access_facts().await {
        Ok(facts) => {
            let endpoints = config.all_endpoints().unwrap_or_default();
            let shown: Vec<String> = endpoints.into_values().flat_map(|endpoint| endpoint.channels).collect();
            found.extend(access::access(&facts, config.connection.open, &shown));
        }
        Err(e) => found.push(Finding::fail("access", e.to_string(), "Run `rowcast migrate`.")),
    }
    match store.fx_facts().await {
        Ok(facts) => found.extend([rates::jobs(&facts), rates::rates(&facts)].concat()),
        Err(e) => found.push(Finding::fail("jobs", e.to_string(), "Run `rowcast migrate`.")),
    }
    found.push(match app::round_trip(config).await {
        Ok(took) => Finding::ok("round trip", format!("NOTIFY came back in {:.1} ms", took.as_secs_f64() * 1000.0)),
        Err(e) => Finding::fail(
            "round trip",
            e,
            "LISTEN needs a session: behind a transaction pooler, set LISTEN_DATABASE_URL to the server itself.",
        ),
    });
    found.push(Finding::ok(
        "retention",
        format!(
            "capture goes on for {} s without a rowcast, up to {} MiB",
            store.config().log_age_max_s,
            store.config().log_bytes_max >> 20
        ),
    ));
}
