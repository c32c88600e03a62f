//! Those who look at the shop's images: every kind of read, each judged.
//!
//! Invariant: what was acknowledged is looked up before the request's first byte is sent, so that an answer with a lower
//! version is a violation, whatever happened meanwhile. It does not know how purges are ordered.

use crate::history::Event;
use crate::random::Random;
use crate::run::{Shared, Violation};
use crate::stamp;
use crate::wire::{Answer, Connection, Request};
use crate::world::{EntityTags, Url};
use std::collections::HashMap;
use std::io;
use std::thread;
use std::time::Duration;

/// Of every range: whole pixels, wherever it begins.
const RANGE_BYTES_MIN: usize = 8;

/// Before a connection is tried again while the node is away.
const PAUSE: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Variant,
    Conditional,
    Range,
    IfRange,
    Head,
    /// The client allows what is stale.
    MaxStale,
    NoCache,
    OnlyIfCached,
    HangUp,
}

const KINDS: [(Kind, usize); 10] = [
    (Kind::Plain, 44),
    (Kind::Variant, 18),
    (Kind::Conditional, 13),
    (Kind::Range, 9),
    (Kind::IfRange, 4),
    (Kind::Head, 5),
    (Kind::MaxStale, 2),
    (Kind::NoCache, 1),
    (Kind::OnlyIfCached, 1),
    (Kind::HangUp, 3),
];

const VARIANTS: [&str; 4] = ["w=8&fm=png", "w=16&fm=png", "fm=png", "dominant"];
const ALTERNATES: [&str; 3] = ["red", "green", "blue"];

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Plain => "plain",
            Kind::Variant => "variant",
            Kind::Conditional => "conditional",
            Kind::Range => "range",
            Kind::IfRange => "if-range",
            Kind::Head => "head",
            Kind::MaxStale => "max-stale",
            Kind::NoCache => "no-cache",
            Kind::OnlyIfCached => "only-if-cached",
            Kind::HangUp => "hang-up",
        }
    }
}

pub(crate) struct Reader<'a> {
    shared: &'a Shared,
    random: Random,
    connection: Option<Connection>,
    /// The last validator seen of what was asked, with its version.
    seen: HashMap<String, (String, u64)>,
    hot: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(shared: &'a Shared, number: u64) -> Self {
        Reader {
            shared,
            random: Random::new(shared.seed, 1000 + number),
            connection: None,
            seen: HashMap::new(),
            hot: shared.world.urls.len() / 20 + 1,
        }
    }

    pub(crate) fn run(&mut self) {
        while self.shared.is_running() {
            let Some(url) = self.choose() else { continue };
            let kind = self.random.weighted(&KINDS);
            self.read(url, kind);
        }
    }

    /// Has a connection from here on, for a read that comes later.
    pub(crate) fn connect(&mut self) {
        self.connection = self.connected();
    }

    /// Reads one of those that are asked for most.
    pub(crate) fn read_hot(&mut self) {
        let url = self.random.below(self.hot);
        self.read(url, Kind::Plain);
    }

    /// Reads its share of everything there is, awake or not.
    pub(crate) fn read_share(&mut self, share: usize, of: usize) {
        for url in (share..self.shared.world.urls.len()).step_by(of) {
            self.read(url, Kind::Plain);
        }
    }

    fn choose(&mut self) -> Option<usize> {
        if self.random.permille(400) {
            return Some(self.random.below(self.hot));
        }
        let url = self.random.below(self.shared.world.urls.len());
        self.shared
            .world
            .is_awake(url, self.shared.elapsed())
            .then_some(url)
    }

    fn read(&mut self, number: usize, kind: Kind) {
        let shared = self.shared;
        let url = &shared.world.urls[number];
        let (request, condition) = self.request(url, kind);
        // A large one is no nicer for being decoded in a thousand reads a second.
        if url.side > 16 && !self.random.permille(50) {
            return;
        }
        let Some(mut connection) = self.connected() else {
            return;
        };
        shared.count_read();
        let needed = shared.world.acknowledged(number);
        let began = shared.elapsed();
        if kind == Kind::HangUp {
            drop(connection.send(&request));
            thread::sleep(self.random.span(Duration::from_millis(10)));
            shared.tally.add("reads", kind.name());
            return;
        }
        let answer = match connection.ask(&request) {
            Ok(answer) => answer,
            Err(error) => return self.failed(&error),
        };
        if !answer.ends_connection() && !self.random.permille(5) {
            self.connection = Some(connection);
        }
        let read = Read {
            url,
            kind,
            request,
            condition,
            needed,
            began,
            answer,
        };
        if let Some(seen) = read.judge(shared) {
            self.seen.insert(known_as(&read.request), seen);
        }
    }

    /// A node that is away, or has just gone: nothing was read.
    fn failed(&mut self, error: &io::Error) {
        self.shared
            .tally
            .add("outcomes", &format!("no answer: {:?}", error.kind()));
    }

    fn connected(&mut self) -> Option<Connection> {
        let node = self.shared.node(&mut self.random);
        let Some(node) = node else {
            thread::sleep(PAUSE);
            return None;
        };
        if let Some(connection) = self
            .connection
            .take()
            .filter(|connection| connection.to == node.edge)
        {
            return Some(connection);
        }
        let opened = Connection::open(node.edge);
        if opened.is_err() {
            thread::sleep(PAUSE);
        }
        opened.ok()
    }

    /// And the version of the validator that it carries.
    fn request(&mut self, url: &Url, kind: Kind) -> (Request, Option<u64>) {
        let mut target = url.target.clone();
        if kind == Kind::Variant || kind == Kind::Conditional && self.random.permille(300) {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str(self.random.pick(&VARIANTS));
        }
        let method = if kind == Kind::Head { "HEAD" } else { "GET" };
        let mut request = Request::new(method, &url.host, &target);
        if url.varies {
            request.headers.set("x-variant", self.random.pick(&ALTERNATES));
        }
        let seen = self.seen.get(&known_as(&request)).cloned();
        match (kind, seen) {
            (Kind::Conditional, Some((entity_tag, version))) => {
                request.headers.set("if-none-match", entity_tag);
                return (request, Some(version));
            }
            (Kind::Range | Kind::IfRange, seen) => {
                request.headers.set("range", self.range(url));
                if let (Kind::IfRange, Some((entity_tag, _))) = (kind, seen) {
                    request.headers.set("if-range", entity_tag);
                }
            }
            (Kind::MaxStale, _) => request.headers.set("cache-control", "max-stale=600"),
            (Kind::NoCache, _) => request.headers.set("cache-control", "no-cache"),
            (Kind::OnlyIfCached, _) => request.headers.set("cache-control", "only-if-cached"),
            _ => {}
        }
        (request, None)
    }

    fn range(&mut self, url: &Url) -> String {
        let length = stamp::HEADER + (url.side * url.side * 3) as usize;
        let from = stamp::HEADER + self.random.below(length - stamp::HEADER - RANGE_BYTES_MIN);
        let most = (length - from).min(400);
        match self.random.below(4) {
            0 => format!("bytes=-{most}"),
            1 => format!("bytes={from}-"),
            _ => format!("bytes={from}-{}", from + most - 1),
        }
    }
}

