//! What is busiest in the last minutes: paths, misses, bytes, referrers, clients.
//!
//! Invariant: bounded memory whatever is asked for, and bounded work: beyond a rate only a share is looked at, chosen by
//! chance, each for several. Counts are of two half windows, of which the older one goes as a whole. It sees what may be
//! shown and no more.

use super::dice::Dice;
use super::shown::Shown;
use super::sketch::Sketch;
use super::text;
use crate::base::metrics::Outcome;
use serde::Serialize;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// What is told spans one of these at least, and two at most.
const HALF_WINDOW: Duration = Duration::from_secs(150);

/// What is beyond it of a name is not told.
const COUNTED_BYTES_MAX: usize = 256;

/// Of more than these a share is looked at.
const REQUESTS_PER_SECOND_MAX: u64 = 5_000;

const SECOND: Duration = Duration::from_secs(1);

/// What requests are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum TopBy {
    /// Host and path, by requests.
    #[serde(rename = "path")]
    Paths,
    /// Of those, the ones that had to be fetched for it alone.
    #[serde(rename = "miss")]
    Misses,
    /// Host and path, by bytes of bodies as sent.
    #[serde(rename = "bytes")]
    Bytes,
    /// Hosts of the pages that ask.
    #[serde(rename = "referrer")]
    Referrers,
    #[serde(rename = "client")]
    Clients,
}

/// The busiest of one list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Top {
    pub(crate) by: TopBy,
    /// The time that the counts are of.
    pub(crate) window_secs: f64,
    /// Of all names together, those not listed too.
    pub(crate) total: u64,
    /// One request of so many was looked at of late; more than 1 makes all counts estimates.
    pub(crate) one_in: u64,
    /// The busiest first.
    pub(crate) entries: Vec<TopEntry>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct TopEntry {
    pub(crate) name: String,
    /// Requests or bytes, at least.
    pub(crate) count: u64,
    /// Of the total, from 0 to 1.
    pub(crate) share: f64,
    /// By how much the count may be too small.
    pub(crate) error: u64,
}

impl TopBy {
    pub(crate) const ALL: [TopBy; 5] = [
        TopBy::Paths,
        TopBy::Misses,
        TopBy::Bytes,
        TopBy::Referrers,
        TopBy::Clients,
    ];

    /// As the API and its commands say it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            TopBy::Paths => "path",
            TopBy::Misses => "miss",
            TopBy::Bytes => "bytes",
            TopBy::Referrers => "referrer",
            TopBy::Clients => "client",
        }
    }
}

/// All lists.
pub(super) struct Tops {
    entries_max: usize,
    now: Half,
    before: Option<Half>,
    share: Share,
    /// Where names are put together.
    name: Vec<u8>,
}

/// One half window of each list.
struct Half {
    began_at: Instant,
    lists: [Sketch; TopBy::ALL.len()],
}

/// How much of what comes is looked at.
struct Share {
    one_in: u64,
    second_began_at: Instant,
    seen: u64,
    dice: Dice,
}

impl Tops {
    /// Of no entries it counts nothing.
    pub(super) fn new(entries_max: usize, now: Instant) -> Self {
        Tops {
            entries_max,
            now: Half::new(entries_max, now),
            before: None,
            share: Share {
                one_in: 1,
                second_began_at: now,
                seen: 0,
                dice: Dice::new(),
            },
            name: Vec::new(),
        }
    }

    /// What was counted is forgotten where the size is another.
    pub(super) fn resize(&mut self, entries_max: usize) {
        if entries_max != self.entries_max {
            *self = Tops::new(entries_max, self.share.second_began_at);
        }
    }

    /// To be told often, above all before lines of another second are counted.
    pub(super) fn tick(&mut self, now: Instant) {
        let since = now - self.now.began_at;
        if since >= HALF_WINDOW {
            let half = std::mem::replace(&mut self.now, Half::new(self.entries_max, now));
            self.before = (since < 2 * HALF_WINDOW).then_some(half);
        }
        self.share.tick(now);
    }

