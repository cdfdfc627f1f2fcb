//! A row of `rowcast_fx.rates` as Postgres wrote it into the log: what the dialects of rates encode from.

use chrono::DateTime;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Numbers keep their text. Unknown columns are ignored.
#[derive(Deserialize)]
pub(super) struct RateRow<'a> {
    pub source_currency: String,
    pub destination_currency: String,
    /// Units of the destination for 1 source.
    #[serde(borrow)]
    pub rate: &'a RawValue,
    /// Units of the source for 1 destination.
    #[serde(borrow)]
    pub inverse: &'a RawValue,
    updated_at: String,
    pub confidence: String,
    pub sources: Vec<String>,
    pub executed_by: Option<String>,
    pub cached: bool,
    expired: bool,
    pub warnings: Vec<String>,
}

impl<'a> RateRow<'a> {
    /// None where there is no rate to quote: it has expired, or the row is of another table.
    pub fn parse(json: &'a [u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(json).ok().filter(Self::may_be_quoted)
    }

    /// Those of a snapshot that may be quoted, in the order of their codes.
    pub fn parse_all(json: &'a [u8]) -> Vec<Self> {
        let rows: Vec<&'a RawValue> = serde_json::from_slice(json).unwrap_or_default();
        let mut rows: Vec<Self> = rows.into_iter().filter_map(|r| Self::parse(r.get().as_bytes())).collect();
        rows.sort_by(|a, b| a.codes().cmp(&b.codes()));
        rows
    }

    /// As the channel `pair:{source_currency}_{destination_currency}` names it.
    pub fn key(&self) -> String {
        format!("{}_{}", self.source_currency, self.destination_currency)
    }

    pub fn updated_at_us(&self) -> i64 {
        DateTime::parse_from_rfc3339(&self.updated_at).map_or(0, |t| t.timestamp_micros())
    }

    fn codes(&self) -> (&str, &str) {
        (&self.source_currency, &self.destination_currency)
    }

    fn may_be_quoted(&self) -> bool {
        let number = |n: &RawValue| n.get().starts_with(|c: char| c.is_ascii_digit());
        !self.expired && number(self.rate) && number(self.inverse)
    }
}

/// Three letters, whatever their case, as an ISO 4217 code.
pub(super) fn code(text: &str) -> Option<String> {
    let text = text.trim();
    (text.len() == 3 && text.bytes().all(|b| b.is_ascii_alphabetic())).then(|| text.to_ascii_uppercase())
}

/// As a JSON string.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string is written to memory");
}
