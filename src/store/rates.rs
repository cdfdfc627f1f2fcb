//! Schema `rowcast_fx`. Numbers travel as text: no decimal type is shared with Postgres' client.

use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::domain::Snapshot;

/// What a refresh must know of those before, as of one snapshot.
#[derive(Clone, Debug)]
pub struct RatesState {
    /// Number of the last refresh.
    pub cycle: i64,
    pub at_us: Option<i64>,
    pub marks: Vec<MarkRow>,
    pub rates: Vec<RateRow>,
}

/// A row of `rate_mark`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct MarkRow {
    /// `mid` or `executable`.
    pub kind: String,
    pub base: String,
    pub quote: String,
    pub value: Option<String>,
    pub good_at_us: Option<i64>,
    pub as_of_us: Option<i64>,
    pub confidence: String,
    pub sources: Vec<String>,
    pub held: Option<String>,
    pub held_at_us: Option<i64>,
}

/// Of a row of `rates`, what decides whether it is written again.
#[derive(Clone, Debug, Deserialize)]
pub struct RateRow {
    pub source: String,
    pub destination: String,
    pub rate: String,
    pub confidence: String,
    pub executed_by: Option<String>,
    pub cached: bool,
    pub expired: bool,
    pub warnings: Vec<String>,
    /// Changed by hand: refreshes leave it alone, or (false) may set it again. None: it was not.
    pub held: Option<bool>,
    pub updated_at_us: i64,
}

/// A row of `rates` to be.
#[derive(Clone, Debug, Serialize)]
pub struct NewRate {
    pub source: String,
    pub destination: String,
    pub rate: String,
    pub inverse: String,
    pub mid: Option<String>,
    pub confidence: &'static str,
    pub sources: Vec<String>,
    pub executed_by: Option<String>,
    pub as_of_us: Option<i64>,
    pub cached: bool,
    pub expired: bool,
    pub warnings: Vec<String>,
}

/// A row of `rate_quote`.
#[derive(Clone, Debug, Serialize)]
pub struct NewQuote {
    pub provider: String,
    pub base: String,
    pub quote: String,
    pub rate: String,
    pub as_of_us: i64,
    pub fetched_at_us: i64,
    pub reason: Option<&'static str>,
    pub detail: Option<String>,
}

/// A row of `provider_state`.
#[derive(Clone, Debug, Serialize)]
pub struct ProviderRow {
    pub provider: String,
    pub outcome: &'static str,
    pub breaker: &'static str,
    pub why: Option<&'static str>,
    pub openings: u32,
    pub detail: Option<String>,
    pub held_until_us: Option<i64>,
    pub answered_at_us: Option<i64>,
    pub latency_ms: Option<u64>,
}

/// What a row of `provider_state` remembers for the next process.
#[derive(Clone, Debug)]
pub struct ProviderMemory {
    pub provider: String,
    pub breaker: String,
    pub why: Option<String>,
    pub openings: i32,
    pub held_until_us: Option<i64>,
    pub updated_at_us: i64,
    pub answered_at_us: Option<i64>,
}

/// A quote of a provider's last answer.
#[derive(Clone, Debug)]
pub struct LastQuote {
    pub base: String,
    pub quote: String,
    pub rate: String,
    pub as_of_us: i64,
}

/// All that one refresh writes.
#[derive(Clone, Debug, Default)]
pub struct Refresh {
    pub at_us: i64,
    pub rates: Vec<NewRate>,
    pub marks: Vec<MarkRow>,
    pub quotes: Vec<NewQuote>,
    pub providers: Vec<ProviderRow>,
    pub used: usize,
    pub rejected: usize,
    pub summary: String,
}

/// The published rates as of one snapshot: a page loads them and streams from exactly there.
#[derive(Clone, Debug)]
pub struct RatesRead {
    pub snapshot: Snapshot,
    pub rates: Vec<PublishedRate>,
}

/// A row of `rates`; its columns' comments say what each is.
#[derive(Clone, Debug)]
pub struct PublishedRate {
    pub source: String,
    pub destination: String,
    /// Units of the destination for 1 source.
    pub rate: String,
    /// Units of the source for 1 destination.
    pub inverse: String,
    pub previous: Option<String>,
    pub mid: Option<String>,
    pub confidence: String,
    pub sources: Vec<String>,
    pub executed_by: Option<String>,
    pub as_of_us: Option<i64>,
    pub updated_at_us: i64,
    pub cached: bool,
    /// Not to be quoted.
    pub expired: bool,
    pub warnings: Vec<String>,
}

/// A point of a pair's published series.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryPoint {
    pub at_us: i64,
    pub rate: String,
    pub confidence: String,
}

impl Store {
    pub async fn rates_state(&self) -> Result<RatesState, StoreError> {
        let r = sqlx::query_file!("sql/rates/load.sql").fetch_one(&self.pool).await?;
        Ok(RatesState { cycle: r.n, at_us: r.at_us, marks: rows(&r.marks)?, rates: rows(&r.rates)? })
    }

