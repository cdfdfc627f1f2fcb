//! poem's half of a connection: its bytes, encrypted or not, and how much patience we have with the other end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use crate::connection::{Held, Limit};

use super::acceptor::{Registry, Socket};
use super::limits::{Limits, refusal};

/// Bounds on what one peer may make us wait for, or read, before there is a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub header_timeout: Duration,
    pub idle_timeout: Duration,
    pub write_stall_timeout: Duration,
    pub header_bytes_max: usize,
}

pub(super) struct RawIo {
    stream: Stream,
    socket: Arc<Socket>,
    number: u64,
    registry: Arc<Registry>,
    limits: Arc<Limits>,
    clock: Clock,
    stall: Option<Pin<Box<Sleep>>>,
    given_up: bool,
    /// Bytes since the last response: headers, and what of a body came with them.
    header_bytes: usize,
    /// Until there is a request: its place among those that have none.
    handshake: Option<Held>,
    patience: Patience,
}

enum Stream {
    Plain(Half),
    Shaking(Box<Accept<Half>>),
    Encrypted(Box<TlsStream<Half>>),
    Broken,
}

/// Runs while no request is being answered: a client that dribbles its headers, or says nothing more, is cut off.
struct Clock {
    sleep: Pin<Box<Sleep>>,
    running: bool,
}

impl Clock {
    fn poll_expired(&mut self, busy: bool, idle_timeout: Duration, cx: &mut Context<'_>) -> bool {
        if busy {
            self.running = false;
            return false;
        }
        if !self.running {
            self.running = true;
            self.sleep.as_mut().reset(Instant::now() + idle_timeout);
        }
        self.sleep.as_mut().poll(cx).is_ready()
    }
}

impl RawIo {
    pub fn new(
        socket: Arc<Socket>,
        number: u64,
        registry: Arc<Registry>,
        tls: Option<TlsAcceptor>,
        patience: Patience,
        (limits, handshake): (Arc<Limits>, Held),
    ) -> Self {
        let half = Half(socket.clone());
        Self {
            stream: match tls {
                Some(tls) => Stream::Shaking(Box::new(tls.accept(half))),
                None => Stream::Plain(half),
            },
            socket,
            number,
            registry,
            limits,
            clock: Clock { sleep: Box::pin(sleep(patience.header_timeout)), running: true },
            stall: None,
            given_up: false,
            header_bytes: 0,
            handshake: Some(handshake),
            patience,
        }
    }

    /// The last word to a peer that will hear no other.
    fn cut(&mut self, limit: Limit, cx: &mut Context<'_>) -> io::Error {
        self.limits.count(limit);
        // Only what the kernel takes at once; TLS may hold back what it was given, so it is asked to flush.
        let _ = self.stream.poll_write(cx, &refusal(limit).into_bytes());
        let _ = self.stream.poll_flush(cx);
        io::ErrorKind::TimedOut.into()
    }

    /// Nothing moves: for how long?
    fn stalled<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let timeout = self.patience.write_stall_timeout;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(stall.as_mut().poll(cx));
        // poem asks once more after the first error.
        if !std::mem::replace(&mut self.given_up, true) {
            self.limits.count(Limit::WriteStall);
            tracing::debug!("http.write: the client takes nothing");
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Drop for RawIo {
    fn drop(&mut self) {
        self.registry.forget(self.number);
    }
}

impl AsyncRead for RawIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let busy = this.socket.is_busy();
        if busy {
            this.header_bytes = 0;
        }
        if this.clock.poll_expired(busy, this.patience.idle_timeout, cx) {
            // One that has said nothing needs no answer: it may be a spare connection of a browser.
            let error = match this.header_bytes {
                0 if this.handshake.is_none() => io::ErrorKind::TimedOut.into(),
                _ => this.cut(Limit::HeaderTime, cx),
            };
            return Poll::Ready(Err(error));
        }
        if busy {
            let before = buf.filled().len();
            let read = ready!(this.stream.poll_read(cx, buf));
            if read.is_err() || buf.filled().len() == before {
                this.socket.leave();
            }
            return Poll::Ready(read);
        }
        let room = this.patience.header_bytes_max.saturating_sub(this.header_bytes);
        if room == 0 {
            return Poll::Ready(Err(this.cut(Limit::HeaderBytes, cx)));
        }
        let room = room.min(buf.remaining());
        let mut some = ReadBuf::new(buf.initialize_unfilled_to(room));
        ready!(this.stream.poll_read(cx, &mut some))?;
        let n = some.filled().len();
        buf.advance(n);
        this.header_bytes += n;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for RawIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        // There is an answer, so there was a request; the next one begins anew.
        this.handshake = None;
        this.header_bytes = 0;
        this.clock.running = false;
        match this.stream.poll_write(cx, buf) {
            Poll::Ready(result) => {
                this.stall = None;
                Poll::Ready(result)
            }
            Poll::Pending => this.stalled(cx),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match this.stream.poll_flush(cx) {
            Poll::Ready(result) => {
                this.stall = None;
                Poll::Ready(result)
            }
            Poll::Pending => this.stalled(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match this.stream.poll_shutdown(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => this.stalled(cx),
        }
    }
}

impl Stream {
    /// Through with the TLS handshake, if there is one.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Stream::Shaking(accept) = self {
            match ready!(Pin::new(accept).poll(cx)) {
                Ok(stream) => *self = Stream::Encrypted(Box::new(stream)),
                Err(error) => {
                    tracing::debug!(%error, "http.tls: the handshake failed");
                    *self = Stream::Broken;
                }
            }
        }
        match self {
            Stream::Broken => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_ready(cx))?;
        match self {
            Stream::Plain(half) => Pin::new(half).poll_read(cx, buf),
            Stream::Encrypted(tls) => Pin::new(tls).poll_read(cx, buf),
            Stream::Shaking(_) | Stream::Broken => unreachable!("poll_ready was ready, and right"),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_ready(cx))?;
        match self {
            Stream::Plain(half) => Pin::new(half).poll_write(cx, buf),
            Stream::Encrypted(tls) => Pin::new(tls).poll_write(cx, buf),
            Stream::Shaking(_) | Stream::Broken => unreachable!("poll_ready was ready, and right"),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Encrypted(tls) => Pin::new(tls).poll_flush(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Plain(half) => Pin::new(half).poll_shutdown(cx),
            Stream::Encrypted(tls) => Pin::new(tls).poll_shutdown(cx),
            Stream::Shaking(_) | Stream::Broken => Poll::Ready(Ok(())),
        }
    }
}

/// The socket's bytes as they are.
struct Half(Arc<Socket>);

impl AsyncRead for Half {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.tcp.poll_read_ready(cx))?;
            match self.0.tcp.try_read(buf.initialize_unfilled()) {
                Ok(n) => {
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl AsyncWrite for Half {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.tcp.poll_write_ready(cx))?;
            match self.0.tcp.try_write(buf) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&self.0.tcp).shutdown(std::net::Shutdown::Write))
    }
}
