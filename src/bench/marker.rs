//! A wait until the server has read everything: what it has still to do after one measurement is not charged to the
//! next.

use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_postgres::Client;

use super::BenchError;
use super::ground::{Ground, PATIENCE};
use super::server::Server;
use crate::client::ws::{Socket, SocketError};

pub struct Marker {
    client: Client,
    /// The number of the last mark.
    ears: Mutex<(Socket, i64)>,
}

impl Marker {
    pub async fn new(ground: &Ground, server: &Server) -> Result<Self, BenchError> {
        let socket = subscribed(server.authority(), "bench_mark").await?;
        Ok(Self { client: ground.connect().await?, ears: Mutex::new((socket, 0)) })
    }

    /// What was committed before this call has been dispatched when it returns.
    pub async fn settle(&self) -> Result<(), BenchError> {
        let (socket, last) = &mut *self.ears.lock().await;
        *last += 1;
        self.client.execute(include_str!("../../sql/bench/mark.sql"), &[&*last]).await?;
        let heard = async {
            loop {
                let frame = socket.next().await.map_err(failed)?;
                if frame["type"] == "event" && frame["data"] == *last {
                    return Ok(());
                }
            }
        };
        // A machine that is far behind after a bulk load.
        let within = PATIENCE * 4;
        timeout(within, heard).await.unwrap_or(Err(BenchError::Missing {
            missing: 1,
            expected: 1,
            within_s: within.as_secs(),
        }))
    }
}

/// A socket that is live on a channel.
pub async fn subscribed(authority: &str, channel: &str) -> Result<Socket, BenchError> {
    let begun = async {
        let mut socket = Socket::connect(authority, "/ws").await.map_err(failed)?;
        socket.send(&json!({"type": "subscribe", "channel": channel})).await.map_err(failed)?;
        loop {
            let frame = socket.next().await.map_err(failed)?;
            match frame["type"].as_str() {
                Some("snapshot") => return Ok(socket),
                Some("error") => return Err(BenchError::Client(frame["message"].to_string())),
                _ => {}
            }
        }
    };
    timeout(PATIENCE, begun).await.unwrap_or_else(|_| Err(BenchError::Client("no answer in time".into())))
}

pub fn failed(error: SocketError) -> BenchError {
    BenchError::Client(error.to_string())
}