    /// Whether a line is to be counted.
    pub(super) fn draws(&mut self) -> bool {
        self.entries_max > 0 && self.share.draws()
    }

    pub(super) fn count(&mut self, shown: &Shown<'_>) {
        let weight = self.share.one_in;
        let (line, lists) = (shown.line, &mut self.now.lists);
        if !shown.path.is_empty() {
            self.name.clear();
            self.name.extend(shown.host.iter().map(u8::to_ascii_lowercase));
            self.name.extend_from_slice(shown.path);
            let name = cut(&self.name);
            lists[TopBy::Paths as usize].add(name, weight);
            lists[TopBy::Bytes as usize].add(name, weight.saturating_mul(line.bytes));
            if line.outcome == Outcome::Miss {
                lists[TopBy::Misses as usize].add(name, weight);
            }
        }
        if !shown.referrer_host.is_empty() {
            lists[TopBy::Referrers as usize].add(cut(shown.referrer_host), weight);
        }
        if let Some(client) = line.client {
            self.name.clear();
            text::address(&mut self.name, network(client));
            lists[TopBy::Clients as usize].add(&self.name, weight);
        }
    }

    pub(super) fn top(&self, by: TopBy, limit: usize, now: Instant) -> Top {
        let halves = || self.before.iter().chain([&self.now]);
        let sketches = || halves().map(|half| &half.lists[by as usize]);
        let mut counts: HashMap<&[u8], u64> = HashMap::new();
        for (name, count) in sketches().flat_map(Sketch::counts) {
            *counts.entry(name).or_default() += count;
        }
        let total = sketches().map(Sketch::total).sum();
        let error = sketches().map(Sketch::error).sum();
        let mut counts: Vec<(&[u8], u64)> = counts.into_iter().collect();
        counts.sort_unstable_by(|(a_name, a), (b_name, b)| b.cmp(a).then(a_name.cmp(b_name)));
        let entry = |(name, count): &(&[u8], u64)| TopEntry {
            name: readable(name),
            count: *count,
            share: *count as f64 / total as f64,
            error,
        };
        let began_at = halves().map(|half| half.began_at).min();
        Top {
            by,
            window_secs: began_at.map_or(Duration::ZERO, |began| now - began).as_secs_f64(),
            total,
            one_in: self.share.one_in,
            entries: counts.iter().take(limit).map(entry).collect(),
        }
    }
}

impl Half {
    fn new(entries_max: usize, began_at: Instant) -> Self {
        Half {
            began_at,
            lists: std::array::from_fn(|_| Sketch::new(entries_max)),
        }
    }
}

impl Share {
    fn tick(&mut self, now: Instant) {
        let since = now - self.second_began_at;
        if since >= SECOND {
            let seen_each_second = (self.seen as f64 / since.as_secs_f64()) as u64;
            self.one_in = seen_each_second.div_ceil(REQUESTS_PER_SECOND_MAX).max(1);
            self.seen = 0;
            self.second_began_at = now;
        }
    }

    fn draws(&mut self) -> bool {
        self.seen += 1;
        self.one_in == 1 || self.dice.one_in(self.one_in)
    }
}

fn cut(name: &[u8]) -> &[u8] {
    &name[..name.len().min(COUNTED_BYTES_MAX)]
}

/// Names end up on terminals.
fn readable(name: &[u8]) -> String {
    let mut text = Vec::new();
    text::quoted(&mut text, name);
    String::from_utf8_lossy(&text).into_owned()
}

