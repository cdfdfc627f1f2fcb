//! The rates of a remittance application (Django Channels, Flutter client): `docs/WIRE-RATES.md`.
//!
//! Its `rate` is how many units of the source currency 1 unit of the destination costs, a JSON number: the column
//! `inverse`.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::{Dialect, Message, ReadError};

use super::rate_row::{RateRow, code, string};
use super::talk::{Asked, Said, Shape, Shown, Talk, Values};

pub struct Remittance {
    /// The channel that speaks after a whole refresh.
    pub refreshed: Arc<str>,
}

impl Dialect for Remittance {
    fn event(&self, channel: &str, message: &Message, _cursor: Option<&str>, out: &mut Vec<u8>) -> bool {
        if channel == &*self.refreshed {
            out.extend_from_slice(br#"{"type":"all_rates_update","data":{}}"#);
            return true;
        }
        if &*message.event == "delete" {
            return false;
        }
        let Some(row) = RateRow::parse(&message.data) else { return false };
        out.extend_from_slice(br#"{"type":"rate_update","data":{"key":"#);
        string(out, &row.key());
        out.extend_from_slice(br#","rate":"#);
        of_row(out, &row);
        out.extend_from_slice(b"}}");
        true
    }

    fn heartbeat(&self, _cursor: &str, _at_us: i64, _out: &mut Vec<u8>) -> bool {
        false
    }

    fn channel_error(&self, _channel: &str, _error: &ReadError, _out: &mut Vec<u8>) -> bool {
        false
    }
}

impl Talk for Remittance {
    fn asked(&self, _query: &[(String, String)]) -> Option<Vec<Asked>> {
        None
    }

    fn hello(&self, _asked: Option<&[Asked]>, _values: &Values, _at_us: i64) -> Option<Vec<u8>> {
        None
    }

    fn content(&self, _shape: Shape, data: Option<&[u8]>, _at_us: i64) -> Vec<Shown> {
        let mut out = br#"{"type":"all_rates","data":{"#.to_vec();
        for (i, row) in RateRow::parse_all(data.unwrap_or(b"[]")).iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            string(&mut out, &row.key());
            out.push(b':');
            of_row(&mut out, row);
        }
        out.extend_from_slice(b"}}");
        vec![Shown { key: None, frame: out.into() }]
    }

    fn one(&self, data: &[u8], key: &str) -> Option<Bytes> {
        let row = RateRow::parse_all(data).into_iter().find(|r| r.key() == key)?;
        let mut out = br#"{"type":"rate","data":"#.to_vec();
        of_row(&mut out, &row);
        out.push(b'}');
        Some(out.into())
    }

    fn decode(&self, text: &str) -> Said {
        #[derive(Deserialize)]
        struct Frame<'a> {
            #[serde(rename = "type")]
            kind: String,
            #[serde(borrow, default)]
            source_currency: Option<&'a RawValue>,
            #[serde(borrow, default)]
            destination_currency: Option<&'a RawValue>,
        }
        let Ok(whole) = serde_json::from_str::<&RawValue>(text) else { return Said::Malformed };
        let Ok(frame) = serde_json::from_str::<Frame<'_>>(whole.get()) else { return Said::Nothing };
        let currency = |raw: Option<&RawValue>| code(&serde_json::from_str::<String>(raw?.get()).ok()?);
        match &*frame.kind {
            "get_all_rates" => Said::All,
            "get_rate" => match (currency(frame.source_currency), currency(frame.destination_currency)) {
                (Some(source), Some(destination)) => Said::One(format!("{source}_{destination}")),
                _ => Said::Nothing,
            },
            _ => Said::Nothing,
        }
    }
}

fn of_row(out: &mut Vec<u8>, row: &RateRow<'_>) {
    let rate = row.inverse.get();
    transfer(out, &row.source_currency, &row.destination_currency, rate, rate, "1");
}

/// One rate as its clients know it; the numbers are given as JSON text. `source_amount` buys `destination_amount`.
pub fn transfer(
    out: &mut Vec<u8>,
    source: &str,
    destination: &str,
    rate: &str,
    source_amount: &str,
    destination_amount: &str,
) {
    out.extend_from_slice(br#"{"status":"success","message":"Transfer amount fetched","data":{"rate":"#);
    out.extend_from_slice(rate.as_bytes());
    for (role, currency, amount) in
        [("source", source, source_amount), ("destination", destination, destination_amount)]
    {
        out.extend_from_slice(format!(",\"{role}\":{{\"currency\":").as_bytes());
        string(out, currency);
        out.extend_from_slice(format!(",\"amount\":{amount}}}").as_bytes());
    }
    out.extend_from_slice(b"}}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_say() {
        let dialect = Remittance { refreshed: "rates:refreshed".into() };
        let one = |key: &str| Said::One(key.into());
        for (text, said) in [
            (r#"{"type":"get_all_rates"}"#, Said::All),
            (r#"{"type":"get_rate","source_currency":"USD","destination_currency":"NGN"}"#, one("USD_NGN")),
            (r#"{"type":"get_rate","source_currency":" usd","destination_currency":"ngn"}"#, one("USD_NGN")),
            (r#"{"type":"get_rate","source_currency":"USD"}"#, Said::Nothing),
            (r#"{"type":"get_rate","source_currency":1,"destination_currency":"NGN"}"#, Said::Nothing),
            (r#"{"type":"get_rate","source_currency":"U_D","destination_currency":"NGN"}"#, Said::Nothing),
            (r#"{"type":"ping"}"#, Said::Nothing),
            (r#"{"type":1}"#, Said::Nothing),
            ("[]", Said::Nothing),
            ("7", Said::Nothing),
            ("", Said::Malformed),
            ("{", Said::Malformed),
            ("get_all_rates", Said::Malformed),
        ] {
            assert_eq!(dialect.decode(text), said, "{text}");
        }
    }
}
