//! HTTP/1.1 as small as the checker needs it, on both ends of a connection: with keep-alive, lengths and chunks.
//!
//! It does not know what is asked, nor what is answered.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// A machine that is busy needs far less.
const DEADLINE: Duration = Duration::from_secs(30);

const STACK_BYTES: usize = 256 << 10;

/// Names in lower case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers(pub(crate) Vec<(String, String)>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    /// What is said of the body where it is not sent.
    pub(crate) length: Option<usize>,
    /// The connection ends after so many bytes of the body.
    pub(crate) cut_at: Option<usize>,
}

impl Headers {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value.into()));
    }

    fn says(&self, name: &str, value: &str) -> bool {
        self.get(name)
            .is_some_and(|said| said.eq_ignore_ascii_case(value))
    }

    fn read(source: &mut impl BufRead) -> io::Result<Headers> {
        let mut headers = Vec::with_capacity(12);
        loop {
            let line = line(source)?;
            if line.is_empty() {
                return Ok(Headers(headers));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed(&line))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn write(&self, text: &mut String) {
        for (name, value) in &self.0 {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
    }
}

impl Request {
    pub(crate) fn new(method: &str, host: &str, target: &str) -> Request {
        let mut request = Request {
            method: method.to_owned(),
            target: target.to_owned(),
            ..Request::default()
        };
        request.headers.set("host", host);
        request
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Request {
        self.headers.set(name, value);
        self
    }

    pub(crate) fn with_body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.with("content-length", length)
    }

    fn read(source: &mut impl BufRead) -> io::Result<Request> {
        let start = line(source)?;
        let mut words = start.split(' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(malformed(&start));
        };
        let headers = Headers::read(source)?;
        let length = headers.get("content-length").map_or(Ok(0), str::parse);
        let mut body = vec![0; length.map_err(|_| malformed(&start))?];
        source.read_exact(&mut body)?;
        Ok(Request {
            method: method.to_owned(),
            target: target.to_owned(),
            headers,
            body,
        })
    }
}

impl Answer {
    pub(crate) fn new(status: u16) -> Answer {
        Answer {
            status,
            ..Answer::default()
        }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Answer {
        self.headers.set(name, value);
        self
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    fn has_body(&self, method: &str) -> bool {
        method != "HEAD" && !matches!(self.status, 100..200 | 204 | 304)
    }

    fn read(source: &mut impl BufRead, method: &str) -> io::Result<Answer> {
        let start = line(source)?;
        let status = start
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.get(2..5)?.parse().ok());
        let mut answer = Answer::new(status.ok_or_else(|| malformed(&start))?);
        answer.headers = Headers::read(source)?;
        if (100..200).contains(&answer.status) {
            return Answer::read(source, method);
        }
        if answer.has_body(method) {
            answer.body = read_body(source, &answer.headers)?;
        }
        Ok(answer)
    }

    fn write(&self, sink: &mut impl Write, method: &str) -> io::Result<()> {
        let mut text = format!("HTTP/1.1 {} -\r\n", self.status);
        let length = self.length.unwrap_or(self.body.len());
        if !matches!(self.status, 204 | 304) {
            text += &format!("content-length: {length}\r\n");
        }
        self.headers.write(&mut text);
        let mut bytes = text.into_bytes();
        if self.has_body(method) {
            bytes.extend_from_slice(&self.body[..self.cut_at.unwrap_or(self.body.len())]);
        }
        sink.write_all(&bytes)?;
        if self.cut_at.is_some() {
            Err(ErrorKind::ConnectionAborted.into())
        } else {
            Ok(())
        }
    }
}

fn read_body(source: &mut impl BufRead, headers: &Headers) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if headers.says("transfer-encoding", "chunked") {
        loop {
            let size = line(source)?;
            let size = usize::from_str_radix(&size, 16).map_err(|_| malformed(&size))?;
            let from = body.len();
            body.resize(from + size, 0);
            source.read_exact(&mut body[from..])?;
            line(source)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    match headers.get("content-length").map(str::parse) {
        Some(Ok(length)) => {
            body.resize(length, 0);
            source.read_exact(&mut body)?;
        }
        Some(Err(_)) => return Err(malformed("content-length")),
        None => drop(source.read_to_end(&mut body)?),
    }
    Ok(body)
}

fn line(source: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    source.read_line(&mut line)?;
    if !line.ends_with('\n') {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.trim_end().len());
    Ok(line)
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("no HTTP: {what}"))
}

/// A client's connection.
pub(crate) struct Connection {
    source: BufReader<TcpStream>,
    pub(crate) to: SocketAddr,
}

impl Connection {
    pub(crate) fn open(to: SocketAddr) -> io::Result<Connection> {
        let socket = TcpStream::connect_timeout(&to, DEADLINE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.set_write_timeout(Some(DEADLINE))?;
        Ok(Connection {
            source: BufReader::with_capacity(16 << 10, socket),
            to,
        })
    }

    pub(crate) fn send(&mut self, request: &Request) -> io::Result<()> {
        let mut text = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
        request.headers.write(&mut text);
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&request.body);
        self.source.get_mut().write_all(&bytes)
    }

    /// Whether the connection may be used again is for the caller to ask of the answer.
    pub(crate) fn ask(&mut self, request: &Request) -> io::Result<Answer> {
        self.send(request)?;
        Answer::read(&mut self.source, &request.method)
    }
}

impl Answer {
    pub(crate) fn ends_connection(&self) -> bool {
        self.headers.says("connection", "close")
            || self.header("content-length").is_none() && self.header("transfer-encoding").is_none()
    }
}

/// Answers every request of every connection, each on a thread of its own, until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Server {
        Server::start_at(Ipv4Addr::LOCALHOST, answer)
    }

    pub(crate) fn start_at(
        at: Ipv4Addr,
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind((at, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let stopping = Arc::new(AtomicBool::new(false));
        let (answer, stops) = (Arc::new(answer), stopping.clone());
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if stops.load(Ordering::Acquire) {
                    return;
                }
                let answer = answer.clone();
                let thread = thread::Builder::new().stack_size(STACK_BYTES);
                // Without a thread the connection ends, which is an origin's failure.
                drop(thread.spawn(move || drop(converse(socket, &*answer))));
            }
        });
        Server { address, stopping }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
    }
}

fn converse(socket: TcpStream, answer: &impl Fn(&Request) -> Answer) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut sink = socket.try_clone()?;
    let mut source = BufReader::with_capacity(8 << 10, socket);
    loop {
        let request = Request::read(&mut source)?;
        answer(&request).write(&mut sink, &request.method)?;
        if request.headers.says("connection", "close") {
            return Ok(());
        }
    }
}
