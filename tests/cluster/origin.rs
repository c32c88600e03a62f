//! The origin of a cluster: it counts what it is asked for, object by object, and can change, be slow and fail.
//!
//! Invariant: an answer's bytes belong to one object in one version, and say so: whoever has the answer can check all of it.

use crate::support::picture;
use crate::wire::{Answer, Request, Server};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Objects that there are; others are answered 404.
pub(crate) const OBJECTS: usize = 4096;

/// Versions of one object that its bytes can tell apart.
const VERSIONS: u64 = 1 << 20;

pub(crate) struct Origin {
    server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    objects: Vec<Object>,
    /// Of each answer, in milliseconds.
    delay_ms: AtomicU64,
    failing: AtomicBool,
}

#[derive(Default)]
struct Object {
    version: AtomicU64,
    /// The version that a purge has acknowledged as the oldest to be seen from then on.
    acknowledged: AtomicU64,
    fetches: AtomicU64,
    confirmations: AtomicU64,
}

pub(crate) fn target(object: usize) -> String {
    format!("/o/{object}.png")
}

/// Small and large ones, so that some come in many parts.
fn length(object: usize) -> usize {
    match object % 16 {
        15 => 300_000,
        step => 700 + step * 1500,
    }
}

fn body(object: usize, version: u64) -> Vec<u8> {
    picture(object as u64 * VERSIONS + version + 1, length(object))
}

impl Origin {
    pub(crate) fn start(at: Ipv4Addr) -> Origin {
        let shared = Arc::new(Shared {
            objects: (0..OBJECTS).map(|_| Object::default()).collect(),
            delay_ms: AtomicU64::new(0),
            failing: AtomicBool::new(false),
        });
        let answering = shared.clone();
        Origin {
            server: Server::start_at(at, move |request| answering.answer(request)),
            shared,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub(crate) fn be_slow(&self, delay: Duration) {
        let delay = delay.as_millis() as u64;
        self.shared.delay_ms.store(delay, Ordering::SeqCst);
    }

    pub(crate) fn fail(&self) {
        self.shared.failing.store(true, Ordering::SeqCst);
    }

    pub(crate) fn recover(&self) {
        self.shared.failing.store(false, Ordering::SeqCst);
    }

    /// Another image from here on; its version.
    pub(crate) fn change(&self, object: usize) -> u64 {
        self.shared.objects[object].version.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn acknowledge(&self, object: usize, version: u64) {
        let acknowledged = &self.shared.objects[object].acknowledged;
        acknowledged.fetch_max(version, Ordering::SeqCst);
    }

    /// No answer to a request that is yet to be sent may be older.
    pub(crate) fn oldest(&self, object: usize) -> u64 {
        self.shared.objects[object].acknowledged.load(Ordering::SeqCst)
    }

    /// Answers with a body, object by object.
    pub(crate) fn fetches(&self) -> Vec<u64> {
        let fetches = self.shared.objects.iter().map(|object| &object.fetches);
        fetches.map(|count| count.load(Ordering::SeqCst)).collect()
    }

    pub(crate) fn count_anew(&self) {
        for object in &self.shared.objects {
            object.fetches.store(0, Ordering::SeqCst);
            object.confirmations.store(0, Ordering::SeqCst);
        }
    }

    /// What is wrong with an answer to a request that was sent when `oldest` was what [`Origin::oldest`] says.
    pub(crate) fn judge(&self, object: usize, oldest: u64, answer: &Answer) -> Result<(), Wrong> {
        let said = answer
            .header("x-version")
            .and_then(|text| text.parse::<u64>().ok());
        let (200, Some(version)) = (answer.status, said) else {
            let told = String::from_utf8_lossy(&answer.body[..answer.body.len().min(80)]);
            return Err(Wrong::Answer(format!("{} {told:?} for {object}", answer.status)));
        };
        if answer.body != body(object, version) {
            let length = answer.body.len();
            return Err(Wrong::Answer(format!(
                "{length} other bytes than those of {object} in version {version}"
            )));
        }
        if version < oldest {
            let what = format!("{object} in version {version}, though {oldest} was acknowledged");
            return Err(Wrong::Stale(what));
        }
        Ok(())
    }
}

/// What may be wrong with an answer.
#[derive(Clone, Debug)]
pub(crate) enum Wrong {
    /// Older than what was acknowledged before it was asked for.
    Stale(String),
    /// Whole, and not what it should be.
    Answer(String),
    /// None came, or it broke off.
    BrokenOff(String),
}

impl Shared {
    fn answer(&self, request: &Request) -> Answer {
        let number = request.target.strip_prefix("/o/");
        let number = number.and_then(|text| text.strip_suffix(".png")?.parse::<usize>().ok());
        let Some(number) = number.filter(|number| *number < OBJECTS) else {
            return Answer::new(404);
        };
        let object = &self.objects[number];
        thread::sleep(Duration::from_millis(self.delay_ms.load(Ordering::SeqCst)));
        if self.failing.load(Ordering::SeqCst) {
            return Answer::new(503).with("cache-control", "no-store");
        }
        let version = object.version.load(Ordering::SeqCst);
        let entity_tag = format!("\"{number}-{version}\"");
        let confirmed = request.headers.get("if-none-match") == Some(entity_tag.as_str());
        let mut answer = if confirmed {
            object.confirmations.fetch_add(1, Ordering::SeqCst);
            Answer::new(304)
        } else {
            object.fetches.fetch_add(1, Ordering::SeqCst);
            Answer::new(200)
        };
        if !confirmed {
            answer.body = body(number, version);
        }
        answer
            .with("etag", entity_tag)
            .with("cache-control", "public, max-age=3600")
            .with("content-type", "image/png")
            .with("x-version", version.to_string())
    }
}
