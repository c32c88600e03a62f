//! Those who change images and purge what they changed.
//!
//! Invariant: a URL counts as acknowledged at the version that the origin held before the first attempt of the purge was
//! sent, and only once a receipt says so. It does not know who reads.

use crate::history::Event;
use crate::order::{Mode, Node, Outcome, Purge, Way};
use crate::random::Random;
use crate::run::Shared;
use crate::world::{EntityTags, HOSTS, Scope, TAGS};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Attempts at one purge while its answer is lost.
const ATTEMPTS: usize = 40;

/// Between attempts at a node that is away.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Clone, Copy)]
enum Choice {
    Url,
    Exact,
    Prefix,
    Tag,
    Host,
    All,
}

const CHOICES: [(Choice, usize); 6] = [
    (Choice::Url, 700),
    (Choice::Exact, 140),
    (Choice::Prefix, 60),
    (Choice::Tag, 85),
    (Choice::Host, 11),
    (Choice::All, 4),
];

static NUMBERS: AtomicU64 = AtomicU64::new(1);

pub(crate) struct Writer<'a> {
    shared: &'a Shared,
    random: Random,
    /// The longest pause between two purges.
    pace: Duration,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(shared: &'a Shared, number: u64, pace: Duration) -> Self {
        Writer {
            shared,
            random: Random::new(shared.seed, 2000 + number),
            pace,
        }
    }

    pub(crate) fn run(&mut self) {
        while self.shared.is_running() {
            thread::sleep(self.random.span(self.pace));
            let scopes = self.scopes();
            let mode = if self.random.permille(400) {
                Mode::Soft
            } else {
                Mode::Hard
            };
            let way = self.way(&scopes);
            self.purge(scopes, mode, way);
        }
    }

    /// Changes what is covered, and purges it. Says whether that was acknowledged.
    pub(crate) fn purge(&mut self, scopes: Vec<Scope>, mode: Mode, way: Way) -> bool {
        let world = &self.shared.world;
        let covered = world.covered(&scopes);
        // Purges of what has not changed find entries that equal what the origin sends.
        if self.random.permille(900) {
            covered.iter().for_each(|url| world.change(*url));
        }
        let versions: Vec<_> = covered.iter().map(|url| (*url, world.current(*url))).collect();
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let purge = Arc::new(Purge::new(world, number, scopes, mode, way, &mut self.random));
        let now = self.shared.elapsed();
        for (url, version) in &versions {
            let event = Event::Submitted {
                purge: purge.clone(),
                version: *version,
            };
            world.history(*url).add(now, event);
        }
        let outcome = self.submit(&purge);
        let acknowledged = matches!(outcome, Outcome::Applied(_));
        for (url, version) in &versions {
            if acknowledged && self.counts(*url, mode) {
                world.acknowledge(*url, *version);
            }
        }
        self.note(&purge, &versions, &outcome);
        acknowledged
    }

    /// A soft purge allows a 304, and some URLs' entity tags lie.
    fn counts(&self, url: usize, mode: Mode) -> bool {
        mode == Mode::Hard || self.shared.world.urls[url].entity_tags == EntityTags::OfVersion
    }

    /// An answer that is lost is asked for again, by the same id.
    fn submit(&mut self, purge: &Purge) -> Outcome {
        let mut last = Outcome::Lost("no node".into());
        for _ in 0..ATTEMPTS {
            let node: Option<Node> = self.shared.node(&mut self.random);
            if let Some(node) = node {
                last = purge.submit(&self.shared.world, &node);
                if !matches!(last, Outcome::Lost(_)) {
                    return last;
                }
                self.shared.tally.add("purges lost", purge.way.name());
                // Who can not say that it is the same one again does not ask again.
                if purge.way == Way::Method {
                    return last;
                }
            }
            thread::sleep(PAUSE);
        }
        last
    }

    fn note(&self, purge: &Arc<Purge>, versions: &[(usize, u64)], outcome: &Outcome) {
        let tally = &self.shared.tally;
        let what = match outcome {
            Outcome::Applied(receipt) => {
                let scope = purge.scopes[0].name();
                tally.add(
                    "purges",
                    &format!("{scope} {} by {}", purge.mode.name(), purge.way.name()),
                );
                tally.add("purges by way", purge.way.name());
                format!("acknowledged: {receipt}")
            }
            Outcome::Refused(why) => {
                let status = why.split(' ').next().unwrap_or_default();
                tally.add("purges refused", &format!("{} {status}", purge.way.name()));
                self.shared.refused(&format!("{purge}: {why}"));
                format!("not acknowledged: {why}")
            }
            Outcome::Lost(why) => format!("not acknowledged: {why}"),
        };
        let now = self.shared.elapsed();
        for (url, _) in versions {
            let event = Event::Answered {
                purge: purge.clone(),
                what: what.clone(),
            };
            self.shared.world.history(*url).add(now, event);
        }
    }

    fn scopes(&mut self) -> Vec<Scope> {
        let random = &mut self.random;
        let urls = self.shared.world.urls.len();
        let many = if random.permille(200) {
            1 + random.below(5)
        } else {
            1
        };
        let url = |random: &mut Random| {
            let limit = if random.permille(300) { urls / 20 + 1 } else { urls };
            random.below(limit)
        };
        match random.weighted(&CHOICES) {
            Choice::Url => (0..many).map(|_| Scope::Url(url(random))).collect(),
            Choice::Exact => (0..many).map(|_| Scope::Exact(url(random))).collect(),
            Choice::Prefix => {
                let url = &self.shared.world.urls[random.below(urls)];
                let subdirectory = random.permille(700).then_some(url.subdirectory);
                let (host, directory) = (random.below(HOSTS), url.directory);
                vec![Scope::Prefix {
                    host,
                    directory,
                    subdirectory,
                }]
            }
            Choice::Tag => (0..many.min(2)).map(|_| Scope::Tag(random.below(TAGS))).collect(),
            Choice::Host => vec![Scope::Host(random.below(HOSTS))],
            Choice::All => vec![Scope::All],
        }
    }

    fn way(&mut self, scopes: &[Scope]) -> Way {
        let ways: &[Way] = match scopes {
            [Scope::Url(_)] => &[Way::Webhook, Way::Api, Way::Method],
            _ => &[Way::Webhook, Way::Api],
        };
        self.random.pick(ways)
    }
}
