//! A batch of changes of one statement, which lies in the log as one row, taken apart. It holds columns, not rows:
//!
//! ```text
//! new  [{"id":[1, 2],"v":["a", null]}, [[3],[0]]]    for each change: which routes with a condition it met (0: not this one)
//! old  [{"id":[7],"v":["b"]}, [0, 1]]                of updates: the old rows there are, and which changes have one
//! ```

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::json::{after, blank, string, value};
use super::log::{LogRow, Op, PARTS, Share};

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a batch of rows as capture writes them")]
pub struct UnpackError;

/// Gives `out` the changes that `row`, of this letter, stands for, in their order. They have the row's id, and each its own
/// share of the id's message numbers.
pub fn unpack(letter: u8, row: LogRow, out: &mut Vec<LogRow>) -> Result<(), UnpackError> {
    if !letter.is_ascii_uppercase() {
        out.push(row);
        return Ok(());
    }
    let new = row.new.as_deref().map(Columns::of).transpose()?;
    let old = row.old.as_deref().map(Columns::of).transpose()?;
    let main = if row.op == Op::Delete { &old } else { &new }.as_ref().ok_or(UnpackError)?;
    let count = main.rows()?;
    let matched: Option<Vec<Vec<i32>>> = main.list()?;
    let moved: Vec<bool> = match &old {
        Some(_) if row.op == Op::Delete => vec![true; count],
        Some(old) => old.list::<Vec<u8>>()?.ok_or(UnpackError)?.iter().map(|flag| *flag != 0).collect(),
        None => vec![false; count],
    };
    let olds = old.as_ref().map_or(Ok(0), Columns::rows)?;
    let met = matched.as_ref().map_or(count, Vec::len);
    if moved.len() != count || met != count || moved.iter().filter(|moved| **moved).count() != olds {
        return Err(UnpackError);
    }
    let mut olds = 0..olds;
    out.extend((0..count).map(|n| LogRow {
        id: row.id,
        xid: row.xid,
        at_us: row.at_us,
        source: row.source,
        op: row.op,
        new: new.as_ref().map(|new| new.row(n)),
        old: old.as_ref().filter(|_| moved[n]).and_then(|old| Some(old.row(olds.next()?))),
        matched: matched.iter().flat_map(|m| &m[n]).copied().filter(|id| *id != 0).collect(),
        channel: None,
        event: None,
        share: Share::of_batch(n, count),
    }));
    Ok(())
}

