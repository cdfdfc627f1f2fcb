//! What the providers' guards and last answers were in the process before, or in another instance: read before each round, so that a
//! restart or a change of the leader neither asks a provider again that must not be asked, nor goes without its last answer.

use chrono::{DateTime, Utc};

use super::RatesError;
use super::panel::Panel;
use super::quote::Quoted;
use crate::provider::{Circuit, Held, Memory, Why};
use crate::store::{LastQuote, ProviderMemory, Store};

impl Panel {
    /// Takes over what holds the providers, and their last answers.
    pub async fn remember(&self, store: &Store, now: DateTime<Utc>) -> Result<(), RatesError> {
        for memory in store.provider_memory().await? {
            let Some(seat) = self.seat(&memory.provider) else { continue };
            if let Some(held) = guard_memory(&memory) {
                seat.provider().remember(held, now);
            }
            let Some(at) = memory.answered_at_us.and_then(DateTime::from_timestamp_micros) else { continue };
            // Whether it may be asked or not: it can fail.
            if !seat.is_behind(at) {
                continue;
            }
            let pairs = self.quotable(seat.provider().kind());
            let quotes = store.last_quotes(&memory.provider, &pairs, now.timestamp_micros()).await?;
            let quotes: Vec<Quoted> = quotes.iter().filter_map(quoted).collect();
            tracing::debug!(provider = memory.provider, quotes = quotes.len(), "took over another process's answer");
            seat.recall(at, quotes);
        }
        Ok(())
    }
}

fn guard_memory(m: &ProviderMemory) -> Option<Memory> {
    let circuit = match m.breaker.as_str() {
        "open" => Circuit::Open,
        "half_open" => Circuit::HalfOpen,
        _ => Circuit::Closed,
    };
    let why = Why::parse(m.why.as_deref()?)?;
    let since = DateTime::from_timestamp_micros(m.updated_at_us)?;
    let held = Held::new(why, since, m.held_until_us.and_then(DateTime::from_timestamp_micros));
    Some(Memory { circuit, held, openings: u32::try_from(m.openings).ok()? })
}

fn quoted(q: &LastQuote) -> Option<Quoted> {
    Some(Quoted {
        base: q.base.clone(),
        quote: q.quote.clone(),
        rate: q.rate.parse().ok()?,
        as_of: DateTime::from_timestamp_micros(q.as_of_us)?,
    })
}
