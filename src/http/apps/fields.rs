//! The fields of a body, each read by what it may be. Numbers keep their text.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use serde_json::value::RawValue;

use super::Raw;
use crate::http::problem::{ApiError, ProblemCode};

/// Of numeric(12,2) and numeric(6,2): digits before the point.
const AMOUNT_DIGITS: usize = 10;
const SCORE_DIGITS: usize = 4;

pub(super) struct Fields {
    given: HashMap<String, Box<RawValue>>,
}

impl Fields {
    /// 400 for what is no JSON, 422 for what is no object of `known` fields.
    pub fn of<T>(body: &Raw<T>, known: &[&str]) -> Result<Self, ApiError> {
        let given: HashMap<String, Box<RawValue>> =
            serde_json::from_slice(&body.text).map_err(|e| match e.classify() {
                serde_json::error::Category::Data => {
                    ApiError::new(ProblemCode::Invalid, format!("The body is an object with: {}.", known.join(", ")))
                }
                _ => ApiError::new(ProblemCode::BadRequest, format!("The body is not JSON: {e}.")),
            })?;
        let mut unknown: Vec<_> = given.keys().filter(|k| !known.contains(&k.as_str())).collect();
        unknown.sort_unstable();
        if let Some(name) = unknown.first() {
            let name: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
            return Err(invalid(&name, format!("is not known here: {}", known.join(", "))));
        }
        Ok(Self { given })
    }

    /// Is it there, even as null?
    pub fn has(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// Text of so many characters.
    pub fn text(&self, name: &str, chars: RangeInclusive<usize>) -> Result<Option<String>, ApiError> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        let text: Option<String> = serde_json::from_str(raw).ok();
        let fits = |t: &String| chars.contains(&t.chars().count()) && !t.contains('\0');
        let want = || invalid(name, format!("is text of {} to {} characters", chars.start(), chars.end()));
        text.filter(fits).map(Some).ok_or_else(want)
    }

    pub fn choice(&self, name: &str, words: &[&str]) -> Result<Option<String>, ApiError> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        let text: Option<String> = serde_json::from_str(raw).ok();
        let want = || invalid(name, format!("is one of {}", words.join(", ")));
        text.filter(|t| words.contains(&t.as_str())).map(Some).ok_or_else(want)
    }

    pub fn integer(&self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, ApiError> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        let number: Option<i64> = serde_json::from_str(raw).ok();
        let want = || invalid(name, format!("is a whole number from {} to {}", range.start(), range.end()));
        number.filter(|n| range.contains(n)).map(Some).ok_or_else(want)
    }

    /// A row's number.
    pub fn id(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.integer(name, 1..=i64::MAX)
    }

    /// Decimal text, from a number or a string.
    pub fn amount(&self, name: &str) -> Result<Option<String>, ApiError> {
        self.decimal(name, AMOUNT_DIGITS)
    }

    pub fn score(&self, name: &str) -> Result<Option<String>, ApiError> {
        self.decimal(name, SCORE_DIGITS)
    }

    fn decimal(&self, name: &str, digits: usize) -> Result<Option<String>, ApiError> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        let text = raw.strip_prefix('"').and_then(|r| r.strip_suffix('"')).unwrap_or(raw);
        let want = || {
            invalid(name, format!("is a decimal of at most {digits} digits and two decimals, not negative: \"85.50\""))
        };
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let all_digits = |t: &str, max| !t.is_empty() && t.len() <= max && t.bytes().all(|b| b.is_ascii_digit());
        if all_digits(whole, digits) && all_digits(part, 2) { Ok(Some(text.to_owned())) } else { Err(want()) }
    }

    fn raw(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(|v| v.get()).filter(|v| *v != "null")
    }
}

/// `fields.text("title", 1..=255)?.required("title")?`
pub(super) trait Required<T> {
    fn required(self, name: &str) -> Result<T, ApiError>;
}

impl<T> Required<T> for Option<T> {
    fn required(self, name: &str) -> Result<T, ApiError> {
        self.ok_or_else(|| invalid(name, "is required"))
    }
}

pub(super) fn invalid(name: &str, why: impl AsRef<str>) -> ApiError {
    ApiError::new(ProblemCode::Invalid, format!("'{name}' {}.", why.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &'static str) -> Result<Fields, ApiError> {
        Fields::of(&Raw::<()>::new(body), &["a"])
    }

    #[test]
    fn each_is_read_by_what_it_may_be() {
        type Read = fn(&Fields) -> Result<Option<String>, ApiError>;
        let text: Read = |f| f.text("a", 1..=3);
        let choice: Read = |f| f.choice("a", &["New", "Done"]);
        let integer: Read = |f| Ok(f.integer("a", 0..=100)?.map(|n| n.to_string()));
        let amount: Read = |f| f.amount("a");
        let score: Read = |f| f.score("a");
        let cases: [(Read, &str, Option<&str>); 33] = [
            (text, r#""abc""#, Some("abc")),
            (text, r#""\u00e9\n!""#, Some("é\n!")),
            (text, r#""""#, None),
            (text, r#""abcd""#, None),
            (text, r#""a\u0000""#, None),
            (text, "7", None),
            (choice, r#""New""#, Some("New")),
            (choice, r#""new""#, None),
            (choice, "true", None),
            (integer, "0", Some("0")),
            (integer, "100", Some("100")),
            (integer, "101", None),
            (integer, "-1", None),
            (integer, "1.0", None),
            (integer, r#""1""#, None),
            (integer, "99999999999999999999", None),
            (amount, "85.5", Some("85.5")),
            (amount, r#""85.50""#, Some("85.50")),
            (amount, "1234567890.12", Some("1234567890.12")),
            (amount, "0", Some("0")),
            (amount, "12345678901", None),
            (amount, "0.001", None),
            (amount, "-1", None),
            (amount, "1e3", None),
            (amount, r#"".5""#, None),
            (amount, r#""5.""#, None),
            (amount, r#""""#, None),
            (amount, r#""NaN""#, None),
            (amount, "{}", None),
            (amount, r#""1 ""#, None),
            (score, "100", Some("100")),
            (score, "9999.99", Some("9999.99")),
            (score, "10000", None),
        ];
        for (read, value, want) in cases {
            let body: &'static str = format!(r#"{{"a":{value}}}"#).leak();
            let got = read(&of(body).unwrap_or_else(|e| panic!("{body}: {e}")));
            match want {
                Some(want) => assert_eq!(got.expect(body).as_deref(), Some(want), "{body}"),
                None => {
                    assert!(got.is_err_and(|e| e.code == ProblemCode::Invalid && e.detail.contains("'a'")), "{body}")
                }
            }
        }
        let empty = of("{}").expect("an object");
        assert!(!empty.has("a") && empty.amount("a").expect("none").is_none());
        assert!(empty.text("a", 1..=1).expect("none").required("a").is_err());
        let null = of(r#"{"a":null}"#).expect("an object");
        assert!(null.has("a") && null.text("a", 1..=1).expect("none").is_none());
    }

    #[test]
    fn a_body_is_an_object_of_known_fields() {
        for (body, code) in [
            ("", ProblemCode::BadRequest),
            ("{", ProblemCode::BadRequest),
            ("[]", ProblemCode::Invalid),
            ("7", ProblemCode::Invalid),
            (r#"{"b":1}"#, ProblemCode::Invalid),
        ] {
            assert_eq!(of(body).err().map(|e| e.code), Some(code), "{body}");
        }
    }
}
