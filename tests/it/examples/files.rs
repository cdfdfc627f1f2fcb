//! As much of a web server for static files as a page and its modules need.

use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Ends when dropped.
pub struct Files {
    pub url: String,
    task: JoinHandle<()>,
}

impl Files {
    /// The first of `roots` that has a file serves it.
    pub async fn serve(roots: Vec<PathBuf>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(answer(socket, roots.clone()));
            }
        });
        Self { url, task }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut socket: TcpStream, roots: Vec<PathBuf>) -> Option<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        if socket.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
    let line = String::from_utf8_lossy(&request);
    let path = line.split([' ', '?']).nth(1)?.trim_start_matches('/').to_owned();
    let path = if path.is_empty() || path.ends_with('/') { path + "index.html" } else { path };
    // Ours alone ask, but a test's server has no business above its roots either.
    let found = roots.iter().map(|root| root.join(&path)).find(|p| p.is_file() && !path.contains(".."));
    let (status, body) = match found {
        Some(file) => ("200 OK", std::fs::read(file).ok()?),
        // Browsers ask for an icon.
        None => ("404 Not Found", Vec::new()),
    };
    let kind = match Path::new(&path).extension().and_then(|e| e.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript",
        _ => "application/octet-stream",
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).await.ok()?;
    socket.write_all(&body).await.ok()?;
    socket.shutdown().await.ok()
}
