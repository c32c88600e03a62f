//! What an origin sends for one request: an honest response, or any of the ways in which origins fail.
//!
//! A reply is data; [`Reply::send`] plays it on a connection.

use super::Gate;
use super::origin::Asked;
use rustix::net::sockopt::set_socket_linger;
use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

#[derive(Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Arc<Vec<u8>>,
    framing: Framing,
    ending: Ending,
    /// Sent before the header, and before its gate.
    interim: Vec<u8>,
    header_gate: Option<Gate>,
    /// Held when so many bytes of the body are sent.
    body_gate: Option<(usize, Gate)>,
    pace: Pace,
}

#[derive(Clone)]
enum Framing {
    Length,
    /// A Content-Length that is not the body's.
    Declared(u64),
    Chunked,
    /// The body ends with the connection.
    UntilClose,
    /// The body is all there is, status line and header included.
    Raw,
}

#[derive(Clone, Copy, PartialEq)]
enum Ending {
    KeepAlive,
    Close,
    /// Closes in order after so many bytes of the body.
    Cut(usize),
    /// Resets after so many bytes of the body.
    Reset(usize),
    /// Resets before the first byte of the header.
    ResetAtOnce,
    /// Closes before the first byte of the header.
    CloseAtOnce,
}

#[derive(Clone, Copy)]
struct Pace {
    bytes: usize,
    pause: Duration,
}

/// Whether the connection can carry another request.
#[derive(PartialEq)]
pub(crate) enum Connection {
    Reusable,
    Over,
}

impl Reply {
    /// 200 with the body, `image/png`, and nothing about freshness.
    pub(crate) fn of(body: impl Into<Vec<u8>>) -> Reply {
        Reply {
            status: 200,
            headers: vec![("content-type".into(), "image/png".into())],
            body: Arc::new(body.into()),
            framing: Framing::Length,
            ending: Ending::KeepAlive,
            interim: Vec::new(),
            header_gate: None,
            body_gate: None,
            pace: Pace {
                bytes: 64 << 10,
                pause: Duration::ZERO,
            },
        }
    }

    /// 200 with the body, fresh for an hour.
    pub(crate) fn fresh(body: impl Into<Vec<u8>>) -> Reply {
        Reply::of(body).header("cache-control", "max-age=3600")
    }

    /// These bytes instead of a response; then the connection is closed.
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Reply {
        Reply {
            framing: Framing::Raw,
            ending: Ending::Close,
            ..Reply::of(bytes)
        }
    }

    pub(crate) fn reset() -> Reply {
        Reply {
            ending: Ending::ResetAtOnce,
            ..Reply::of([])
        }
    }

    pub(crate) fn hang_up() -> Reply {
        Reply {
            ending: Ending::CloseAtOnce,
            ..Reply::of([])
        }
    }

    pub(crate) fn status(self, status: u16) -> Reply {
        Reply { status, ..self }
    }

