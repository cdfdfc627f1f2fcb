use std::collections::HashMap;
use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::patiently;

pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A WebSocket client whose every wait is bounded.
pub struct Client {
    socket: WebSocketStream<Box<dyn Io>>,
    pub response: Response,
}

/// A text message, as JSON and as it came: `value` rounds numbers, `raw` does not.
#[derive(Clone, Debug)]
pub struct Frame {
    pub value: Value,
    pub raw: String,
}

/// The peer's last word: the code of its close frame, 1005 for one without, 1006 where none came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    pub code: u16,
    pub reason: String,
}

impl Frame {
    /// The exact text of a member.
    pub fn raw_of(&self, member: &str) -> String {
        let members: HashMap<String, &RawValue> = serde_json::from_str(&self.raw).expect("a frame is an object");
        members.get(member).unwrap_or_else(|| panic!("no {member} in {}", self.raw)).get().to_owned()
    }

    /// A member that must be a string: `frame.str_of("cursor")`.
    pub fn str_of(&self, member: &str) -> &str {
        self.value[member].as_str().unwrap_or_else(|| panic!("no text {member} in {}", self.raw))
    }
}

impl std::ops::Index<&str> for Frame {
    type Output = Value;

    fn index(&self, member: &str) -> &Value {
        &self.value[member]
    }
}

impl Client {
    /// `ws://127.0.0.1:port/path`
    pub async fn connect(url: &str) -> Self {
        Self::try_connect(url).await.unwrap_or_else(|e| panic!("{url}: {e}"))
    }

    /// A handshake that may be refused: `Error::Http` holds the answer.
    pub async fn try_connect(url: impl IntoClientRequest) -> Result<Self, Error> {
        let request = url.into_client_request()?;
        let (host, port) = (request.uri().host().unwrap_or_default(), request.uri().port_u16().unwrap_or(80));
        let addr: SocketAddr = format!("{host}:{port}").parse().expect("tests connect to an address and port");
        let tcp = patiently("a TCP connection", TcpStream::connect(addr)).await?;
        tcp.set_nodelay(true)?;
        Self::over(tcp, request).await
    }

    /// Over a stream of one's own: TLS, a unix socket, a tiny receive buffer.
    pub async fn over(io: impl Io + 'static, request: impl IntoClientRequest + Unpin) -> Result<Self, Error> {
        let io: Box<dyn Io> = Box::new(io);
        let handshake = tokio_tungstenite::client_async(request, io);
        let (socket, response) = patiently("the WebSocket handshake", handshake).await?;
        Ok(Self { socket, response })
    }

    pub async fn send(&mut self, frame: Value) {
        self.send_message(Message::text(frame.to_string())).await;
    }

    pub async fn send_message(&mut self, message: Message) {
        patiently("room to send", self.socket.send(message)).await.expect("the server still reads");
    }

    /// Past the WebSocket library, onto the socket.
    pub async fn send_raw_bytes(&mut self, bytes: &[u8]) {
        let io = self.socket.get_mut();
        let sent = async {
            io.write_all(bytes).await?;
            io.flush().await
        };
        patiently("room to send", sent).await.expect("the server still reads");
    }

    /// A text message that may come too late.
    pub async fn send_raw(&mut self, text: String) {
        let _ = patiently("room to send", self.socket.send(Message::text(text))).await;
    }

    /// The same short text many times, until each was answered, or the connection ends: with the code of its close
    /// frame.
    pub async fn flood(mut self, text: &str, times: usize) -> Option<u16> {
        const CLOSE: u8 = 0x88; // no byte of a JSON frame
        let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).expect("short"), 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        let all = frame.repeat(times);
        let (mut reading, mut writing) = tokio::io::split(self.socket.get_mut());
        let heard = async {
            let mut piece = [0; 16 * 1024];
            let mut answers = 0;
            while answers < times {
                let n = reading.read(&mut piece).await.ok().filter(|n| *n > 0)?;
                answers += piece[..n].iter().filter(|b| **b == b'{').count();
                if let Some(at) = piece[..n].iter().position(|b| *b == CLOSE) {
                    return Some(u16::from_be_bytes([*piece.get(at + 2)?, *piece.get(at + 3)?]));
                }
            }
            None
        };
        // Whether it could all be said does not matter: it may have been cut off.
        let said = async { drop(writing.write_all(&all).await) };
        tokio::join!(heard, said).0
    }

    /// The next text message; pings are answered on the way.
    pub async fn next(&mut self) -> Frame {
        match self.next_or_close().await {
            Ok(frame) => frame,
            Err(closed) => panic!("closed instead of a frame: {closed:?}"),
        }
    }

    /// The next message but heartbeats, which must have this `type`.
    pub async fn next_of(&mut self, kind: &str) -> Frame {
        loop {
            let frame = self.next().await;
            if frame["type"] == kind {
                return frame;
            }
            assert_eq!(frame["type"], "heartbeat", "instead of {kind}: {}", frame.raw);
        }
    }

    /// Passes over whatever comes before the next message of this `type`.
    pub async fn skip_to(&mut self, kind: &str) -> Frame {
        let found = async {
            loop {
                let frame = self.next().await;
                if frame["type"] == kind {
                    return frame;
                }
            }
        };
        patiently(kind, found).await
    }

    /// Passes over frames until the connection ends.
    pub async fn expect_close(&mut self) -> Closed {
        let ended = async {
            loop {
                if let Err(closed) = self.next_or_close().await {
                    return closed;
                }
            }
        };
        patiently("the connection's end", ended).await
    }

    pub async fn next_or_close(&mut self) -> Result<Frame, Closed> {
        loop {
            match self.next_message().await {
                Ok(Message::Text(text)) => {
                    let raw = text.to_string();
                    let value = serde_json::from_str(&raw).unwrap_or_else(|e| panic!("{e} in {raw:?}"));
                    return Ok(Frame { value, raw });
                }
                Ok(Message::Close(Some(f))) => {
                    return Err(Closed { code: f.code.into(), reason: f.reason.to_string() });
                }
                Ok(Message::Close(None)) => return Err(Closed { code: 1005, reason: String::new() }),
                Ok(_) => {}
                Err(e) => return Err(Closed { code: 1006, reason: e.to_string() }),
            }
        }
    }

    /// Anything, control frames included. `Err`: the connection ended without a close frame.
    pub async fn next_message(&mut self) -> Result<Message, Error> {
        patiently("a frame", self.socket.next()).await.unwrap_or(Err(Error::ConnectionClosed))
    }

    /// Closes properly and waits for the answer.
    pub async fn close(mut self) {
        let _ = self.socket.close(None).await;
        self.expect_close().await;
    }
}
