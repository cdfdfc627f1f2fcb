//! The oracle: what one follower knows of its channel, and whether what came next may come next.

use std::collections::HashMap;

use serde_json::Value;

/// A row's version must rise by one with every insert and update, and a delete must show the version it had.
#[derive(Default)]
pub struct Known {
    /// None: the row was seen to go; its version then.
    rows: HashMap<i64, Row>,
    pub events: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    Here(i64),
    Gone(i64),
}

impl Known {
    /// Replaces everything.
    pub fn snapshot(&mut self, data: &Value) -> Result<(), String> {
        self.rows.clear();
        for row in data.as_array().ok_or("a snapshot that is no list")? {
            let (id, v) = id_and_version(row).ok_or_else(|| format!("not a row: {row}"))?;
            if self.rows.insert(id, Row::Here(v)).is_some() {
                return Err(format!("row {id} is twice in a snapshot"));
            }
        }
        Ok(())
    }

    pub fn event(&mut self, event: &str, data: &Value) -> Result<(), String> {
        let (id, v) = id_and_version(data).ok_or_else(|| format!("not a row: {data}"))?;
        self.events += 1;
        let before = self.rows.get(&id).copied();
        let right = match (event, before) {
            // A row that was absent from the snapshot may have any past.
            ("insert", None) => true,
            ("insert", Some(Row::Gone(last))) => v == last + 1,
            ("update", Some(Row::Here(last))) => v == last + 1,
            ("delete", Some(Row::Here(last))) => v == last,
            _ => false,
        };
        if !right {
            return Err(format!("row {id}: {event} of version {v} after {before:?}"));
        }
        self.rows.insert(id, if event == "delete" { Row::Gone(v) } else { Row::Here(v) });
        Ok(())
    }

    /// Sorted by id.
    pub fn present(&self) -> Vec<(i64, i64)> {
        let here = |(id, row): (&i64, &Row)| match row {
            Row::Here(v) => Some((*id, *v)),
            Row::Gone(_) => None,
        };
        let mut all: Vec<_> = self.rows.iter().filter_map(here).collect();
        all.sort_unstable();
        all
    }
}

fn id_and_version(row: &Value) -> Option<(i64, i64)> {
    Some((row["id"].as_i64()?, row["v"].as_i64()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn after(events: &[(&str, i64, i64)]) -> Result<Vec<(i64, i64)>, String> {
        let mut known = Known::default();
        known.snapshot(&json!([{"id": 1, "v": 5}])).expect("a snapshot");
        for (event, id, v) in events {
            known.event(event, &json!({"id": id, "v": v}))?;
        }
        Ok(known.present())
    }

    #[test]
    fn it_sees_what_is_missing_doubled_or_out_of_order() {
        assert_eq!(after(&[("update", 1, 6), ("delete", 1, 6), ("insert", 1, 7)]), Ok(vec![(1, 7)]));
        assert_eq!(after(&[("insert", 2, 9), ("delete", 2, 9)]), Ok(vec![(1, 5)]));
        for wrong in [
            &[("update", 1, 7)][..],
            &[("update", 1, 5)],
            &[("update", 1, 6), ("update", 1, 6)],
            &[("delete", 1, 4)],
            &[("delete", 1, 5), ("delete", 1, 5)],
            &[("delete", 1, 5), ("insert", 1, 5)],
            &[("insert", 1, 6)],
            &[("update", 3, 1)],
        ] {
            assert!(after(wrong).is_err(), "{wrong:?}");
        }
        assert!(Known::default().snapshot(&json!([{"id": 1, "v": 5}, {"id": 1, "v": 5}])).is_err());
    }
}
