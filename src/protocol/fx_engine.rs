//! The rates of an FX pricing engine (FastAPI): `docs/WIRE-RATES.md`.
//!
//! Its `rate` is how many units of the target currency 1 unit of the base buys, as text: the column `rate`.

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::domain::{Dialect, Message, ReadError};

use super::native::time;
use super::rate_row::{RateRow, code, string};
use super::talk::{Asked, Said, Shape, Shown, Talk, Values};

pub struct FxEngine;

impl Dialect for FxEngine {
    fn event(&self, _channel: &str, message: &Message, _cursor: Option<&str>, out: &mut Vec<u8>) -> bool {
        if &*message.event == "delete" {
            return false;
        }
        let Some(row) = RateRow::parse(&message.data) else { return false };
        update(out, &row);
        true
    }

    fn heartbeat(&self, _cursor: &str, _at_us: i64, _out: &mut Vec<u8>) -> bool {
        false
    }

    fn channel_error(&self, _channel: &str, _error: &ReadError, _out: &mut Vec<u8>) -> bool {
        false
    }
}

impl Talk for FxEngine {
    /// `pairs=USD/EUR,GBP/JPY`.
    fn asked(&self, query: &[(String, String)]) -> Option<Vec<Asked>> {
        let (_, pairs) = query.iter().find(|(name, _)| name == "pairs")?;
        let mut asked: Vec<Asked> = Vec::new();
        for shown in pairs.split(',').map(|p| p.trim().to_ascii_uppercase()).filter(|p| !p.is_empty()) {
            let codes = shown.split_once('/').and_then(|(base, target)| Some((code(base)?, code(target)?)));
            let key = codes.map(|(base, target)| format!("{base}_{target}"));
            if !asked.iter().any(|a| a.shown == shown) {
                asked.push(Asked { shown, key });
            }
        }
        (!asked.is_empty()).then_some(asked)
    }

    fn hello(&self, asked: Option<&[Asked]>, _values: &Values, at_us: i64) -> Option<Vec<u8>> {
        let mut out =
            br#"{"type":"connection_established","message":"Connected to real-time rate updates","subscribed_pairs":"#
                .to_vec();
        match asked {
            None => out.extend_from_slice(b"\"all\""),
            Some(asked) => list(&mut out, asked.iter().map(|a| &*a.shown)),
        }
        out.extend_from_slice(format!(",\"timestamp\":\"{}\"}}", time(at_us)).as_bytes());
        Some(out)
    }

    fn content(&self, _shape: Shape, data: Option<&[u8]>, _at_us: i64) -> Vec<Shown> {
        let shown = |row: &RateRow<'_>| {
            let mut out = Vec::new();
            update(&mut out, row);
            Shown { key: Some(row.key()), frame: out.into() }
        };
        RateRow::parse_all(data.unwrap_or(b"[]")).iter().map(shown).collect()
    }

    fn one(&self, _data: &[u8], _key: &str) -> Option<Bytes> {
        None
    }

    fn decode(&self, text: &str) -> Said {
        match serde_json::from_str::<&RawValue>(text) {
            Ok(_) => Said::Nothing,
            Err(_) => Said::Malformed,
        }
    }
}

fn update(out: &mut Vec<u8>, row: &RateRow<'_>) {
    let (base, target) = (&*row.source_currency, &*row.destination_currency);
    out.extend_from_slice(b"{\"type\":\"rate_update\"");
    for (name, text) in [
        ("pair", &*format!("{base}/{target}")),
        ("base_currency", base),
        ("target_currency", target),
        ("rate", row.rate.get()),
        ("confidence_level", &row.confidence),
    ] {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        string(out, text);
    }
    out.extend_from_slice(b",\"sources_used\":");
    list(out, row.sources.iter().map(|s| &**s));
    // Who executes at this price is what this application called its primary provider.
    let (primary, at) = (row.executed_by.is_some(), time(row.updated_at_us()));
    let tail = format!(",\"is_primary_used\":{primary},\"timestamp\":\"{at}\",\"cached\":{},\"warnings\":", row.cached);
    out.extend_from_slice(tail.as_bytes());
    list(out, row.warnings.iter().map(|w| &**w));
    out.push(b'}');
}

fn list<'a>(out: &mut Vec<u8>, texts: impl Iterator<Item = &'a str>) {
    out.push(b'[');
    for (i, text) in texts.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        string(out, text);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_a_query() {
        let asked = |pairs: &str| {
            let asked = FxEngine.asked(&[("x".into(), "y".into()), ("pairs".into(), pairs.into())]);
            asked.map(|all| all.into_iter().map(|a| format!("{}={}", a.shown, a.key.unwrap_or_default())).collect())
        };
        for (pairs, want) in [
            ("USD/EUR,GBP/JPY", Some(vec!["USD/EUR=USD_EUR", "GBP/JPY=GBP_JPY"])),
            (" usd/eur , USD/EUR,", Some(vec!["USD/EUR=USD_EUR"])),
            ("dollars,USD/EUR/JPY", Some(vec!["DOLLARS=", "USD/EUR/JPY="])),
            ("", None),
            (",", None),
        ] {
            assert_eq!(asked(pairs), want.map(|w| w.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()), "{pairs}");
        }
        assert_eq!(FxEngine.asked(&[]), None);
    }
}
