//! The REST interface under `/api`, described by its own code.

use std::sync::Arc;

use poem::Request;
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi, OpenApiService, Tags};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::connection::{Shared, settled};
use crate::domain::{Caller, ChannelName, Cursor, Identity, Incarnation, Message, Position};

use super::apps;
use super::health::Database;
use super::jobs::JobsApi;
use super::limits::Arrival;
use super::page::{etag, none_match};
use super::problem::{ApiError, ProblemCode};
use super::rates::{Rates, RatesApi};
use super::raw::Raw;
use super::schema::{
    Accepted, Channel, Channels, EVENT_BYTES_MAX, Events, Family, Kind, LiveChannel, NewEvent, Snapshot,
};
use super::users::UsersApi;

pub(super) fn apis(shared: Arc<Shared>, database: Arc<dyn Database>, publish: bool, rates: Option<Rates>) -> Apis {
    let (jobs, users) = (JobsApi(Some(database.clone())), UsersApi(Some(database.clone())));
    (Api(Some(Parts { shared, database, publish })), jobs, RatesApi(rates), users)
}

/// The description alone: it does not depend on what is behind it.
pub(super) fn service_of_nothing() -> OpenApiService<impl OpenApi, ()> {
    described((nothing(), apps::apis(None)))
}

/// The same of a server without the reference applications.
pub(super) fn service_without_reference() -> OpenApiService<Apis, ()> {
    described(nothing())
}

fn nothing() -> Apis {
    (Api(None), JobsApi(None), RatesApi(None), UsersApi(None))
}

pub(super) fn described<T: OpenApi>(apis: T) -> OpenApiService<T, ()> {
    OpenApiService::new(apis, "rowcast", env!("CARGO_PKG_VERSION"))
        .description(
            "Channels of a Postgres database: what they show, what happened on them, and a way to send. Live updates \
             come over `/ws` and `/sse`, described in `/asyncapi.yaml`; every read says a `cursor` from which they \
             continue exactly. A `/` in a channel's name is written `%2F` in a path.",
        )
        .server("/api")
}

pub(super) type Apis = (Api, JobsApi, RatesApi, UsersApi);

pub(super) struct Api(Option<Parts>);

struct Parts {
    shared: Arc<Shared>,
    database: Arc<dyn Database>,
    publish: bool,
}

#[derive(Tags)]
pub(super) enum Tag {
    /// What channels are, show and have shown
    Channels,
    /// What runs by the clock, and how it went
    Jobs,
    /// Whose connections end
    Users,
}

#[derive(ApiResponse)]
enum SnapshotResponse {
    #[oai(status = 200)]
    Ok(
        Raw<Snapshot>,
        /// The `cursor` of the body
        #[oai(header = "Rowcast-Cursor")]
        String,
        /// Of `data` alone: unchanged while the channel shows the same
        #[oai(header = "ETag")]
        String,
    ),
    /// The channel shows what `If-None-Match` names
    #[oai(status = 304)]
    NotModified(
        /// A newer cursor for the same content
        #[oai(header = "Rowcast-Cursor")]
        String,
        #[oai(header = "ETag")] String,
    ),
}

#[derive(ApiResponse)]
enum EventsResponse {
    #[oai(status = 200)]
    Ok(
        Raw<Events>,
        /// The `cursor` of the body
        #[oai(header = "Rowcast-Cursor")]
        String,
    ),
}

#[derive(ApiResponse)]
enum AcceptedResponse {
    /// Committed; subscribers get it in a moment
    #[oai(status = 202)]
    Accepted(Json<Accepted>),
}

const LIMIT_DEFAULT: u64 = 100;
const LIMIT_MAX: u64 = 1000;
/// Channels of which one query asks whether the caller may know of them.
const ASKED_AT_ONCE: usize = 1000;

