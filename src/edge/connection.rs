//! One accepted connection, between the socket and pingora's sessions.
//!
//! Pingora's own handling leaves gaps that are closed here: it waits without a deadline for 24 bytes to
//! tell HTTP/2 from HTTP/1.1, which a short request never sends; it does not tell whether a header has begun
//! to arrive; its write buffer copies large bodies and keeps the last of a slow one until the body has
//! ended; and it writes the time of sending into every `Date`, also of a response that a cache has stored.
//!
//! Invariant: bytes pass in order and, but for the date of a response that was given one, unchanged. Knows nothing of
//! HTTP beyond HTTP/2's preface and where HTTP/1.1's `Date` stands. (On HTTP/2 the date is pingora's: it has been
//! encoded before it comes here, and pingora leaves no other way.)

use super::config::Config;
use super::date::{Date, position_of_date};
use crate::base::metrics::{Metrics, Protocol};
use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use pingora_core::apps::{HttpServerApp, ServerApp};
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::{SslDigest, TlsRef};
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use pingora_core::server::ShutdownWatch;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// RFC 9113 section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Smaller writes wait for what follows; a larger one takes along what waits.
const TOGETHER_BYTES: usize = 4 << 10;

/// What may wait to be sent.
const PENDING_BYTES_MAX: usize = 16 << 10;

/// Puts a [`Connection`] around every stream before HTTP sees it.
pub(crate) struct Front<A> {
    http: Arc<A>,
    /// How long a new connection may stay silent.
    idle: Duration,
    /// One permit for each connection that may be open.
    places: Arc<Semaphore>,
    connections: TaskTracker,
    metrics: Arc<Metrics>,
}

impl<A> Front<A> {
    /// Every open connection holds a token of `connections`.
    pub(crate) fn new(http: A, config: &Config, connections: TaskTracker, metrics: Arc<Metrics>) -> Self {
        let idle = config.keepalive_idle.get();
        let places = Arc::new(Semaphore::new(config.connections_max));
        Front {
            http: Arc::new(http),
            idle,
            places,
            connections,
            metrics,
        }
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for Front<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            self.metrics.connections_refused.inc();
            return None;
        };
        self.metrics.connections.inc();
        if let Some(protocol) = protocol_of_tls(&stream) {
            self.metrics.connections_by_protocol[protocol].inc();
        }
        let connection = Connection {
            stream,
            peeked: BytesMut::new(),
            pending: BytesMut::new(),
            flow: Arc::default(),
            idle: self.idle,
            _place: place,
            _token: self.connections.token(),
            metrics: self.metrics.clone(),
        };
        self.http.process_new(Box::new(connection), shutdown).await
    }
}

#[derive(Debug)]
struct Connection {
    stream: Stream,
    /// Read already, and still to be handed out.
    peeked: BytesMut,
    /// Written already, and still to be sent.
    pending: BytesMut,
    flow: Arc<Flow>,
    idle: Duration,
    _place: OwnedSemaphorePermit,
    _token: TaskTrackerToken,
    metrics: Arc<Metrics>,
}

/// As the handshake settled it; `None` in clear text, where the first bytes tell.
fn protocol_of_tls(stream: &Stream) -> Option<Protocol> {
    stream.get_ssl_digest()?;
    Some(match stream.selected_alpn_proto() {
        Some(ALPN::H2) => Protocol::Http2Tls,
        _ => Protocol::Http1Tls,
    })
}

/// What passes over a connection, seen from outside the session that owns it.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    received: AtomicU64,
    prompt: AtomicBool,
    broken: AtomicBool,
    /// Whether `date` holds one.
    is_dated: AtomicBool,
    date: Mutex<Option<Date>>,
}

impl Flow {
    /// Of the connection below `stream`, where it is one of ours.
    pub(crate) fn of(stream: &Stream) -> Option<&Arc<Flow>> {
        (**stream)
            .as_any()
            .downcast_ref::<Connection>()
            .map(|connection| &connection.flow)
    }

    /// Bytes handed to the session so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// From here on what is written goes out at once, not with what follows.
    pub(crate) fn write_promptly(&self) {
        self.prompt.store(true, Ordering::Relaxed);
    }

