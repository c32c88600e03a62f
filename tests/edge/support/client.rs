//! An HTTP/1.1 client that sends exactly the bytes it is given and believes only the framing it reads.

use super::{Answer, Certificate, PATIENCE};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// The site that tests ask for, unless the name is what they test.
pub(crate) const HOST: &str = "images.example";

/// Headers of a request: name and value.
pub(crate) type Headers<'a> = &'a [(&'a str, &'a str)];

/// One connection.
pub(crate) struct Client {
    connection: BufReader<Box<dyn Connection>>,
    socket: TcpStream,
}

trait Connection: Read + Write + Send {}

impl<T: Read + Write + Send> Connection for T {}

/// One GET on a connection of its own.
#[track_caller]
pub(crate) fn get(address: SocketAddr, target: &str) -> Answer {
    request(address, "GET", target, &[])
}

#[track_caller]
pub(crate) fn get_with(address: SocketAddr, target: &str, headers: Headers) -> Answer {
    request(address, "GET", target, headers)
}

#[track_caller]
pub(crate) fn request(address: SocketAddr, method: &str, target: &str, headers: Headers) -> Answer {
    Client::connect(address).ask(method, target, headers)
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let socket = connected(address);
        Client::over(socket.try_clone().unwrap(), socket)
    }

    /// Speaks HTTP/1.1 inside TLS.
    pub(crate) fn connect_tls(address: SocketAddr, certificate: &Certificate) -> Client {
        let socket = connected(address);
        let config = certificate.client_config(&[b"http/1.1"]);
        let session = rustls::ClientConnection::new(config, Certificate::server_name()).unwrap();
        Client::over(
            rustls::StreamOwned::new(session, socket.try_clone().unwrap()),
            socket,
        )
    }

    fn over(connection: impl Read + Write + Send + 'static, socket: TcpStream) -> Client {
        Client {
            connection: BufReader::with_capacity(64 << 10, Box::new(connection)),
            socket,
        }
    }

    /// Sends these bytes and nothing else.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes).unwrap();
        self
    }

    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.connection.get_mut().write_all(bytes.as_ref())?;
        self.connection.get_mut().flush()
    }

    /// Sends a request without a body; a Host among `headers` takes the place of the usual one.
    pub(crate) fn send_request(&mut self, method: &str, target: &str, headers: Headers) -> &mut Self {
        let mut text = format!("{method} {target} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            text += &format!("Host: {HOST}\r\n");
        }
        headers
            .iter()
            .for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        self.send(text + "\r\n")
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, target: &str, headers: Headers) -> Answer {
        self.send_request(method, target, headers);
        self.try_answer_to(method)
            .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    #[track_caller]
    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.ask("GET", target, &[])
    }

    /// The whole answer to a GET sent before.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer_to("GET").unwrap()
    }

    /// An answer cut short is `UnexpectedEof` or `ConnectionReset`. Interim answers (1xx) are passed over.
    pub(crate) fn try_answer_to(&mut self, method: &str) -> io::Result<Answer> {
        let mut answer = self.header()?;
        while answer.status < 200 {
            answer = self.header()?;
        }
        self.read_body(&mut answer, method)?;
        Ok(answer)
    }

    /// An answer's status and header, its body not yet read.
    pub(crate) fn header(&mut self) -> io::Result<Answer> {
        let status_line = self.line()?;
        let status = status_line
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.get(2..5)?.parse().ok());
        let status = status.ok_or_else(|| malformed(&status_line))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Answer {
                    status,
                    headers,
                    body: Vec::new(),
                });
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed(&line))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Exactly so many bytes of a body.
    pub(crate) fn read_exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.connection.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn read_body(&mut self, answer: &mut Answer, method: &str) -> io::Result<()> {
        if method == "HEAD" || matches!(answer.status, 204 | 304) {
            return Ok(());
        }
        if answer
            .header("transfer-encoding")
            .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
        {
            answer.body = self.chunks()?;
        } else if let Some(length) = answer.header("content-length") {
            let length = length.parse().map_err(|_| malformed(length))?;
            answer.body = self.read_exactly(length)?;
        } else {
            self.connection.read_to_end(&mut answer.body)?;
        }
        Ok(())
    }

    /// The next part of a body in chunks; empty at its end.
    pub(crate) fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let line = self.line()?;
        let length = usize::from_str_radix(&line, 16).map_err(|_| malformed(&line))?;
        let chunk = self.read_exactly(length)?;
        self.line()?;
        Ok(chunk)
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let length = line.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(length, 16).map_err(|_| malformed(&line))?;
            if length == 0 {
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.read_exactly(length)?);
            self.line()?;
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.connection.read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
            None if line.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            None => Err(malformed(&String::from_utf8_lossy(&line))),
        }
    }

    /// Sends FIN and goes on reading.
    pub(crate) fn finish_sending(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Everything until the other side closes; a reset ends it too.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.connection.read_to_end(&mut bytes) {
            Err(error) if is_timeout(&error) => panic!("not closed within {PATIENCE:?}"),
            _ => bytes,
        }
    }

    /// Whether the connection is closed within the patience without another byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        match self.connection.read(&mut byte) {
            Ok(read) => read == 0,
            Err(error) => !is_timeout(&error),
        }
    }

    /// Whether nothing has come so far: not even the connection's end.
    pub(crate) fn is_silent(&mut self) -> bool {
        self.socket
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        let seen = self.connection.fill_buf().map(<[u8]>::len);
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        seen.is_err_and(|error| is_timeout(&error))
    }
}

fn connected(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn malformed(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed: {text:?}"))
}
