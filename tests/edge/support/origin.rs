//! A real HTTP/1.1 origin that does as it is told and remembers what it was asked.
//!
//! It answers by a table of targets that a test may change at any time; one thread for each connection. It
//! reads requests strictly: what it can not read it records as malformed and hangs up.

use super::eventually;
use super::reply::{Connection, Reply};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Stops with its last handle's drop; connections end with their other side.
pub(crate) struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    table: Mutex<HashMap<String, Answerer>>,
    asked: Mutex<Vec<Asked>>,
    connections: Mutex<HashMap<usize, Live>>,
    stopped: AtomicBool,
}

/// The reply to the nth request for a target, counted from 1.
type Answerer = Arc<dyn Fn(&Asked, usize) -> Reply + Send + Sync>;

struct Live {
    stream: TcpStream,
    idle: bool,
}

/// One request as it came; header names in lower case.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Which connection brought it, counted from 0.
    pub(crate) connection: usize,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.header(name).is_some()
    }
}

impl Origin {
    /// Answers 404 to everything.
    pub(crate) fn start() -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let accepting = shared.clone();
        thread::spawn(move || accept(&listener, &accepting));
        Origin { address, shared }
    }

    /// Answers this to that target, path and query as they come over the wire.
    pub(crate) fn with(target: &str, reply: Reply) -> Origin {
        let origin = Origin::start();
        origin.set(target, reply);
        origin
    }

    pub(crate) fn set(&self, target: &str, reply: Reply) {
        self.set_with(target, move |_, _| reply.clone());
    }

    pub(crate) fn set_with(
        &self,
        target: &str,
        answer: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static,
    ) {
        self.shared
            .table
            .lock()
            .unwrap()
            .insert(target.into(), Arc::new(answer));
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn asked(&self, target: &str) -> Vec<Asked> {
        let asked = self.shared.asked.lock().unwrap();
        asked
            .iter()
            .filter(|asked| asked.target == target)
            .cloned()
            .collect()
    }

    pub(crate) fn count(&self, target: &str) -> usize {
        self.asked(target).len()
    }

    /// Every target asked for, in order.
    pub(crate) fn targets(&self) -> Vec<String> {
        self.shared
            .asked
            .lock()
            .unwrap()
            .iter()
            .map(|asked| asked.target.clone())
            .collect()
    }

    #[track_caller]
    pub(crate) fn last(&self, target: &str) -> Asked {
        self.asked(target)
            .pop()
            .unwrap_or_else(|| panic!("{target} was never asked for"))
    }

    /// Closes the connections that wait for a request, as an origin's keep-alive timeout does.
    pub(crate) fn close_idle_connections(&self) {
        eventually("every connection of the origin is idle", || {
            self.shared
                .connections
                .lock()
                .unwrap()
                .values()
                .all(|live| live.idle)
                .then_some(())
        });
        for live in self.shared.connections.lock().unwrap().values() {
            // The other side may have closed first.
            live.stream.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then closes the listener.
        TcpStream::connect(self.address).ok();
        for live in self.shared.connections.lock().unwrap().values() {
            live.stream.shutdown(Shutdown::Both).ok();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for (number, stream) in listener.incoming().enumerate() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { return };
        let shared = shared.clone();
        thread::spawn(move || {
            let live = Live {
                stream: stream.try_clone().unwrap(),
                idle: true,
            };
            shared.connections.lock().unwrap().insert(number, live);
            // A broken connection is what some tests are about; the edge's answer shows it.
            converse(stream, number, &shared).ok();
            shared.connections.lock().unwrap().remove(&number);
        });
    }
}

fn converse(mut stream: TcpStream, number: usize, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let Some(asked) = Asked::read(&mut reader, &mut stream, number)? else {
            return Ok(());
        };
        shared.set_idle(number, false);
        let reply = shared.reply_to(asked.clone());
        if reply.send(&asked, &mut stream)? == Connection::Over {
            return Ok(());
        }
        shared.set_idle(number, true);
    }
}

impl Shared {
    fn reply_to(&self, asked: Asked) -> Reply {
        let nth = {
            let mut all = self.asked.lock().unwrap();
            all.push(asked.clone());
            all.iter()
                .filter(|earlier| earlier.target == asked.target)
                .count()
        };
        let answer = self.table.lock().unwrap().get(&asked.target).cloned();
        match answer {
            Some(answer) => answer(&asked, nth),
            None => Reply::of("no such image")
                .status(404)
                .header("content-type", "text/plain"),
        }
    }

    fn set_idle(&self, number: usize, idle: bool) {
        if let Some(live) = self.connections.lock().unwrap().get_mut(&number) {
            live.idle = idle;
        }
    }
}

impl Asked {
    fn read(
        reader: &mut impl BufRead,
        stream: &mut TcpStream,
        connection: usize,
    ) -> io::Result<Option<Asked>> {
        let Some(request_line) = line(reader)? else {
            return Ok(None);
        };
        let [method, target, "HTTP/1.1"] = request_line.split(' ').collect::<Vec<_>>()[..] else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, request_line));
        };
        let mut asked = Asked {
            method: method.into(),
            target: target.into(),
            headers: Vec::new(),
            body: Vec::new(),
            connection,
        };
        while let Some(header) = line(reader)?.filter(|header| !header.is_empty()) {
            let (name, value) = header.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            asked
                .headers
                .push((name.to_ascii_lowercase(), value.trim().into()));
        }
        if asked.header("expect") == Some("100-continue") {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        asked.read_body(reader)?;
        Ok(Some(asked))
    }

    fn read_body(&mut self, reader: &mut impl BufRead) -> io::Result<()> {
        if self.header("transfer-encoding") == Some("chunked") {
            loop {
                let length = line(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
                let length = usize::from_str_radix(&length, 16).map_err(|_| io::ErrorKind::InvalidData)?;
                let mut chunk = vec![0; length + 2];
                reader.read_exact(&mut chunk)?;
                if length == 0 {
                    return Ok(());
                }
                self.body.extend_from_slice(&chunk[..length]);
            }
        }
        let length = self.header("content-length").unwrap_or("0").parse::<u64>();
        let length = length.map_err(|_| io::ErrorKind::InvalidData)?;
        reader.take(length).read_to_end(&mut self.body)?;
        Ok(())
    }
}

/// A line without its end; nothing when the connection ended before it.
fn line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\r\n") {
        Some(line) => Ok(Some(String::from_utf8_lossy(line).into_owned())),
        None if line.is_empty() => Ok(None),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}
