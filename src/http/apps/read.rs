//! Answers of reads: the content, its tag, and the place in the stream from which a subscriber gets exactly what it does not show.

use std::sync::Arc;

use poem_openapi::ApiResponse;
use poem_openapi::types::{ToJSON, Type};

use super::paging::Wanted;
use super::rights::Asker;
use super::{Desk, Parts, Raw};
use crate::domain::{Cursor, Identity, Incarnation, Position, Snapshot};
use crate::http::page::{etag, none_match};
use crate::http::problem::{ApiError, ProblemCode};
use crate::http::rest::{not_ready, stands};
use crate::store::reference::Found;
use crate::store::{Access, StoreError};

/// Answers differ by who asks, and are to be asked for again.
const CACHE: &str = "private, no-cache";

#[derive(ApiResponse)]
pub(super) enum Answer<T: Type + ToJSON> {
    #[oai(status = 200)]
    Ok(
        Raw<T>,
        /// Subscribe with it, or read a channel's events from it, to continue exactly here
        #[oai(header = "Rowcast-Cursor")]
        String,
        /// Of the content alone: unchanged while it is the same
        #[oai(header = "ETag")]
        String,
        #[oai(header = "Cache-Control")] String,
    ),
    /// The content is what `If-None-Match` names
    #[oai(status = 304)]
    NotModified(
        /// A newer cursor for the same content
        #[oai(header = "Rowcast-Cursor")]
        String,
        #[oai(header = "ETag")] String,
        #[oai(header = "Cache-Control")] String,
    ),
}

/// A read that has begun: the stream that its cursor will belong to.
pub(super) struct Reading<'d> {
    parts: &'d Parts,
    incarnation: Incarnation,
    pub asker: Asker,
    if_none_match: Option<String>,
}

impl Desk {
    pub async fn read(&self, visitor: &Arc<Identity>, if_none_match: Option<String>) -> Result<Reading<'_>, ApiError> {
        let parts = self.parts()?;
        let incarnation = stands(&parts.shared)?.0;
        let asker = self.ask(visitor, Access::Read).await?;
        Ok(Reading { parts, incarnation, asker, if_none_match })
    }
}

impl Reading<'_> {
    /// `{"NAME":[…],"next":"…","cursor":"…"}`
    pub async fn list<T: Type + ToJSON>(
        self,
        name: &str,
        wanted: &Wanted,
        found: Result<Found, StoreError>,
    ) -> Result<Answer<T>, ApiError> {
        let mut found = found?;
        let next = wanted.cut(&mut found.items);
        let mut text = format!("{{\"{name}\":[");
        for (i, (_, item)) in found.items.iter().enumerate() {
            if i > 0 {
                text.push(',');
            }
            text.push_str(item);
        }
        text.push(']');
        if let Some(next) = next {
            text.push_str(&format!(",\"next\":\"{next}\""));
        }
        self.answer(found.snapshot, text, |text, cursor| format!("{text},\"cursor\":\"{cursor}\"}}")).await
    }

    /// What was asked for by its number; its cursor is in the header only.
    pub async fn one<T: Type + ToJSON>(
        self,
        what: &str,
        found: Result<Found, StoreError>,
    ) -> Result<Answer<T>, ApiError> {
        let mut found = found?;
        verdict(&self.asker, what, found.allowed)?;
        let (_, item) = found.items.pop().ok_or_else(|| missing(what))?;
        self.whole(found.snapshot, item).await
    }

    /// A body as it is.
    pub async fn whole<T: Type + ToJSON>(self, snapshot: Snapshot, text: String) -> Result<Answer<T>, ApiError> {
        self.answer(snapshot, text, |text, _| text).await
    }

    async fn answer<T: Type + ToJSON>(
        self,
        snapshot: Snapshot,
        content: String,
        finish: impl FnOnce(String, &str) -> String,
    ) -> Result<Answer<T>, ApiError> {
        self.asker.behalf.commit().await?;
        if stands(&self.parts.shared)?.0 != self.incarnation {
            // Which stream the reading belongs to cannot be said.
            return Err(not_ready());
        }
        let cursor = Cursor { incarnation: self.incarnation, position: Position::at(Arc::new(snapshot)) }.to_string();
        let etag = etag(content.as_bytes());
        if none_match(self.if_none_match.as_deref(), &etag) {
            return Ok(Answer::NotModified(cursor, etag, CACHE.into()));
        }
        Ok(Answer::Ok(Raw::new(finish(content, &cursor)), cursor, etag, CACHE.into()))
    }
}

#[derive(ApiResponse)]
pub(super) enum Made<T: Type + ToJSON> {
    /// Committed; subscribers get it in a moment
    #[oai(status = 201)]
    Made(
        Raw<T>,
        /// Where it is read
        #[oai(header = "Location")]
        String,
    ),
}

impl Asker {
    /// Commits what was written, and shows it.
    pub async fn done<T>(self, written: Result<Found, StoreError>) -> Result<Raw<T>, ApiError> {
        let item = written?.items.pop();
        self.behalf.commit().await?;
        let (_, item) =
            item.ok_or_else(|| ApiError::new(ProblemCode::Internal, "It was written, and is not to be seen."))?;
        Ok(Raw::new(item))
    }
}

/// Of what has a number: `Ok` where it is there and may be had.
pub(super) fn verdict(asker: &Asker, what: &str, allowed: Option<bool>) -> Result<(), ApiError> {
    match allowed {
        Some(true) => Ok(()),
        Some(false) => Err(asker.refusal(&format!("This {what} is not yours."))),
        None => Err(missing(what)),
    }
}

pub(super) fn missing(what: &str) -> ApiError {
    ApiError::new(ProblemCode::NotFound, format!("There is no {what} of this number."))
}