#[OpenApi(tag = "Tag::Channels")]
impl Api {
    /// List channels
    ///
    /// The families that are defined (to strangers only where connection.open is set), and of the channels that somebody
    /// listens to on this instance those that the caller may listen to.
    #[oai(path = "/channels", method = "get")]
    async fn list(
        &self,
        caller: Data<&Caller>,
        /// Only names and patterns that begin so
        prefix: Query<Option<String>>,
        /// How many channels, 1 to 1000
        #[oai(default = "limit_default", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u64>,
        /// Only channels after this name: the `next` of the answer before
        after: Query<Option<String>>,
    ) -> Result<Json<Channels>, ApiError> {
        let parts = self.parts()?;
        let source = &parts.shared.source;
        let prefix = prefix.0.unwrap_or_default();
        // To strangers only where everything is shown to whoever looks.
        let told = parts.shared.config.open || !caller.identity.is_anonymous();
        let families = if told { source.families() } else { Vec::new() };
        let families = families.into_iter().filter(|f| f.pattern.starts_with(&*prefix)).map(|f| Family {
            pattern: f.pattern.to_string(),
            kind: Kind::of(f.state),
            has_view: f.has_view,
        });

        let mut live = parts.shared.hub.channels();
        live.retain(|(c, _)| {
            c.as_str().starts_with(&*prefix) && after.0.as_deref().is_none_or(|after| c.as_str() > after)
        });
        live.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let limit = limit.0.min(LIMIT_MAX) as usize;
        let (names, counts): (Vec<_>, Vec<_>) = live.into_iter().unzip();
        let mut admitted = Vec::new();
        for (names, counts) in names.chunks(ASKED_AT_ONCE).zip(counts.chunks(ASKED_AT_ONCE)) {
            let found = parts.shared.admission.listenable(&caller.identity, names).await;
            let places = found.iter().filter_map(|channel| names.binary_search(channel).ok());
            admitted.extend(places.map(|n| (names[n].clone(), counts[n])));
            if admitted.len() > limit {
                break;
            }
        }
        let more = admitted.len() > limit;
        admitted.truncate(limit);
        let next = more.then(|| admitted.last().map(|(c, _)| c.to_string())).flatten();
        let channels = admitted.into_iter().map(|(channel, subscribers)| {
            let family = source.family(&channel);
            LiveChannel {
                channel: channel.to_string(),
                pattern: family.pattern.to_string(),
                kind: Kind::of(family.state),
                subscribers: subscribers as u64,
            }
        });
        Ok(Json(Channels { families: families.collect(), channels: channels.collect(), next }))
    }

    /// What a channel is
    #[oai(path = "/channels/:channel", method = "get")]
    async fn channel(&self, caller: Data<&Caller>, channel: Path<String>) -> Result<Json<Channel>, ApiError> {
        let (parts, channel) = self.open(&channel.0, &caller.identity).await?;
        let family = parts.shared.source.family(&channel);
        let live = parts.shared.hub.channels();
        let subscribers = live.iter().find(|(c, _)| *c == channel).map_or(0, |(_, n)| *n as u64);
        Ok(Json(Channel {
            channel: channel.to_string(),
            pattern: family.pattern.to_string(),
            kind: Kind::of(family.state),
            has_view: family.has_view,
            subscribers,
        }))
    }

    /// What a channel shows
    ///
    /// The view's answer now; an empty list for an event channel without a view. A client that subscribes with the
    /// cursor gets exactly the events that this does not show.
    #[oai(path = "/channels/:channel/snapshot", method = "get")]
    async fn snapshot(
        &self,
        caller: Data<&Caller>,
        channel: Path<String>,
        /// The `ETag` of an answer before
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
    ) -> Result<SnapshotResponse, ApiError> {
        let (parts, channel) = self.open(&channel.0, &caller.identity).await?;
        let shared = &parts.shared;
        let (incarnation, _) = stands(shared)?;
        let reading = shared.read(&channel).await?;
        if stands(shared)?.0 != incarnation {
            // Which stream the reading belongs to cannot be said.
            return Err(not_ready());
        }
        let kind = Kind::of(shared.source.family(&channel).state);
        let cursor = Cursor { incarnation, position: Position::at(reading.snapshot) }.to_string();
        let etag = etag(&reading.data);
        if none_match(if_none_match.0.as_deref(), &etag) {
            return Ok(SnapshotResponse::NotModified(cursor, etag));
        }
        let mut text = Vec::with_capacity(reading.data.len() + 200);
        text.extend_from_slice(b"{\"channel\":");
        string(&mut text, channel.as_str());
        text.extend_from_slice(format!(",\"kind\":\"{}\",\"data\":", kind.as_str()).as_bytes());
        text.extend_from_slice(&reading.data);
        text.extend_from_slice(format!(",\"cursor\":\"{cursor}\"}}").as_bytes());
        Ok(SnapshotResponse::Ok(Raw::new(text), cursor, etag))
    }

    /// What happened on a channel
    ///
    /// The events of an event channel since a cursor, oldest first. Without a cursor: none, and the cursor of now.
    /// `410` with the code `cursor_expired` when the log no longer reaches back: read a snapshot.
    #[oai(path = "/channels/:channel/events", method = "get")]
    async fn events(
        &self,
        caller: Data<&Caller>,
        channel: Path<String>,
        /// From a snapshot, an event, or the answer before
        cursor: Query<Option<String>>,
        /// How many events, 1 to 1000
        #[oai(default = "limit_default", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u64>,
    ) -> Result<EventsResponse, ApiError> {
        let (parts, channel) = self.open(&channel.0, &caller.identity).await?;
        let shared = &parts.shared;
        if shared.source.family(&channel).state {
            let detail = "A state channel has only its present state: read its snapshot.";
            return Err(ApiError::new(ProblemCode::NotReplayable, detail));
        }
        let (incarnation, now) = stands(shared)?;
        let Some(cursor) = cursor.0.filter(|c| !c.is_empty()) else {
            let cursor = Cursor { incarnation, position: now }.to_string();
            return Ok(EventsResponse::Ok(Raw::new(page(&channel, &[], incarnation, &cursor, false)), cursor));
        };
        let from: Cursor = cursor.parse()?;
        if from.incarnation != incarnation {
            return Err(expired("The stream started anew since this cursor: read a snapshot."));
        }
        let Some(settled) = settled(shared, &now, &from.position).await? else {
            return Err(expired("This cursor is ahead of the database: read a snapshot."));
        };
        let upto = Position::at(settled);
        let limit = limit.0.min(LIMIT_MAX) as usize;
        let (events, more) = shared.replay(&channel, &from, &upto, limit).await??;
        let place = match events.last() {
            Some((_, position)) if more => position.clone(),
            _ => upto,
        };
        let cursor = Cursor { incarnation, position: place }.to_string();
        Ok(EventsResponse::Ok(Raw::new(page(&channel, &events, incarnation, &cursor, more)), cursor))
    }

