//! A subscription's frames, whichever way they come.

use serde_json::Value;

use super::follower::subscribe;
use crate::client::sse::Blocks;
use crate::client::ws::Socket;

pub enum Stream {
    WebSocket(Box<Socket>),
    Sse(Blocks),
}

/// The connection is no good any more.
#[derive(Debug)]
pub struct Lost;

impl Stream {
    pub async fn open(authority: &str, channel: &str, cursor: Option<&str>, sse: bool) -> Result<Self, Lost> {
        if !sse {
            let mut socket = Socket::connect(authority, "/ws").await.map_err(|_| Lost)?;
            socket.send(&subscribe(channel, cursor)).await.map_err(|_| Lost)?;
            return Ok(Self::WebSocket(Box::new(socket)));
        }
        let client = reqwest::Client::builder().no_proxy().build().map_err(|_| Lost)?;
        let mut request = client.get(format!("http://{authority}/sse?channel={}", channel.replace(':', "%3A")));
        if let Some(cursor) = cursor {
            request = request.header("last-event-id", cursor);
        }
        let response = request.send().await.map_err(|_| Lost)?;
        if !response.status().is_success() {
            return Err(Lost);
        }
        Ok(Self::Sse(Blocks::new(response)))
    }

    /// The next frame; a heartbeat of an event stream looks like one of a WebSocket.
    pub async fn next(&mut self) -> Result<Value, Lost> {
        match self {
            Self::WebSocket(socket) => socket.next().await.map_err(|_| Lost),
            Self::Sse(blocks) => loop {
                let block = blocks.next().await.map_err(|_| Lost)?.ok_or(Lost)?;
                match (block.id, block.data) {
                    (Some(id), None) => return Ok(serde_json::json!({"type": "heartbeat", "cursor": id})),
                    (_, Some(data)) => return serde_json::from_str(&data).map_err(|_| Lost),
                    (None, None) => {}
                }
            },
        }
    }
}