/// Slices of the batch's text.
struct Columns<'a> {
    /// Names with their quotes, and the values.
    columns: Vec<(&'a [u8], Vec<&'a [u8]>)>,
    /// The array behind them.
    list: Option<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn of(json: &'a [u8]) -> Result<Self, UnpackError> {
        Self::read(json).ok_or(UnpackError)
    }

    /// Objects, as many as it takes, and an array or not.
    fn read(json: &'a [u8]) -> Option<Self> {
        let mut found = Self { columns: Vec::new(), list: None };
        let mut at = after(json, 0, b'[')?;
        loop {
            at = blank(json, at);
            if found.list.is_some() {
                return None;
            }
            if json.get(at) == Some(&b'{') {
                at = found.object(json, at)?;
            } else {
                let end = value(json, at)?;
                found.list = Some(&json[at..end]);
                at = end;
            }
            match after(json, at, b',') {
                Some(next) => at = next,
                None => return after(json, at, b']').map(|_| found),
            }
        }
    }

    /// `{"name":[value, …], …}`; where it ends.
    fn object(&mut self, json: &'a [u8], at: usize) -> Option<usize> {
        let mut at = after(json, at, b'{')?;
        loop {
            let name_at = blank(json, at);
            let name_end = string(json, name_at)?;
            let (values, end) = self.values(json, after(json, name_end, b':')?)?;
            self.columns.push((&json[name_at..name_end], values));
            match after(json, end, b',') {
                Some(next) => at = next,
                None => return after(json, end, b'}'),
            }
        }
    }

    /// `[value, …]`; where it ends.
    fn values(&self, json: &'a [u8], at: usize) -> Option<(Vec<&'a [u8]>, usize)> {
        let mut values = Vec::with_capacity(self.columns.first().map_or(0, |(_, first)| first.len()));
        let mut at = after(json, at, b'[')?;
        loop {
            at = blank(json, at);
            let end = value(json, at)?;
            values.push(&json[at..end]);
            match after(json, end, b',') {
                Some(next) => at = next,
                None => return Some((values, after(json, end, b']')?)),
            }
        }
    }

    /// As many as each column has values.
    fn rows(&self) -> Result<usize, UnpackError> {
        let (_, first) = self.columns.first().ok_or(UnpackError)?;
        let alike = self.columns.iter().all(|(_, values)| values.len() == first.len());
        if alike && first.len() <= PARTS.into() { Ok(first.len()) } else { Err(UnpackError) }
    }

    fn list<T: DeserializeOwned>(&self) -> Result<Option<T>, UnpackError> {
        self.list.map(serde_json::from_slice).transpose().map_err(|_| UnpackError)
    }

    /// As `row_to_json` writes it.
    fn row(&self, n: usize) -> Bytes {
        let bytes: usize = self.columns.iter().map(|(name, values)| name.len() + values[n].len() + 2).sum();
        let mut out = Vec::with_capacity(bytes + 1);
        for (name, values) in &self.columns {
            out.push(if out.is_empty() { b'{' } else { b',' });
            out.extend_from_slice(name);
            out.push(b':');
            out.extend_from_slice(values[n]);
        }
        out.push(b'}');
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(letter: char, new: &str, old: &str) -> Result<Vec<LogRow>, UnpackError> {
        let image = |text: &str| (!text.is_empty()).then(|| Bytes::from(text.to_owned()));
        let row = LogRow {
            id: 5,
            xid: 9,
            at_us: 3,
            source: 7,
            op: Op::from_letter(letter as u8).expect("a known letter"),
            new: image(new),
            old: image(old),
            matched: Box::default(),
            channel: None,
            event: None,
            share: Share::WHOLE,
        };
        let mut out = Vec::new();
        let result = unpack(letter as u8, row, &mut out);
        assert!(result.is_ok() || out.is_empty(), "all or nothing");
        result.map(|()| out)
    }

    fn lines(letter: char, new: &str, old: &str) -> Vec<String> {
        let text =
            |image: &Option<Bytes>| image.as_ref().map_or("-".into(), |b| String::from_utf8_lossy(b).into_owned());
        let rows = unpacked(letter, new, old).expect("a batch");
        rows.iter().map(|r| format!("{} < {} {:?}", text(&r.new), text(&r.old), r.matched)).collect()
    }

    #[test]
    fn columns_become_rows() {
        let spaced = r#"[{"id" : [1, 22], "a\"b" : [null, "x,]}\"\\"], "n" : [10.50, -1.5e3], "j" : [[1, {"k": "]"}], {"a": [] }]}]"#;
        let expected = [
            r#"{"id":1,"a\"b":null,"n":10.50,"j":[1, {"k": "]"}]} < - []"#,
            r#"{"id":22,"a\"b":"x,]}\"\\","n":-1.5e3,"j":{"a": [] }} < - []"#,
        ];
        assert_eq!(lines('I', spaced, ""), expected);
        // Of many columns there are several objects; the routes whose condition held come last.
        let two = "[{\"a\":[1, 2, 3]}, {\"b\":[true, false, null]}, [[4,0], \n [0,0], \n [-4,5]]]";
        assert_eq!(
            lines('I', two, ""),
            [r#"{"a":1,"b":true} < - [4]"#, r#"{"a":2,"b":false} < - []"#, r#"{"a":3,"b":null} < - [-4, 5]"#]
        );
        assert_eq!(lines('D', "", r#"[{"a":[1, 2]}]"#), [r#"- < {"a":1} []"#, r#"- < {"a":2} []"#]);
    }

    #[test]
    fn of_updates_those_that_move_have_an_old_row() {
        let new = r#"[{"a":[1, 2, 3, 4]}]"#;
        let stay = ["1", "2", "3", "4"].map(|a| format!(r#"{{"a":{a}}} < - []"#));
        assert_eq!(lines('U', new, ""), stay);
        assert_eq!(
            lines('U', new, r#"[{"a":[20, 40]}, [0, 1, 0, 1]]"#),
            [&stay[0], r#"{"a":2} < {"a":20} []"#, &stay[2], r#"{"a":4} < {"a":40} []"#]
        );
    }

    #[test]
    fn what_is_no_batch_passes_through() {
        let cases =
            [('i', r#"{"a":1}"#, ""), ('v', r#"{"a":1}"#, ""), ('u', r#"{"a":1}"#, r#"{"a":0}"#), ('t', "", "")];
        for (letter, new, old) in cases {
            let rows = unpacked(letter, new, old).expect("a row");
            assert_eq!(rows.len(), 1);
            assert_eq!((rows[0].new.as_deref().unwrap_or_default(), rows[0].share), (new.as_bytes(), Share::WHOLE));
        }
    }

    #[test]
    fn numbers_rise_through_a_batch_and_stay_within_its_row() {
        for count in [1_u16, 2, 3, 7, 40, 341, 512, 1000, 1024] {
            let values: Vec<String> = (0..count).map(|n| n.to_string()).collect();
            let rows = unpacked('I', &format!("[{{\"a\":[{}]}}]", values.join(",")), "").expect("a batch");
            assert_eq!(rows.len(), usize::from(count));
            let mut before = (5 << 10) - 1;
            for row in &rows {
                // Each may lead to as many messages as its share has numbers.
                for part in 0..1024 / count {
                    assert_eq!(row.message_number(part), before + 1, "part {part} of {count} changes");
                    before += 1;
                }
                assert_eq!((row.message_number(u16::MAX), row.last_number()), (before, before));
            }
            assert!(before < 6 << 10);
        }
    }

    #[test]
    fn damage_is_reported_and_nothing_is_given_out() {
        let good = r#"[{"a":[1, 2],"b":["x", "y"]}, [[1],[0]]]"#;
        assert_eq!(lines('I', good, "").len(), 2);
        for end in 0..good.len() {
            assert_eq!(unpacked('I', &good[..end], "").err(), Some(UnpackError), "cut at {end}");
        }
        let many = format!("[{{\"a\":[{}]}}]", vec!["1"; 1025].join(","));
        for (letter, new, old) in [
            ('I', r#"[{"a":[1, 2],"b":[1]}]"#, ""),
            ('I', r#"[{"a":[1, 2]}, [[1]]]"#, ""),
            ('I', r#"[{"a":[1, 2]}, [1,0]]"#, ""),
            ('I', r#"[{"a":[1]}, [[1]], {"b":[1]}]"#, ""),
            ('I', r#"[{"a":[]}]"#, ""),
            ('I', "[]", ""),
            ('I', "", ""),
            ('D', r#"[{"a":[1]}]"#, ""),
            ('U', r#"[{"a":[1, 2]}]"#, r#"[{"a":[1]}]"#),
            ('U', r#"[{"a":[1, 2]}]"#, r#"[{"a":[1]}, [1]]"#),
            ('U', r#"[{"a":[1, 2]}]"#, r#"[{"a":[1]}, [1, 1]]"#),
            ('I', &many, ""),
        ] {
            assert_eq!(unpacked(letter, new, old).err(), Some(UnpackError), "{letter} {new} {old}");
        }
    }
}