    /// Send an event
    ///
    /// The same as `select rowcast.send(channel, event, data)`: it goes through the log, and reaches subscribers on
    /// every instance once it is committed.
    #[oai(path = "/channels/:channel/events", method = "post")]
    async fn publish(
        &self,
        request: &Request,
        caller: Data<&Caller>,
        channel: Path<String>,
        body: Raw<NewEvent>,
    ) -> Result<AcceptedResponse, ApiError> {
        let parts = self.parts()?;
        let channel = ChannelName::new(&channel.0)?;
        parts.shared.admission.may_publish(&caller.identity, &channel).await?;
        if !parts.publish {
            return Err(ApiError::new(ProblemCode::Forbidden, "Publishing over REST is switched off here."));
        }
        if let Some(arrival) = Arrival::of(request) {
            arrival.publish(caller.identity.user.as_deref())?;
        }
        let NewEventText { event, data } = serde_json::from_slice(&body.text).map_err(|e| match e.classify() {
            serde_json::error::Category::Data => ApiError::new(
                ProblemCode::Invalid,
                format!("The body is an object with 'event', a string, and 'data', any JSON: {e}."),
            ),
            _ => ApiError::new(ProblemCode::BadRequest, format!("The body is not JSON: {e}.")),
        })?;
        if event.is_empty() || event.len() > EVENT_BYTES_MAX || event.chars().any(char::is_control) {
            let detail = format!("'event' is 1 to {EVENT_BYTES_MAX} bytes without control characters.");
            return Err(ApiError::new(ProblemCode::Invalid, detail));
        }
        parts.database.send(channel.as_str(), &event, data.get()).await?;
        Ok(AcceptedResponse::Accepted(Json(Accepted { channel: channel.to_string(), event: event.into_owned() })))
    }
}

/// `NewEvent` with its data untouched.
#[derive(Deserialize)]
struct NewEventText<'a> {
    #[serde(borrow)]
    event: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl Api {
    fn parts(&self) -> Result<&Parts, ApiError> {
        self.0.as_ref().ok_or_else(not_ready)
    }

    async fn open(&self, channel: &str, identity: &Identity) -> Result<(&Parts, ChannelName), ApiError> {
        let parts = self.parts()?;
        let channel = ChannelName::new(channel)?;
        parts.shared.admission.may_listen(identity, &channel).await?;
        Ok((parts, channel))
    }
}

fn limit_default() -> u64 {
    LIMIT_DEFAULT
}

pub(super) fn stands(shared: &Shared) -> Result<(Incarnation, Position), ApiError> {
    shared.hub.position().ok_or_else(not_ready)
}

pub(super) fn not_ready() -> ApiError {
    ApiError::new(ProblemCode::NotReady, "The stream has not begun yet: try again in a moment.")
}

fn expired(detail: &str) -> ApiError {
    ApiError::new(ProblemCode::CursorExpired, detail)
}

fn page(
    channel: &ChannelName,
    events: &[(Message, Position)],
    incarnation: Incarnation,
    cursor: &str,
    more: bool,
) -> Vec<u8> {
    let mut text = Vec::new();
    text.extend_from_slice(b"{\"channel\":");
    string(&mut text, channel.as_str());
    text.extend_from_slice(b",\"events\":[");
    for (i, (message, position)) in events.iter().enumerate() {
        if i > 0 {
            text.push(b',');
        }
        text.extend_from_slice(b"{\"event\":");
        string(&mut text, &message.event);
        text.extend_from_slice(b",\"data\":");
        text.extend_from_slice(if message.data.is_empty() { b"null" } else { &message.data });
        let at = crate::protocol::native::time(message.at_us);
        let at_cursor = Cursor { incarnation, position: position.clone() };
        text.extend_from_slice(format!(",\"at\":\"{at}\",\"cursor\":\"{at_cursor}\"}}").as_bytes());
    }
    text.extend_from_slice(format!("],\"cursor\":\"{cursor}\",\"more\":{more}}}").as_bytes());
    text
}

fn string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string is written to memory");
}