    /// Writes the refresh that follows `cycle`: its number, and how many rates were written. None, and nothing is written: there
    /// was another since `cycle` was read.
    pub async fn refresh_rates(&self, cycle: i64, refresh: &Refresh) -> Result<Option<(i64, i64)>, StoreError> {
        let done = sqlx::query_file!(
            "sql/rates/refresh.sql",
            cycle,
            refresh.at_us,
            json(&refresh.rates)?,
            json(&refresh.marks)?,
            json(&refresh.quotes)?,
            i32::try_from(refresh.used).unwrap_or(i32::MAX),
            i32::try_from(refresh.rejected).unwrap_or(i32::MAX),
            refresh.summary,
            json(&refresh.providers)?,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(done.cycle.map(|cycle| (cycle, done.written)))
    }

    pub async fn provider_memory(&self) -> Result<Vec<ProviderMemory>, StoreError> {
        Ok(sqlx::query_file_as!(ProviderMemory, "sql/rates/providers.sql").fetch_all(&self.pool).await?)
    }

    /// Of these pairs; a base of "" is whatever the provider quotes against.
    pub async fn last_quotes(
        &self,
        provider: &str,
        pairs: &[(String, String)],
        now_us: i64,
    ) -> Result<Vec<LastQuote>, StoreError> {
        let (bases, quotes): (Vec<String>, Vec<String>) = pairs.iter().cloned().unzip();
        let quotes = sqlx::query_file_as!(LastQuote, "sql/rates/last_quotes.sql", provider, &bases, &quotes, now_us);
        Ok(quotes.fetch_all(&self.pool).await?)
    }

    /// Partitions that come next are made, those past their time dropped. What it did, as JSON.
    pub async fn tend_rates(&self, quote_days: i32, history_days: i32, now_us: i64) -> Result<String, StoreError> {
        Ok(sqlx::query_file_scalar!("sql/rates/tend.sql", quote_days, history_days, now_us)
            .fetch_one(&self.pool)
            .await?)
    }

    /// Channels `rates`, `pair:{source_currency}_{destination_currency}` and `rates:refreshed`, where they are not yet.
    /// As the owner of schema `rowcast_fx`.
    pub async fn open_rate_channels(&self) -> Result<(), StoreError> {
        sqlx::query_file!("sql/rates/open_channels.sql").fetch_one(&self.pool).await?;
        Ok(())
    }

    /// The published rates, of one source or destination where they are given, in the order of their codes.
    pub async fn published_rates(
        &self,
        source: Option<&str>,
        destination: Option<&str>,
    ) -> Result<RatesRead, StoreError> {
        let rows = sqlx::query_file!("sql/rates/published.sql", source, destination).fetch_all(&self.pool).await?;
        let unexpected = || StoreError::Answer("a row of rowcast_fx.rates is not whole".into());
        let snapshot = rows.first().and_then(|r| r.snapshot.parse().ok()).ok_or_else(unexpected)?;
        let mut rates = Vec::new();
        for r in rows {
            let (Some(source), Some(destination)) = (r.source, r.destination) else { continue };
            rates.push(PublishedRate {
                source,
                destination,
                rate: r.rate.ok_or_else(unexpected)?,
                inverse: r.inverse.ok_or_else(unexpected)?,
                previous: r.previous,
                mid: r.mid,
                confidence: r.confidence.ok_or_else(unexpected)?,
                sources: r.sources.ok_or_else(unexpected)?,
                executed_by: r.executed_by,
                as_of_us: r.as_of_us,
                updated_at_us: r.updated_at_us.ok_or_else(unexpected)?,
                cached: r.cached.ok_or_else(unexpected)?,
                expired: r.expired.ok_or_else(unexpected)?,
                warnings: r.warnings.ok_or_else(unexpected)?,
            });
        }
        Ok(RatesRead { snapshot, rates })
    }

    /// The newest `limit` points of the published series since `from_us` (epoch µs), oldest first.
    pub async fn rate_history(
        &self,
        source: &str,
        destination: &str,
        from_us: i64,
        limit: i64,
    ) -> Result<Vec<HistoryPoint>, StoreError> {
        let rows = sqlx::query_file_as!(HistoryPoint, "sql/rates/history.sql", source, destination, from_us, limit);
        Ok(rows.fetch_all(&self.pool).await?)
    }
}

fn rows<T: for<'a> Deserialize<'a>>(json: &str) -> Result<Vec<T>, StoreError> {
    serde_json::from_str(json).map_err(|e| StoreError::Answer(e.to_string()))
}

fn json<T: Serialize>(rows: &[T]) -> Result<String, StoreError> {
    serde_json::to_string(rows).map_err(|e| StoreError::Answer(e.to_string()))
}
