//! A client of the admin listener: one request, one answer, one connection.
//!
//! Invariant: it ends within its deadline, and an answer cut short is none. HTTP/1.1 with a length is all that the admin
//! listener speaks; it does not know what is asked.

use crate::base::clock;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// A receipt is a few hundred bytes, and an error names a few URLs.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

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

pub(super) struct Request<'a> {
    pub(super) path: &'a str,
    pub(super) headers: Vec<(&'static str, &'a str)>,
    pub(super) body: &'a [u8],
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
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
    /// Sends `request` and returns the answer, whatever it says.
    ///
    /// # Errors
    /// When there is no whole answer in time.
    pub(super) fn post(&self, request: &Request<'_>, patience: Duration) -> Result<Response, NoAnswer> {
        let deadline = clock::monotonic() + patience;
        let stream = self.send(request, deadline).map_err(NoAnswer::Unsent)?;
        receive(stream, deadline).map_err(NoAnswer::Unheard)
    }

    fn send(&self, request: &Request<'_>, deadline: Instant) -> io::Result<TcpStream> {
        let mut stream = self.connect(deadline)?;
        stream.set_write_timeout(Some(left(deadline)?))?;
        stream.write_all(&self.head(request))?;
        stream.write_all(request.body)?;
        Ok(stream)
    }

    fn head(&self, request: &Request<'_>) -> Vec<u8> {
        let Admin { host, port } = self;
        let Request { path, headers, body } = request;
        let mut head = format!("POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n");
        head += &format!("Content-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        (head + "\r\n").into_bytes()
    }

    fn connect(&self, deadline: Instant) -> io::Result<TcpStream> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
        for address in (host, self.port).to_socket_addrs()? {
            match connect(address, deadline) {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

fn connect(address: SocketAddr, deadline: Instant) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, left(deadline)?)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn receive(stream: TcpStream, deadline: Instant) -> io::Result<Response> {
    let mut bytes = Vec::new();
    let mut answer = Within { stream, deadline }.take(ANSWER_BYTES_MAX);
    let mut piece = [0; 4096];
    // Not up to the end of the connection, which not everybody closes when asked to.
    loop {
        let length = answer.read(&mut piece)?;
        bytes.extend_from_slice(&piece[..length]);
        match parse(&bytes) {
            Some(response) => return Ok(response),
            None if length == 0 => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "its answer is not whole",
                ));
            }
            None => {}
        }
    }
}

/// What is left until `deadline`; never zero, which would mean for ever.
fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(clock::monotonic()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// Reads that all end by one deadline.
struct Within {
    stream: TcpStream,
    deadline: Instant,
}

impl Read for Within {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.deadline)?))?;
        self.stream.read(buffer)
    }
}

/// `None`: it is no whole answer.
fn parse(bytes: &[u8]) -> Option<Response> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = (str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 4..]);
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim())
    });
    let body = body.get(..length?.parse().ok()?)?.to_vec();
    Some(Response { status, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// What somebody who answers so makes of a request, and what it was sent.
    fn asked(answer: &'static [u8], patience: Duration) -> (Result<Response, NoAnswer>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let admin = format!("http://{}/", listener.local_addr().unwrap());
        let serving = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; 4096];
            let mut length = 0;
            while !request[..length].ends_with(b"{}") {
                length += stream.read(&mut request[length..]).unwrap();
            }
            stream.write_all(answer).unwrap();
            if answer.is_empty() {
                assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it hangs up");
            }
            String::from_utf8(request[..length].to_vec()).unwrap()
        });
        let request = Request {
            path: "/api/v1/purge",
            headers: vec![("Authorization", "Bearer a")],
            body: b"{}",
        };
        let answered = admin.parse::<Admin>().unwrap().post(&request, patience);
        (answered, serving.join().unwrap())
    }

    #[test]
    fn an_answer_is_read_to_its_length_and_the_request_says_its_own() {
        let (answer, request) = asked(b"HTTP/1.1 202 Accepted\r\ncontent-length: 3\r\n\r\nyes", PATIENCE);
        let expected = Response {
            status: 202,
            body: b"yes".to_vec(),
        };
        assert_eq!(answer.unwrap(), expected);
        assert!(
            request.starts_with("POST /api/v1/purge HTTP/1.1\r\nHost: 127.0.0.1:"),
            "{request}"
        );
        assert!(request.contains("\r\nContent-Length: 2\r\n"), "{request}");
        assert!(request.contains("\r\nAuthorization: Bearer a\r\n"), "{request}");
    }

    #[test]
    fn what_is_cut_short_or_no_http_or_late_is_no_answer() {
        for wrong in [
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nyes".as_slice(),
            b"HTTP/1.1 200 OK\r\n\r\nyes",
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n",
            b"SSH-2.0-OpenSSH\r\n\r\n",
        ] {
            let (answer, _) = asked(wrong, PATIENCE);
            let Err(NoAnswer::Unheard(cause)) = answer else {
                panic!("{answer:?}");
            };
            assert_eq!(cause.kind(), io::ErrorKind::InvalidData);
        }
        let (late, _) = asked(b"", Duration::from_millis(50));
        let Err(NoAnswer::Unheard(cause)) = late else {
            panic!("{late:?}");
        };
        let kind = cause.kind();
        assert!(
            matches!(kind, io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock),
            "{kind}"
        );
    }

    #[test]
    fn where_nobody_listens_nothing_was_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let admin = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let request = Request {
            path: "/api/v1/purge",
            headers: Vec::new(),
            body: b"{}",
        };
        let answer = admin.parse::<Admin>().unwrap().post(&request, PATIENCE);
        assert!(matches!(answer, Err(NoAnswer::Unsent(_))), "{answer:?}");
    }

    #[test]
    fn an_address_is_http_with_a_port() {
        for (text, shown) in [
            ("http://127.0.0.1:9090", "http://127.0.0.1:9090"),
            ("http://edge-1.example:80/", "http://edge-1.example:80"),
            ("http://[::1]:9090", "http://[::1]:9090"),
        ] {
            assert_eq!(text.parse::<Admin>().unwrap().to_string(), shown);
        }
        for wrong in [
            "",
            "127.0.0.1:9090",
            "https://a:1",
            "http://a",
            "http://:1",
            "http://a b:1",
            "http://a:b",
        ] {
            assert!(wrong.parse::<Admin>().is_err(), "{wrong}");
        }
    }
}
