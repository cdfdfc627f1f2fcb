//! The European Central Bank's daily reference rates: XML, base EUR, about 16:00 in Frankfurt on working days.

use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::answer::{Listing, day};
use super::client::{Ask, Reply};
use super::error::ProviderError;
use super::number;
use super::polled::{Feed, Question};
use crate::domain::Currency;

pub(super) const BASE_URL: &str = "https://www.ecb.europa.eu/stats/eurofxref";

pub(super) struct Ecb;

impl Feed for Ecb {
    fn ask(&self, _: &Question<'_>) -> Result<Ask, ProviderError> {
        Ok(Ask::path(&["eurofxref-daily.xml"]))
    }

    fn read(&self, reply: &Reply, question: &Question<'_>) -> Result<Listing, ProviderError> {
        match reply.status_error() {
            Some(error) => Err(error),
            None => envelope(&reply.body, question),
        }
    }
}

const NOT_XML: ProviderError = ProviderError::Malformed { what: "not the documented XML" };

/// `<Cube><Cube time='…'><Cube currency='USD' rate='1.1453'/>…`, single or double quotes; of several days the first.
/// Entities are not resolved (none belongs into a code or a rate), so none can be defined to grow.
fn envelope(body: &[u8], question: &Question<'_>) -> Result<Listing, ProviderError> {
    let text = std::str::from_utf8(body).map_err(|_| NOT_XML)?;
    let mut reader = Reader::from_str(text);
    let mut listing: Option<Listing> = None;
    let mut depth = 0usize;
    loop {
        let event = reader.read_event().map_err(|_| NOT_XML)?;
        match &event {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth = depth.checked_sub(1).ok_or(NOT_XML)?,
            // Cut off in the middle: half of the currencies would look like all of them.
            Event::Eof if depth > 0 => return Err(NOT_XML),
            Event::Eof => return listing.ok_or(NOT_XML),
            _ => {}
        }
        let (Event::Start(element) | Event::Empty(element)) = &event else { continue };
        if element.local_name().as_ref() != b"Cube" {
            continue;
        }
        if let Some(date) = attribute(element, "time")? {
            if listing.is_some() {
                return listing.ok_or(NOT_XML);
            }
            listing = Some(Listing::new(Currency::EUR, day(&date, question.now)?));
        } else if let (Some(code), Some(rate)) = (attribute(element, "currency")?, attribute(element, "rate")?) {
            let listing = listing.as_mut().ok_or(NOT_XML)?;
            listing.add(&code, number::decimal(&rate).and_then(number::in_bounds));
        }
    }
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, ProviderError> {
    let Some(attribute) = element.try_get_attribute(name).map_err(|_| NOT_XML)? else { return Ok(None) };
    String::from_utf8(attribute.value.into_owned()).map(Some).map_err(|_| NOT_XML)
}
