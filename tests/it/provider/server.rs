//! An HTTP server that answers with exactly the bytes it is given, broken ones included.

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub enum Reply {
    /// These bytes, then the end of the connection.
    Bytes(Vec<u8>),
    /// These bytes, and then nothing for as long as the client waits.
    Stalled(Vec<u8>),
    /// These bytes, and then more and more until the client has had enough.
    Endless(Vec<u8>),
}

pub struct Server {
    pub url: String,
    seen: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// `answer` gets the head of a request, as it came.
    pub async fn new(answer: impl Fn(String) -> BoxFuture<'static, Reply> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, noted) = (Arc::new(answer), seen.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, noted) = (answer.clone(), noted.clone());
                tokio::spawn(async move {
                    // A client that went away is part of some tests.
                    let _ = serve(stream, &*answer, &noted).await;
                });
            }
        });
        Self { url, seen, task }
    }

    /// The same bytes for everybody.
    pub async fn saying(bytes: Vec<u8>) -> Self {
        Self::new(move |_| {
            let bytes = bytes.clone();
            Box::pin(async move { Reply::Bytes(bytes) })
        })
        .await
    }

    /// One after another; the last for ever.
    pub async fn script(replies: Vec<Vec<u8>>) -> Self {
        let turn = std::sync::atomic::AtomicUsize::new(0);
        Self::new(move |_| {
            let turn = turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst).min(replies.len() - 1);
            let bytes = replies[turn].clone();
            Box::pin(async move { Reply::Bytes(bytes) })
        })
        .await
    }

    /// The heads of all requests so far.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no test panics here").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn http(status: u16, headers: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut bytes = format!("HTTP/1.1 {status} Whatever\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    headers.iter().for_each(|h| bytes.push_str(&format!("{h}\r\n")));
    [bytes.as_bytes(), b"\r\n", body].concat()
}

async fn serve(
    mut stream: TcpStream,
    answer: &(impl Fn(String) -> BoxFuture<'static, Reply> + Send + Sync),
    noted: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(e) => return Err(e),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    noted.lock().expect("no test panics here").push(head.clone());
    match answer(head).await {
        Reply::Bytes(bytes) => stream.write_all(&bytes).await?,
        Reply::Stalled(bytes) => {
            stream.write_all(&bytes).await?;
            let _ = stream.read_u8().await;
        }
        Reply::Endless(bytes) => {
            stream.write_all(&bytes).await?;
            loop {
                stream.write_all(&[b' '; 4096]).await?;
            }
        }
    }
    stream.shutdown().await
}
