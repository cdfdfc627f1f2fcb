//! JSON numbers as decimals, from their own text: a float never holds a rate.

use rust_decimal::Decimal;
use serde_json::value::RawValue;

/// A number longer than this is no rate.
const DIGITS_MAX: usize = 64;
/// 10^±this at most: beyond it a value is 0 or out of bounds anyway.
const EXPONENT_MAX: i32 = 60;
const RATE_MAX: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);

/// A rate: a JSON number, or a JSON string that holds one, with 0 < rate < 1e9. None: no rate (null, 0,
/// out of bounds, something else), which is that currency's trouble and nobody else's.
pub(super) fn rate(raw: &RawValue) -> Option<Decimal> {
    let text = raw.get();
    let text = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
    in_bounds(decimal(text)?)
}

pub(super) fn in_bounds(rate: Decimal) -> Option<Decimal> {
    (rate > Decimal::ZERO && rate < RATE_MAX).then_some(rate)
}

/// By JSON's grammar, e-notation included; rounded to 28 decimals; None if it is no number or too large.
/// Trailing zeros are kept: they say how exact the source is.
pub(super) fn decimal(text: &str) -> Option<Decimal> {
    if text.len() > DIGITS_MAX {
        return None;
    }
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok().filter(|e| e.abs() <= EXPONENT_MAX)?),
        None => (text, 0),
    };
    let (sign, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", mantissa),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (digits, ""),
    };
    let are_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !are_digits(whole) || !are_digits(fraction) || (whole.len() > 1 && whole.starts_with('0')) {
        return None;
    }
    let plain = if exponent == 0 {
        format!("{sign}{digits}")
    } else {
        // All digits in a row, and where among them the point stands now.
        let all = format!("{whole}{fraction}");
        let point = whole.len() as i32 + exponent;
        match usize::try_from(point) {
            Err(_) => format!("{sign}0.{}{all}", "0".repeat(point.unsigned_abs() as usize)),
            Ok(point) if point >= all.len() => format!("{sign}{all}{}", "0".repeat(point - all.len())),
            Ok(0) => format!("{sign}0.{all}"),
            Ok(point) => format!("{sign}{}.{}", &all[..point], &all[point..]),
        }
    };
    plain.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_from_their_text() {
        for (text, expected) in [
            ("1", Some("1")),
            ("1.0", Some("1.0")),
            ("383.40", Some("383.40")),
            ("1.0e-05", Some("0.000010")),
            ("1.2e-5", Some("0.000012")),
            ("1.2E+5", Some("120000")),
            ("12.345e1", Some("123.45")),
            ("12.345e-2", Some("0.12345")),
            ("12.345e-3", Some("0.012345")),
            ("-2.5", Some("-2.5")),
            ("-25e-1", Some("-2.5")),
            ("0.1", Some("0.1")),
            ("1535.48210000000000000000000001", Some("1535.4821000000000000000000000")),
            ("1e-40", Some("0.0000000000000000000000000000")),
            ("1e61", None),
            ("1e40", None),
            ("1e-999999999999", None),
            ("01", None),
            ("1.", None),
            (".5", None),
            ("+1", None),
            ("1_000", None),
            ("1,5", None),
            ("", None),
            ("-", None),
            ("e5", None),
            ("NaN", None),
            ("Infinity", None),
            ("0x10", None),
            ("1 ", None),
            ("１", None),
        ] {
            assert_eq!(decimal(text).map(|d| d.to_string()).as_deref(), expected, "{text}");
        }
        assert_eq!(decimal(&"1".repeat(DIGITS_MAX + 1)), None);
    }

    #[test]
    fn a_rate_is_positive_and_bounded() {
        for (json, expected) in [
            ("1535.4821", Some("1535.4821")),
            ("\"129.2500\"", Some("129.2500")),
            ("999999999.999", Some("999999999.999")),
            ("1e9", None),
            ("0", None),
            ("0.0", None),
            ("1e-40", None),
            ("-1", None),
            ("null", None),
            ("true", None),
            ("\"\"", None),
            ("\"soon\"", None),
            ("[1]", None),
            ("{}", None),
        ] {
            let raw: &RawValue = serde_json::from_str(json).expect(json);
            assert_eq!(rate(raw).map(|d| d.to_string()).as_deref(), expected, "{json}");
        }
    }
}