/// A client may have as many addresses of IPv6 as it likes, mostly within one /64.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::ShownQuery;
    use super::super::line::Line;
    use super::super::line::tests::line;
    use super::*;
    use crate::base::clock;

    fn count(tops: &mut Tops, line: &Line<'_>) {
        if tops.draws() {
            tops.count(&Shown::of(line, ShownQuery::None, &mut Vec::new()));
        }
    }

    fn names(tops: &Tops, by: TopBy) -> Vec<(String, u64)> {
        let top = tops.top(by, 10, clock::monotonic());
        let entries = top.entries.into_iter();
        entries.map(|entry| (entry.name, entry.count)).collect()
    }

    #[test]
    fn each_list_has_its_names_and_weights() {
        let now = clock::monotonic();
        let mut tops = Tops::new(100, now);
        let missed = Line {
            outcome: Outcome::Miss,
            host: b"SHOP.example",
            bytes: 5,
            referrer: b"",
            client: Some(IpAddr::from([0x2001, 0xdb8, 0, 0, 1, 2, 3, 4])),
            ..line(b"/b.jpg?w=300&token=s3cret")
        };
        count(&mut tops, &missed);
        count(&mut tops, &line(b"/a.jpg"));
        count(&mut tops, &line(b"/a.jpg?v=2"));
        let (a, b) = ("shop.example/a.jpg".to_owned(), "shop.example/b.jpg".to_owned());
        assert_eq!(names(&tops, TopBy::Paths), [(a.clone(), 2), (b.clone(), 1)]);
        assert_eq!(names(&tops, TopBy::Misses), [(b.clone(), 1)]);
        assert_eq!(names(&tops, TopBy::Bytes), [(a, 2048), (b, 5)]);
        assert_eq!(names(&tops, TopBy::Referrers), [("shop.example".to_owned(), 2)]);
        let clients = [("127.0.0.1".to_owned(), 2), ("2001:db8::".to_owned(), 1)];
        assert_eq!(names(&tops, TopBy::Clients), clients);
        let top = tops.top(TopBy::Bytes, 1, now);
        assert_eq!((top.total, top.entries.len()), (2053, 1));
        assert!(top.entries[0].share > 0.99);
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut now = clock::monotonic();
        let mut tops = Tops::new(100, now);
        count(&mut tops, &line(b"/old"));
        now += HALF_WINDOW;
        tops.tick(now);
        count(&mut tops, &line(b"/new"));
        assert_eq!(names(&tops, TopBy::Paths).len(), 2);
        now += HALF_WINDOW;
        tops.tick(now);
        assert_eq!(names(&tops, TopBy::Paths), [("shop.example/new".to_owned(), 1)]);
        tops.tick(now + 3 * HALF_WINDOW);
        assert_eq!(names(&tops, TopBy::Paths), []);
    }

    /// 40,000 requests in a second, of which one path has half; the next second is counted by a share.
    #[test]
    fn beyond_a_rate_a_share_is_counted_and_the_shares_of_names_hold() {
        let mut now = clock::monotonic();
        let mut tops = Tops::new(100, now);
        for second in 0..2 {
            for number in 0..40_000 {
                let path = if number % 2 == 0 {
                    "/half".into()
                } else {
                    format!("/{number}")
                };
                count(&mut tops, &line(path.as_bytes()));
            }
            now += SECOND;
            tops.tick(now);
            assert_eq!(tops.share.one_in, 8, "{second}");
        }
        let top = tops.top(TopBy::Paths, 1, now);
        assert_eq!(top.entries[0].name, "shop.example/half");
        assert!((60_000..100_000).contains(&top.total), "{top:?}");
        assert!((0.4..0.6).contains(&top.entries[0].share), "{top:?}");
    }

    #[test]
    fn hostile_names_are_cut_and_readable() {
        let mut tops = Tops::new(100, clock::monotonic());
        let long = [b"/\x1b[2J".as_slice(), &[b'a'; 10_000]].concat();
        count(&mut tops, &line(&long));
        let [(name, _)] = &names(&tops, TopBy::Paths)[..] else {
            panic!("one name")
        };
        assert!(name.starts_with("shop.example/\\x1b[2Ja"), "{name}");
        assert!(name.len() < COUNTED_BYTES_MAX + 10);
    }

    #[test]
    fn without_entries_nothing_is_counted() {
        let mut tops = Tops::new(0, clock::monotonic());
        count(&mut tops, &line(b"/a"));
        assert_eq!(names(&tops, TopBy::Paths), []);
    }
}