/// One answered read.
struct Read<'a> {
    url: &'a Url,
    kind: Kind,
    request: Request,
    /// The version of the validator that was sent along.
    condition: Option<u64>,
    needed: u64,
    began: Duration,
    answer: Answer,
}

impl Read<'_> {
    /// Its validator and version, where it has both.
    fn judge(&self, shared: &Shared) -> Option<(String, u64)> {
        let ended = shared.elapsed();
        shared.tally.add("reads", self.kind.name());
        shared.tally.add("outcomes", &self.outcome());
        let version = match self.version() {
            Ok(version) => version?,
            Err(wrong) => {
                self.report(shared, ended, &format!("a wrong answer, {wrong}"));
                return None;
            }
        };
        let how = format!(
            "{} {} {}",
            self.kind.name(),
            self.answer.status,
            self.cache_status()
        );
        let event = Event::Read {
            began: self.began,
            version,
            how,
        };
        shared.world.history(self.url.number).add(ended, event);
        if version < self.needed {
            self.report(shared, ended, &format!("version {version}"));
        }
        if version > shared.world.current(self.url.number) {
            self.report(shared, ended, &format!("version {version}, which never was"));
        }
        let entity_tag = self.answer.header("etag")?;
        (self.url.entity_tags == EntityTags::OfVersion).then(|| (entity_tag.to_owned(), version))
    }

    fn report(&self, shared: &Shared, ended: Duration, what: &str) {
        let Read {
            url,
            kind,
            request,
            needed,
            began,
            answer,
            ..
        } = self;
        let Url { number, host, .. } = url;
        shared.violated(Violation {
            url: *number,
            needed: *needed,
            told: format!(
                "{host}{} (url {number}, {url:?}) was answered with {what}, read as {} from {began:?} to {ended:?}, \
                 while {needed} was acknowledged before\n  asked with {:?}\n  answered {} with {:?}",
                request.target,
                kind.name(),
                request.headers.0,
                answer.status,
                answer.headers.0,
            ),
        });
    }

    fn cache_status(&self) -> &str {
        self.answer.header("cache-status").unwrap_or("-")
    }

    /// Without the numbers.
    fn outcome(&self) -> String {
        let members = self.cache_status().split(';').map(str::trim);
        let kept = members.filter(|member| !member.starts_with("ttl="));
        let said: Vec<_> = kept.skip(1).collect();
        let group = match self.answer.status {
            200..300 | 304 => String::new(),
            status => format!("{status} "),
        };
        format!("{group}{}", said.join("; "))
    }

    /// # Errors
    /// When the answer is of no version, or says two.
    fn version(&self) -> Result<Option<u64>, String> {
        let answer = &self.answer;
        let said = answer.header("x-version").map(str::parse::<u64>);
        let said = said.transpose().map_err(|error| error.to_string())?;
        let told = match answer.status {
            304 => return self.condition.map(Some).ok_or("304 without a condition".into()),
            200 if self.kind == Kind::Head => return Ok(said),
            200 => stamp::version_of(&answer.body)?,
            206 => stamp::version_of_part(&answer.body, offset(answer)?)?,
            // The origin failed, or the node stops. 504 is also what only-if-cached may get.
            500..=504 => return Ok(None),
            status => return Err(format!("status {status}")),
        };
        match said {
            Some(said) if said != told => Err(format!("a body of version {told} under x-version {said}")),
            _ => Ok(Some(told)),
        }
    }
}

/// What a validator is remembered by: the URL, with what is to be made of it, and the alternate.
fn known_as(request: &Request) -> String {
    let Request { target, headers, .. } = request;
    let host = headers.get("host").unwrap_or_default();
    format!("{host}{target} {}", headers.get("x-variant").unwrap_or_default())
}

fn offset(answer: &Answer) -> Result<usize, String> {
    let range = answer
        .header("content-range")
        .ok_or("206 without Content-Range")?;
    let start = range
        .strip_prefix("bytes ")
        .and_then(|range| range.split('-').next());
    let start = start.and_then(|start| start.parse().ok());
    start.ok_or_else(|| format!("Content-Range: {range}"))
}
