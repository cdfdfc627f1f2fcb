//! `GET /sse`: the native dialect as an event stream.

use std::io;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use poem::http::header;
use poem::{Body, Endpoint, Request, Response};

use crate::connection::{Shared, Visit, sse};
use crate::domain::{Caller, ChannelName, Cursor, Identity};

use super::acceptor::Registry;
use super::identify::caller;
use super::limits::{Admitted, Arrival};
use super::problem::{ApiError, ProblemCode};

pub(super) struct EventStream {
    pub shared: Arc<Shared>,
    pub registry: Arc<Registry>,
}

impl Endpoint for EventStream {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        Ok(match self.answer(&request).await {
            Ok(response) => response,
            Err(error) => error.into_response(),
        })
    }
}

impl EventStream {
    async fn answer(&self, request: &Request) -> Result<Response, ApiError> {
        let pairs = request
            .params::<Vec<(String, String)>>()
            .map_err(|_| ApiError::new(ProblemCode::BadRequest, "The query was not understood."))?;
        let caller = caller(request);
        let user = caller.identity.user.as_deref();
        let Admitted { kept: places, user: place } =
            Arrival::of(request).map(|a| a.admit(request, user)).transpose()?.unwrap_or_default();
        let channels = self.channels(&pairs, &caller.identity).await?;
        let cursor = cursor(request, &pairs)?;
        let Caller { identity, credential, mark } = caller;
        let visit = Visit { identity, credential, mark, place, ..Visit::default() };
        let kept = (self.registry.busy(request), places);
        let socket = self.registry.of(request);
        let left = async move {
            match socket {
                Some(socket) => socket.left().await,
                None => std::future::pending().await,
            }
        };
        let stream = sse::open(&self.shared, channels, cursor, &visit).take_until(Box::pin(left)).map(move |bytes| {
            // As long as it streams, the connection is not idle, and its places are taken.
            let _kept = &kept;
            Ok::<_, io::Error>(bytes)
        });
        Ok(Response::builder()
            .content_type("text/event-stream")
            .header(header::CACHE_CONTROL, "no-store")
            // nginx would collect the stream into pages.
            .header("x-accel-buffering", "no")
            .body(Body::from_bytes_stream(stream)))
    }

    async fn channels(&self, pairs: &[(String, String)], identity: &Identity) -> Result<Vec<ChannelName>, ApiError> {
        let mut channels: Vec<ChannelName> = Vec::new();
        for (_, name) in pairs.iter().filter(|(key, _)| key == "channel") {
            if name.len() > self.shared.channel_bytes_max() {
                let max = self.shared.channel_bytes_max();
                return Err(ApiError::new(ProblemCode::BadChannel, format!("A name may be {max} bytes long here.")));
            }
            let channel = ChannelName::new(name)?;
            if !channels.contains(&channel) {
                channels.push(channel);
            }
            let max = self.shared.config.subscriptions_per_connection_max;
            if channels.len() > max {
                let detail = format!("One stream may have {max} channels: open several.");
                return Err(ApiError::new(ProblemCode::TooManySubscriptions, detail));
            }
        }
        if channels.is_empty() {
            return Err(ApiError::new(ProblemCode::BadChannel, "Say which: /sse?channel=NAME, once for each."));
        }
        try_join_all(channels.iter().map(|channel| self.shared.admission.may_listen(identity, channel))).await?;
        Ok(channels)
    }
}

/// The header counts before the query: an EventSource that connects again sends it with the address it began with.
fn cursor(request: &Request, pairs: &[(String, String)]) -> Result<Option<Cursor>, ApiError> {
    let header = request.header("last-event-id").map(str::trim).filter(|id| !id.is_empty());
    let query = pairs.iter().find(|(key, _)| key == "cursor").map(|(_, c)| &**c).filter(|c| !c.is_empty());
    Ok(header.or(query).map(str::parse).transpose()?)
}
