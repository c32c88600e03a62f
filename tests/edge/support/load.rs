//! Clients that ask without a pause, and take nothing but the right answer.
//!
//! Each asks for one target after the other, over connections that it keeps, over a new one each time, in TLS or over HTTP/2.
//! A connection that the edge announces to close is opened anew; whatever else goes wrong is a failure.

use super::{Certificate, Client, Edge, Http2, eventually};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// How a client connects.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Kept,
    NewEachTime,
    KeptTls,
    NewTlsEachTime,
    Http2,
}

pub(crate) struct Load {
    clients: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

struct Shared {
    /// What each target has to answer.
    expected: HashMap<String, Vec<u8>>,
    clear: SocketAddr,
    tls: Option<(SocketAddr, Certificate)>,
    stopped: AtomicBool,
    answered: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Load {
    /// Asks for `images`, a target and its body each, until it is stopped.
    pub(crate) fn on(edge: &Edge, tls: Option<Certificate>, images: &[(&str, &[u8])], ways: &[Way]) -> Load {
        let expected = images
            .iter()
            .map(|(target, body)| ((*target).into(), body.to_vec()));
        let shared = Arc::new(Shared {
            expected: expected.collect(),
            clear: edge.address(),
            tls: tls.map(|certificate| (edge.tls_address(), certificate)),
            stopped: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            failures: Mutex::default(),
        });
        let client = |way: &Way| {
            let (way, shared) = (*way, shared.clone());
            thread::spawn(move || shared.ask_until_stopped(way))
        };
        Load {
            clients: ways.iter().map(client).collect(),
            shared,
        }
    }

    /// Waits until so many more requests have been answered.
    #[track_caller]
    pub(crate) fn go_on_for(&self, requests: u64) {
        let from = self.shared.answered.load(Ordering::Relaxed);
        eventually("requests are answered", || {
            let failures = self.shared.failures.lock().unwrap();
            assert!(failures.is_empty(), "{failures:?}");
            (self.shared.answered.load(Ordering::Relaxed) >= from + requests).then_some(())
        });
    }

    /// How many were answered; none failed.
    #[track_caller]
    pub(crate) fn stop(self) -> u64 {
        self.shared.stopped.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        let failures = self.shared.failures.lock().unwrap();
        let answered = self.shared.answered.load(Ordering::Relaxed);
        assert!(failures.is_empty(), "of {answered} requests failed: {failures:?}");
        answered
    }
}

enum Connection {
    Http1(Client),
    Http2(Http2),
}

impl Shared {
    fn ask_until_stopped(&self, way: Way) {
        let mut connection = None;
        while !self.stopped.load(Ordering::Relaxed) {
            for (target, body) in &self.expected {
                let mut open = connection.take().unwrap_or_else(|| self.connect(way));
                match self.ask(&mut open, target, body) {
                    Ok(Goes::On) if !matches!(way, Way::NewEachTime | Way::NewTlsEachTime) => {
                        connection = Some(open)
                    }
                    Ok(_) => {}
                    Err(failure) => self
                        .failures
                        .lock()
                        .unwrap()
                        .push(format!("{way:?} {target}: {failure}")),
                }
            }
        }
    }

    fn connect(&self, way: Way) -> Connection {
        let tls = || self.tls.as_ref().expect("the edge has a certificate");
        match way {
            Way::Kept | Way::NewEachTime => Connection::Http1(Client::connect(self.clear)),
            Way::KeptTls | Way::NewTlsEachTime => Connection::Http1(Client::connect_tls(tls().0, &tls().1)),
            Way::Http2 => Connection::Http2(Http2::connect(self.clear)),
        }
    }

    fn ask(&self, connection: &mut Connection, target: &str, body: &[u8]) -> Result<Goes, String> {
        let (answer, goes) = match connection {
            Connection::Http1(client) => {
                let answer = client.send_request("GET", target, &[]).try_answer_to("GET");
                let answer = answer.map_err(|error| error.to_string())?;
                let closes = answer.header("connection").is_some_and(|value| value == "close");
                (answer, if closes { Goes::NoFurther } else { Goes::On })
            }
            Connection::Http2(client) => match client.ask("GET", target, &[]) {
                Ok(answer) => (answer, Goes::On),
                // A request that is not begun is the client's to send again (RFC 9113 section 6.8).
                Err(error) if error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR) => {
                    return Ok(Goes::NoFurther);
                }
                Err(error) => return Err(error.to_string()),
            },
        };
        if answer.status != 200 || answer.body != body {
            return Err(format!("{} with {} bytes", answer.status, answer.body.len()));
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
        Ok(goes)
    }
}

enum Goes {
    On,
    NoFurther,
}
