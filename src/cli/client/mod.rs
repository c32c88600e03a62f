//! A client of the admin listener: HTTP/1.1, one request at a time, its connection kept for the next.
//!
//! Invariant: [`Client::ask`] ends within its deadline, whatever it waits for: the name's address, the connection, the
//! request's way out, the answer's way in. Only the system's own look-up of a name can not be called off: its thread may
//! live on behind, and nobody waits for it. What is streamed has a deadline up to its header and none after it, but ends
//! when the other side is gone (TCP keep-alive); a refusal in place of it has one for its body too. An answer that comes while the request is still being written is the answer; one that is cut short is none. It does not know what is
//! asked.

mod body;
mod wire;

use body::Framing;
use bytes::{Bytes, BytesMut};
use rustix::net::sockopt;
use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use wire::Head;

/// A route has some 61 series of some 130 bytes each: 8 KB. All samples of 2,000 routes take 16 MB, and fit four times.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Silence after which the system asks whether the other side is still there, and how long it asks between.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// So many times in vain, and the connection has broken.
const KEEPALIVE_PROBES: u32 = 3;

/// `http://host:port` of an admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Admin {
    host: String,
    port: u16,
}

/// Why a text is no address of an admin listener.
#[derive(Debug, thiserror::Error)]
#[error("an address such as http://127.0.0.1:9090 is needed")]
pub(super) struct NoAddress;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The request has not been sent whole, so that nobody can have carried it out.
    Unsent(io::Error),
    /// It may have been carried out all the same.
    Unheard(io::Error),
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    InPart,
    Whole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
}

/// Whether a request that may have arrived can be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Asked twice, it changes no more than once.
    Harmless,
    Never,
}

pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) headers: Vec<(&'static str, &'a str)>,
    pub(super) body: &'a [u8],
    pub(super) repeat: Repeat,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    /// After so many seconds it may be asked again.
    pub(super) retry_after_s: Option<u64>,
    pub(super) body: Vec<u8>,
}

/// One at a time, over one connection for as long as it can be kept.
pub(super) struct Client {
    admin: Admin,
    /// `Bearer ..`; shown to nobody else.
    authorization: Option<String>,
    kept: Option<Connection>,
}

struct Connection {
    stream: TcpStream,
    /// What has arrived and not been read.
    arrived: BytesMut,
}

/// An answer whose body comes piece by piece.
pub(super) struct Streaming {
    pub(super) status: u16,
    /// Whether it says that it is lines of JSON.
    pub(super) is_ndjson: bool,
    connection: Connection,
    framing: Framing,
}

impl FromStr for Admin {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let rest = text.strip_prefix("http://").ok_or(NoAddress)?;
        let (host, port) = rest.trim_end_matches('/').rsplit_once(':').ok_or(NoAddress)?;
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_host) {
            return Err(NoAddress);
        }
        Ok(Admin {
            host: host.to_owned(),
            port: port.parse().map_err(|_| NoAddress)?,
        })
    }
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

impl Admin {
    async fn connect(&self) -> io::Result<Connection> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, self.port)).await?;
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, KEEPALIVE_IDLE)?;
        sockopt::set_tcp_keepintvl(&stream, KEEPALIVE_INTERVAL)?;
        sockopt::set_tcp_keepcnt(&stream, KEEPALIVE_PROBES)?;
        Ok(Connection {
            stream,
            arrived: BytesMut::new(),
        })
    }
}

impl Client {
    pub(super) fn new(admin: Admin, key: Option<&str>) -> Self {
        Client {
            admin,
            authorization: key.map(|key| format!("Bearer {key}")),
            kept: None,
        }
    }

    /// Sends `request` and returns the answer, whatever it says.
    ///
    /// # Errors
    /// When there is no whole answer in time.
    pub(super) async fn ask(
        &mut self,
        request: &Request<'_>,
        patience: Duration,
    ) -> Result<Response, NoAnswer> {
        let mut sent = Sent::InPart;
        let answered = timeout(patience, self.answer_to(request, &mut sent)).await;
        answered
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|cause| cause_of(sent, cause))
    }

    async fn answer_to(&mut self, request: &Request<'_>, sent: &mut Sent) -> io::Result<Response> {
        let (head, mut connection) = self.head_of_answer(request, sent).await?;
        let mut framing = Framing::of(&head)?;
        let mut body = Vec::new();
        while let Some(piece) = connection.next(&mut framing).await? {
            body.extend_from_slice(&piece);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(wire::malformed("its answer is larger than anybody's"));
            }
        }
        if head.keeps_connection() && *sent == Sent::Whole {
            self.kept = Some(connection);
        }
        Ok(Response {
            status: head.status,
            retry_after_s: head.retry_after_s,
            body,
        })
    }

    /// Sends `request`, and returns the answer as soon as its header is there.
    ///
    /// # Errors
    /// When there is no header in time.
    pub(super) async fn stream(
        &mut self,
        request: &Request<'_>,
        patience: Duration,
    ) -> Result<Streaming, NoAnswer> {
        let mut sent = Sent::InPart;
        let answered = timeout(patience, self.head_of_answer(request, &mut sent)).await;
        let answered = answered.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let streaming = answered.and_then(|(head, connection)| {
            Ok(Streaming {
                status: head.status,
                is_ndjson: head.is_ndjson,
                framing: Framing::of(&head)?,
                connection,
            })
        });
        streaming.map_err(|cause| cause_of(sent, cause))
    }

    /// A connection that was kept may have ended meanwhile: then it is as if it had not been.
    async fn head_of_answer(
        &mut self,
        request: &Request<'_>,
        sent: &mut Sent,
    ) -> io::Result<(Head, Connection)> {
        let bytes = wire::request(&self.admin, self.authorization.as_deref(), request);
        if let Some(mut kept) = self.kept.take() {
            match kept.exchange(&bytes, sent).await {
                Ok(head) => return Ok((head, kept)),
                Err(_) if *sent == Sent::InPart || request.repeat == Repeat::Harmless => {}
                Err(error) => return Err(error),
            }
        }
        *sent = Sent::InPart;
        let mut connection = self.admin.connect().await?;
        let head = connection.exchange(&bytes, sent).await?;
        Ok((head, connection))
    }
}

fn cause_of(sent: Sent, cause: io::Error) -> NoAnswer {
    match sent {
        Sent::InPart => NoAnswer::Unsent(cause),
        Sent::Whole => NoAnswer::Unheard(cause),
    }
}

impl Streaming {
    /// The next bytes of the body; `None` at its end.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        self.connection.next(&mut self.framing).await
    }

    /// The rest of the body: of a refusal.
    ///
    /// # Errors
    /// When it does not end in time, or is cut short.
    pub(super) async fn whole(self, patience: Duration) -> io::Result<Response> {
        let read = timeout(patience, self.read_whole()).await;
        read.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn read_whole(mut self) -> io::Result<Response> {
        let mut body = Vec::new();
        while let Some(piece) = self.next().await? {
            body.extend_from_slice(&piece);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(wire::malformed("its answer is larger than anybody's"));
            }
        }
        Ok(Response {
            status: self.status,
            retry_after_s: None,
            body,
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client of {}", self.admin)
    }
}

#[cfg(test)]
mod tests;
