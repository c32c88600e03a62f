//! The origin: it holds a growing version of each URL, and every answer says which.
//!
//! An answer is asked for, waits, reads the version, waits, and is sent: what was read before a purge may arrive long after
//! it. Now and then it fails, or breaks off. Invariant: an answer is of one version, the one that was current at one
//! moment between its request and its end.

use crate::history::Event;
use crate::random::Random;
use crate::run::Shared;
use crate::stamp;
use crate::wire::{Answer, Headers, Request, Server};
use crate::world::{EntityTags, Lifetime, TagHeader, Url, tag};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Of a thousand answers: how many wait, fail, and break off.
const SLOW: usize = 600;
const FAILING: usize = 4;
const BREAKING_OFF: usize = 3;

pub(crate) struct Origin(Server);

impl Origin {
    /// `delay` is how long an answer may wait before, and again after its version is read.
    pub(crate) fn start(shared: Arc<Shared>, delay: Duration) -> Origin {
        let asked = AtomicU64::new(0);
        Origin(Server::start(move |request| {
            let number = asked.fetch_add(1, Ordering::Relaxed);
            answer(
                &shared,
                request,
                delay,
                &mut Random::new(shared.seed, number << 8),
            )
        }))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address()
    }
}

fn answer(shared: &Shared, request: &Request, delay: Duration, random: &mut Random) -> Answer {
    let host = request.headers.get("host").unwrap_or_default();
    let Some(url) = shared.world.at(host, &request.target) else {
        shared.tally.add("origin", "404");
        return Answer::new(404).with("x-asked", format!("{host}{}", request.target));
    };
    let began = shared.elapsed();
    pause(delay, random);
    let version = shared.world.current(url.number);
    pause(delay, random);
    if random.permille(FAILING) {
        shared.tally.add("origin", "503");
        return Answer::new(503).with("cache-control", "no-store");
    }
    let mut answer = versioned(url, version, request);
    if request.method == "GET" && answer.body.len() > 1 && random.permille(BREAKING_OFF) {
        answer.cut_at = Some(answer.body.len() / 2);
    }
    let how = format!(
        "{} {}{}",
        request.method,
        answer.status,
        if answer.cut_at.is_some() {
            ", broken off"
        } else {
            ""
        }
    );
    shared.tally.add("origin", &how);
    let event = Event::Fetched { began, version, how };
    shared.world.history(url.number).add(shared.elapsed(), event);
    answer
}

fn pause(delay: Duration, random: &mut Random) {
    if random.permille(SLOW) {
        thread::sleep(random.span(delay));
    }
}

fn versioned(url: &Url, version: u64, request: &Request) -> Answer {
    let alternate = match request.headers.get("x-variant") {
        Some(name) if url.varies => format!("-{name}"),
        _ => String::new(),
    };
    let entity_tag = url.entity_tag(version, &alternate);
    if names(&request.headers, "if-none-match", &entity_tag) {
        return said(Answer::new(304), url, version, &entity_tag, "304");
    }
    let owner = if url.varies {
        url.owner ^ alternate.len() as u32
    } else {
        url.owner
    };
    let body = stamp::bitmap(version, url.side, owner);
    let kept = request
        .headers
        .get("if-range")
        .is_none_or(|condition| condition == entity_tag);
    let range = request
        .headers
        .get("range")
        .filter(|_| kept && request.method == "GET");
    let answer = match range.and_then(|range| bounds(range, body.len())) {
        Some((from, to)) => {
            let total = body.len();
            let mut answer = Answer::new(206).with("content-range", format!("bytes {from}-{to}/{total}"));
            answer.body = body[from..=to].to_vec();
            answer
        }
        None => Answer {
            body,
            ..Answer::new(200)
        },
    };
    said(answer, url, version, &entity_tag, &request.method)
}

/// The header. One whose entity tags lie says its version with its body alone: what is learned without a body is put upon
/// the stored one.
fn said(answer: Answer, url: &Url, version: u64, entity_tag: &str, what: &str) -> Answer {
    let mut answer = answer
        .with("etag", entity_tag)
        .with("cache-control", cache_control(url.lifetime))
        .with("content-type", "image/bmp")
        .with("accept-ranges", "bytes");
    if url.entity_tags == EntityTags::OfVersion || what == "GET" {
        answer.headers.set("x-version", version.to_string());
    }
    if url.varies {
        answer.headers.set("vary", "x-variant");
    }
    match url.tags {
        Some((TagHeader::SurrogateKey, [a, b])) => {
            answer
                .headers
                .set("surrogate-key", format!("{} {}", tag(a), tag(b).to_lowercase()));
        }
        Some((TagHeader::CacheTag, [a, b])) => {
            answer
                .headers
                .set("cache-tag", format!("{},{}", tag(a).to_uppercase(), tag(b)));
        }
        None => {}
    }
    answer
}

fn cache_control(lifetime: Lifetime) -> &'static str {
    match lifetime {
        Lifetime::Long => "public, max-age=3600",
        Lifetime::LongThenStale => "max-age=3600, stale-while-revalidate=600, stale-if-error=600",
        Lifetime::ShortThenStale => "max-age=1, stale-while-revalidate=60, stale-if-error=60",
        Lifetime::Revalidated => "no-cache",
    }
}

fn names(headers: &Headers, condition: &str, entity_tag: &str) -> bool {
    let listed = headers.get(condition).unwrap_or_default().split(',');
    listed
        .into_iter()
        .any(|one| one.trim().trim_start_matches("W/") == entity_tag)
}

/// Of a single range; others are not understood, and the whole body is sent.
pub(crate) fn bounds(range: &str, length: usize) -> Option<(usize, usize)> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let last = length - 1;
    let (from, to) = match (from.parse::<usize>(), to.parse::<usize>()) {
        (Ok(from), Ok(to)) => (from, to.min(last)),
        (Ok(from), Err(_)) => (from, last),
        (Err(_), Ok(count)) => (length.saturating_sub(count), last),
        (Err(_), Err(_)) => return None,
    };
    (from <= to).then_some((from, to))
}