    /// From here on what is written may wait to go out with what follows.
    pub(crate) fn write_together(&self) {
        self.prompt.store(false, Ordering::Relaxed);
    }

    /// From here on nothing is written any more, not even what waits to be sent.
    pub(crate) fn break_off(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// The next response's header says this date, or the session's own.
    pub(crate) fn date_next(&self, date: Option<Date>) {
        if date.is_some() || self.is_dated.load(Ordering::Relaxed) {
            self.is_dated.store(date.is_some(), Ordering::Relaxed);
            *self.date.lock() = date;
        }
    }

    fn take_date(&self) -> Option<Date> {
        self.is_dated.store(false, Ordering::Relaxed);
        self.date.lock().take()
    }
}

impl Connection {
    /// Writes what is pending and, in the same system call, of `buffer`: a large body is not copied to join
    /// its header.
    fn poll_write_after_pending(
        &mut self,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.pending.is_empty() || !self.stream.is_write_vectored() {
            ready!(self.poll_write_pending(context))?;
            return Pin::new(&mut self.stream).poll_write(context, buffer);
        }
        let both = [io::IoSlice::new(&self.pending), io::IoSlice::new(buffer)];
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, &both))?;
        let of_pending = written.min(self.pending.len());
        self.pending.advance(of_pending);
        match written - of_pending {
            // Nothing of the buffer has gone out, and zero would mean a closed connection.
            0 => self.poll_write_after_pending(context, buffer),
            of_buffer => Poll::Ready(Ok(of_buffer)),
        }
    }

    /// Takes the beginning of a response's header, up to its date, with the date that is due; nothing where that is
    /// not what `buffer` is. The rest of the header and the body pass as always.
    fn poll_take_dated(
        &mut self,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<Option<usize>>> {
        let Some(before) = position_of_date(buffer) else {
            return Poll::Ready(Ok(None));
        };
        let taken = before + Date::BYTES;
        if self.pending.len() + taken > PENDING_BYTES_MAX {
            ready!(self.poll_write_pending(context))?;
        }
        let Some(date) = self.flow.take_date() else {
            return Poll::Ready(Ok(None));
        };
        self.pending.extend_from_slice(&buffer[..before]);
        self.pending.extend_from_slice(date.as_bytes());
        Poll::Ready(Ok(Some(taken)))
    }

    fn check_unbroken(&self) -> io::Result<()> {
        if self.flow.broken.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    fn poll_write_pending(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(context, &self.pending))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.pending.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads until the bytes are HTTP/2's preface or can not become it.
    async fn peek_preface(&mut self, preface_bytes: usize) -> io::Result<()> {
        while self.peeked.len() < preface_bytes && PREFACE.starts_with(&self.peeked) {
            if self.stream.read_buf(&mut self.peeked).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Peek for Connection {
    /// Leaves zeroes where fewer bytes than asked for settle the matter. Asked once for each connection in clear text.
    async fn try_peek(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        timeout(self.idle, self.peek_preface(buffer.len()))
            .await
            .map_err(io::Error::from)??;
        let seen = self.peeked.len().min(buffer.len());
        buffer[..seen].copy_from_slice(&self.peeked[..seen]);
        let protocol = match *buffer == *PREFACE {
            true => Protocol::Http2,
            false => Protocol::Http1,
        };
        self.metrics.connections_by_protocol[protocol].inc();
        Ok(true)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if self.peeked.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        } else {
            let length = self.peeked.len().min(buffer.remaining());
            buffer.put_slice(&self.peeked[..length]);
            self.peeked.advance(length);
        }
        let read = buffer.filled().len() - before;
        self.flow.received.fetch_add(read as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_unbroken()?;
        if self.flow.is_dated.load(Ordering::Relaxed)
            && let Some(taken) = ready!(self.poll_take_dated(context, buffer))?
        {
            return Poll::Ready(Ok(taken));
        }
        let prompt = self.flow.prompt.load(Ordering::Relaxed);
        let fits = buffer.len() < TOGETHER_BYTES && self.pending.len() + buffer.len() <= PENDING_BYTES_MAX;
        if fits && !prompt {
            self.pending.extend_from_slice(buffer);
            return Poll::Ready(Ok(buffer.len()));
        }
        let written = ready!(self.poll_write_after_pending(context, buffer))?;
        if prompt && let Poll::Ready(Err(error)) = Pin::new(&mut self.stream).poll_flush(context) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_unbroken()?;
        ready!(self.poll_write_pending(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.check_unbroken().is_ok() {
            ready!(self.poll_write_pending(context))?;
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}

#[async_trait]
impl Shutdown for Connection {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl UniqueID for Connection {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl Ssl for Connection {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.stream.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl GetTimingDigest for Connection {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }
}

impl GetProxyDigest for Connection {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }
}

impl GetSocketDigest for Connection {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.stream.set_socket_digest(digest);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    fn connection(buffer_bytes: usize) -> (Connection, DuplexStream) {
        let (ours, theirs) = duplex(buffer_bytes);
        let metrics = Arc::new(Metrics::new());
        metrics.connections.inc();
        let connection = Connection {
            stream: Box::new(ours),
            peeked: BytesMut::new(),
            pending: BytesMut::new(),
            flow: Arc::default(),
            idle: Duration::from_secs(5),
            _place: Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap(),
            _token: TaskTracker::new().token(),
            metrics,
        };
        (connection, theirs)
    }

    /// A connection as a session takes it, and the client's end of it.
    pub(in crate::edge) fn stream(buffer_bytes: usize) -> (Stream, DuplexStream) {
        let (connection, theirs) = connection(buffer_bytes);
        (Box::new(connection), theirs)
    }

    async fn received(mut theirs: DuplexStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        theirs.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    #[tokio::test]
    async fn a_request_shorter_than_the_preface_is_told_from_http2_and_read_whole() {
        let (mut connection, mut theirs) = connection(1024);
        theirs.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut buffer = [0; PREFACE.len()];
        assert!(connection.try_peek(&mut buffer).await.unwrap());
        assert_ne!(buffer, PREFACE);
        assert_eq!(
            connection.metrics.connections_by_protocol[Protocol::Http1].get(),
            1
        );
        drop(theirs);
        let mut read = Vec::new();
        connection.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"GET / HTTP/1.0\r\n\r\n");
        assert_eq!(connection.flow.received(), 18);
    }

    #[tokio::test]
    async fn the_preface_is_recognised_though_it_comes_in_pieces() {
        let (mut connection, mut theirs) = connection(1024);
        let sending = tokio::spawn(async move {
            for piece in PREFACE.chunks(5) {
                theirs.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            theirs
        });
        let mut buffer = [0; PREFACE.len()];
        assert!(connection.try_peek(&mut buffer).await.unwrap());
        assert_eq!(buffer, PREFACE);
        assert_eq!(
            connection.metrics.connections_by_protocol[Protocol::Http2].get(),
            1
        );
        drop(sending.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_speaks_is_given_up() {
        let (mut connection, _theirs) = connection(1024);
        let error = connection.try_peek(&mut [0; 24]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    /// A pipe of seven bytes takes no write whole, so that every resumption is met.
    #[tokio::test]
    async fn small_and_large_writes_arrive_in_order_through_a_narrow_pipe() {
        let (mut connection, theirs) = connection(7);
        let receiving = tokio::spawn(received(theirs));
        let body: Vec<u8> = (0..20_000_u32).map(|n| n as u8).collect();
        connection.write_all(b"header").await.unwrap();
        connection.write_all(&body).await.unwrap();
        connection.write_all(b"trailer").await.unwrap();
        connection.flush().await.unwrap();
        drop(connection);
        let expected = [b"header".as_slice(), &body, b"trailer"].concat();
        assert_eq!(receiving.await.unwrap(), expected);
    }

    #[tokio::test]
    async fn a_small_write_waits_for_what_follows_unless_it_is_to_be_prompt() {
        let (mut connection, mut theirs) = connection(1024);
        connection.write_all(b"together").await.unwrap();
        let mut byte = [0; 1];
        assert!(futures::FutureExt::now_or_never(theirs.read(&mut byte)).is_none());
        connection.flow.write_promptly();
        connection.write_all(b"!").await.unwrap();
        let mut all = [0; 9];
        theirs.read_exact(&mut all).await.unwrap();
        assert_eq!(&all, b"together!");
    }

    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const NOW: &str = "Sat, 21 Nov 2026 09:00:00 GMT";

    fn dated(date: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nServer: a\r\nDate: {date}\r\nContent-Length: 5\r\n\r\n")
    }

    fn then() -> Option<Date> {
        let value = http::HeaderValue::from_static(THEN);
        Date::of(&http::HeaderMap::from_iter([(http::header::DATE, value)]))
    }

    /// RFC 9111 section 4; a pipe of seven bytes takes no write whole.
    #[tokio::test]
    async fn a_stored_date_stands_in_place_of_the_sessions_in_one_header_only() {
        for prompt in [false, true] {
            let (mut connection, theirs) = connection(7);
            let receiving = tokio::spawn(received(theirs));
            if prompt {
                connection.flow.write_promptly();
            }
            let body = format!("\r\nDate: {NOW}\r\n").repeat(500);
            connection.flow.date_next(then());
            connection
                .write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")
                .await
                .unwrap();
            connection.write_all(dated(NOW).as_bytes()).await.unwrap();
            connection.write_all(body.as_bytes()).await.unwrap();
            connection.flow.date_next(None);
            connection.write_all(dated(NOW).as_bytes()).await.unwrap();
            connection.flush().await.unwrap();
            drop(connection);
            let expected = format!(
                "HTTP/1.1 103 Early Hints\r\n\r\n{}{body}{}",
                dated(THEN),
                dated(NOW)
            );
            assert_eq!(String::from_utf8(receiving.await.unwrap()).unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn a_date_is_not_kept_for_a_later_response() {
        let (mut connection, theirs) = connection(4096);
        connection.flow.date_next(then());
        let undated = b"HTTP/1.1 200 OK\r\n\r\n";
        connection.write_all(undated).await.unwrap();
        connection.flow.date_next(None);
        connection.write_all(dated(NOW).as_bytes()).await.unwrap();
        connection.flush().await.unwrap();
        drop(connection);
        assert!(received(theirs).await.ends_with(dated(NOW).as_bytes()));
    }

    /// What waits before it may already be as much as may wait.
    #[tokio::test]
    async fn a_long_header_keeps_its_date_too() {
        let (mut connection, theirs) = connection(64);
        let receiving = tokio::spawn(received(theirs));
        let waiting = "x".repeat(4000);
        let long = |date| {
            format!(
                "HTTP/1.1 200 OK\r\nA: {}\r\nDate: {date}\r\n\r\n",
                "y".repeat(50_000)
            )
        };
        for _ in 0..4 {
            connection.write_all(waiting.as_bytes()).await.unwrap();
        }
        connection.flow.date_next(then());
        connection.write_all(long(NOW).as_bytes()).await.unwrap();
        connection.flush().await.unwrap();
        drop(connection);
        let expected = waiting.repeat(4) + &long(THEN);
        assert_eq!(String::from_utf8(receiving.await.unwrap()).unwrap(), expected);
    }

    #[tokio::test]
    async fn nothing_more_is_written_or_waited_for_once_a_connection_is_broken_off() {
        let (mut connection, theirs) = connection(7);
        connection.write_all(b"more than the pipe holds").await.unwrap();
        connection.flow.break_off();
        assert!(connection.write_all(b"x").await.is_err());
        assert!(connection.flush().await.is_err());
        AsyncWriteExt::shutdown(&mut connection).await.unwrap();
        assert_eq!(received(theirs).await, b"");
    }

    #[tokio::test]
    async fn a_connection_is_counted_until_it_is_gone() {
        let (connection, _theirs) = connection(1024);
        let metrics = connection.metrics.clone();
        drop(connection);
        assert_eq!(metrics.connections.get(), 0);
    }
}