    /// Takes the place of a header of the same name.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Reply {
        self = self.without(name);
        self.and_header(name, value)
    }

    /// One more line, also where the name is there already.
    pub(crate) fn and_header(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Reply {
        self.headers
            .retain(|(present, _)| !present.eq_ignore_ascii_case(name));
        self
    }

    pub(crate) fn declaring(self, length: u64) -> Reply {
        Reply {
            framing: Framing::Declared(length),
            ..self
        }
    }

    pub(crate) fn chunked(self) -> Reply {
        Reply {
            framing: Framing::Chunked,
            ..self
        }
    }

    pub(crate) fn until_close(self) -> Reply {
        Reply {
            framing: Framing::UntilClose,
            ending: Ending::Close,
            ..self
        }
    }

    pub(crate) fn cut_after(self, bytes: usize) -> Reply {
        Reply {
            ending: Ending::Cut(bytes),
            ..self
        }
    }

    pub(crate) fn reset_after(self, bytes: usize) -> Reply {
        Reply {
            ending: Ending::Reset(bytes),
            ..self
        }
    }

    /// These bytes come first, such as an interim response.
    pub(crate) fn preceded_by(self, interim: &str) -> Reply {
        Reply {
            interim: interim.into(),
            ..self
        }
    }

    pub(crate) fn header_held_by(self, gate: &Gate) -> Reply {
        Reply {
            header_gate: Some(gate.clone()),
            ..self
        }
    }

    pub(crate) fn body_held_by(self, gate: &Gate, after: usize) -> Reply {
        Reply {
            body_gate: Some((after, gate.clone())),
            ..self
        }
    }

    /// So many bytes of the body at a time, with a pause between.
    pub(crate) fn trickling(self, bytes: usize, pause: Duration) -> Reply {
        Reply {
            pace: Pace { bytes, pause },
            ..self
        }
    }

    pub(crate) fn send(&self, asked: &Asked, stream: &mut TcpStream) -> io::Result<Connection> {
        stream.write_all(&self.interim)?;
        if self.header_gate.as_ref().is_some_and(|gate| !gate.pass()) {
            return Ok(Connection::Over);
        }
        match self.ending {
            Ending::CloseAtOnce => return Ok(Connection::Over),
            Ending::ResetAtOnce => return reset(stream),
            _ if self.is_unchanged_for(asked) => stream.write_all(&self.not_modified())?,
            _ => {
                stream.write_all(&self.head())?;
                if asked.method != "HEAD" {
                    self.send_body(stream)?;
                }
            }
        }
        match self.ending {
            Ending::KeepAlive => Ok(Connection::Reusable),
            Ending::Reset(_) => reset(stream),
            _ => Ok(Connection::Over),
        }
    }

    fn validator(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    fn is_unchanged_for(&self, asked: &Asked) -> bool {
        if self.status != 200 {
            return false;
        }
        match asked.header("if-none-match") {
            Some(tags) => self.validator("etag").is_some_and(|tag| tags.contains(tag)),
            None => asked
                .header("if-modified-since")
                .is_some_and(|date| self.validator("last-modified") == Some(date)),
        }
    }

    fn not_modified(&self) -> Vec<u8> {
        let kept = self.headers.iter().filter(|(name, _)| name != "content-type");
        let mut text = String::from("HTTP/1.1 304 Not Modified\r\n");
        kept.for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        (text + "\r\n").into_bytes()
    }

    fn head(&self) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} Said\r\n", self.status);
        self.headers
            .iter()
            .for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        match self.framing {
            Framing::Raw => return Vec::new(),
            Framing::Length => text += &format!("content-length: {}\r\n", self.body.len()),
            Framing::Declared(length) => text += &format!("content-length: {length}\r\n"),
            Framing::Chunked => text += "transfer-encoding: chunked\r\n",
            Framing::UntilClose => text += "connection: close\r\n",
        }
        (text + "\r\n").into_bytes()
    }

    fn send_body(&self, stream: &mut TcpStream) -> io::Result<()> {
        let end = match self.ending {
            Ending::Cut(bytes) | Ending::Reset(bytes) => bytes.min(self.body.len()),
            _ => self.body.len(),
        };
        let mut sent = 0;
        while sent < end {
            let next = self.piece_end(sent, end)?;
            self.send_piece(&self.body[sent..next], stream)?;
            sent = next;
        }
        match (&self.framing, self.ending) {
            (_, Ending::Cut(_) | Ending::Reset(_)) => Ok(()),
            (Framing::Chunked, _) => stream.write_all(b"0\r\n\r\n"),
            _ => Ok(()),
        }
    }

    /// Where the piece that starts at `sent` ends; passes the gate first when it stands there.
    fn piece_end(&self, sent: usize, end: usize) -> io::Result<usize> {
        let paced = (sent + self.pace.bytes).min(end);
        match &self.body_gate {
            Some((at, gate)) if sent == *at && !gate.pass() => Err(io::ErrorKind::TimedOut.into()),
            Some((at, _)) if sent < *at => Ok(paced.min(*at)),
            _ => Ok(paced),
        }
    }

    fn send_piece(&self, piece: &[u8], stream: &mut TcpStream) -> io::Result<()> {
        if matches!(self.framing, Framing::Chunked) {
            let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
            chunk.extend_from_slice(piece);
            chunk.extend_from_slice(b"\r\n");
            stream.write_all(&chunk)?;
        } else {
            stream.write_all(piece)?;
        }
        if !self.pace.pause.is_zero() {
            thread::sleep(self.pace.pause);
        }
        Ok(())
    }
}

/// The last handle's closing then sends RST instead of FIN.
fn reset(stream: &TcpStream) -> io::Result<Connection> {
    set_socket_linger(stream, Some(Duration::ZERO))?;
    Ok(Connection::Over)
}
