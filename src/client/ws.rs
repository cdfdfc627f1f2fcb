//! A WebSocket of the native dialect, as a client holds it: JSON out, JSON in.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Far above what a server sends: a message is bounded there.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// It grows with the messages; thousands of clients in one process have one each.
const READ_BUFFER_BYTES: usize = 8 << 10;

#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("the connection is gone: {0}")]
    Lost(String),
    /// The server said why.
    #[error("closed with {code}: {reason}")]
    Closed { code: u16, reason: String },
}

pub struct Socket {
    stream: WebSocketStream<TcpStream>,
}

impl Socket {
    /// `authority` is `host:port`; a loopback or local network, without TLS.
    pub async fn connect(authority: &str, path: &str) -> Result<Self, SocketError> {
        let tcp = TcpStream::connect(authority).await.map_err(lost)?;
        tcp.set_nodelay(true).map_err(lost)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let url = format!("ws://{authority}{path}");
        let (stream, _) = tokio_tungstenite::client_async_with_config(url, tcp, Some(config)).await.map_err(lost)?;
        Ok(Self { stream })
    }

    pub async fn send(&mut self, frame: &Value) -> Result<(), SocketError> {
        self.stream.send(Message::text(frame.to_string())).await.map_err(lost)
    }

    /// The next frame; pings are answered on the way.
    pub async fn next(&mut self) -> Result<Value, SocketError> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).map_err(lost),
                Some(Ok(Message::Close(frame))) => {
                    let (code, reason) = frame.map_or((1005, String::new()), |f| (f.code.into(), f.reason.to_string()));
                    return Err(SocketError::Closed { code, reason });
                }
                Some(Ok(_)) => {}
                Some(Err(e)) => return Err(lost(e)),
                None => return Err(lost(Error::ConnectionClosed)),
            }
        }
    }
}

fn lost(error: impl std::fmt::Display) -> SocketError {
    SocketError::Lost(error.to_string())
}
