//! Lists in pages: sorted by a word of the list's own, each page after the last row of the one before. Rows that come or go
//! meanwhile move nothing: a place is the row's key, not its number.

use crate::http::problem::{ApiError, ProblemCode};
use crate::store::reference::{Page, Place};

pub(super) const LIMIT_MAX: u64 = 1000;

pub(super) fn limit_default() -> u64 {
    100
}

/// What a request wants of a list.
pub(super) struct Wanted {
    /// `-` in front: from the greatest on.
    sort: String,
    limit: usize,
    pub page: Page,
}

impl Wanted {
    /// `sorts`: what the list can be sorted by. `after`: the `next` of the page before, of the same sort.
    pub fn new(sorts: &[&str], sort: Option<String>, limit: u64, after: Option<String>) -> Result<Self, ApiError> {
        let sort = sort.unwrap_or_else(|| format!("-{}", sorts[0]));
        let (by, down) = match sort.strip_prefix('-') {
            Some(by) => (by, true),
            None => (&*sort, false),
        };
        if !sorts.contains(&by) {
            let detail = format!("'sort' is one of {}, with - in front for the greatest first.", sorts.join(", "));
            return Err(ApiError::new(ProblemCode::BadRequest, detail));
        }
        let after = after.filter(|a| !a.is_empty()).map(|a| place(&sort, &a)).transpose()?;
        let limit = limit.clamp(1, LIMIT_MAX) as usize;
        // One more, to know whether there is a next page.
        let page = Page { by: by.to_owned(), down, after, limit: limit as i64 + 1 };
        Ok(Self { sort, limit, page })
    }

    /// Keeps the page, and says where the next one begins.
    pub fn cut(&self, items: &mut Vec<(Place, String)>) -> Option<String> {
        let more = items.len() > self.limit;
        items.truncate(self.limit);
        let (last, _) = items.last().filter(|_| more)?;
        Some(format!("{}.{}.{}", self.sort, last.key, last.id))
    }
}

fn place(sort: &str, after: &str) -> Result<Place, ApiError> {
    let parse = || {
        let (key, id) = after.strip_prefix(sort)?.strip_prefix('.')?.split_once('.')?;
        Some(Place { key: key.parse().ok()?, id: id.parse().ok()? })
    };
    parse().ok_or_else(|| {
        let detail = "'after' is the 'next' of the page before, asked for with the same 'sort'.";
        ApiError::new(ProblemCode::BadRequest, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(ids: &[i64]) -> Vec<(Place, String)> {
        ids.iter().map(|&id| (Place { key: id * 10, id }, String::new())).collect()
    }

    #[test]
    fn a_page_says_where_the_next_begins() {
        let wanted = Wanted::new(&["id", "price"], Some("-price".into()), 2, None).expect("right");
        assert_eq!((wanted.page.by.as_str(), wanted.page.down, wanted.page.limit), ("price", true, 3));
        let mut three = items(&[9, 8, 7]);
        assert_eq!(wanted.cut(&mut three).as_deref(), Some("-price.80.8"));
        assert_eq!(three.len(), 2);
        assert_eq!(wanted.cut(&mut items(&[9, 8])), None);
        assert_eq!(wanted.cut(&mut Vec::new()), None);
        let next = Wanted::new(&["id", "price"], Some("-price".into()), 2, Some("-price.-80.8".into())).expect("right");
        assert_eq!(next.page.after, Some(Place { key: -80, id: 8 }));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (sort, after) in [
            (Some("name"), None),
            (Some(""), None),
            (Some("-"), None),
            (Some("--id"), None),
            (Some("id;"), None),
            (Some("id"), Some("-id.1.1")),
            (Some("id"), Some("id.1")),
            (Some("id"), Some("id.1.x")),
            (Some("id"), Some("7")),
            (None, Some("id.1.1")),
        ] {
            let wanted = Wanted::new(&["id"], sort.map(Into::into), 1, after.map(Into::into));
            assert!(wanted.is_err(), "{sort:?} {after:?}");
        }
    }
}
