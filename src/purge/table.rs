//! Which scopes were purged last, and at which index: what every hit is checked against.
//!
//! A purge is one insertion for each of its scopes, whatever the number of objects. Invariants: a standing never errs
//! towards valid: an entry that a purge of a higher index than its epoch covers is never found valid; once
//! [`Tables::applied`] tells an index, everything up to it is visible to every thread. Bounded: beyond `entries_max` scopes of
//! a kind share buckets that hold the highest index of all their scopes, and what is older than any entry that may be served
//! raises the floor. It does not know the log, nor time.

use super::buckets::Buckets;
use super::minimums::Minimums;
pub use super::minimums::Since;
use super::order::Mode;
use crate::base::epoch::{Epoch, PurgeIndex};
use crate::base::holes::{Hole, is_open};
use crate::scope::{Kind, Place, Scope, ScopeName, Tags};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const SHARDS: usize = 64;

/// What may be done with a stored entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// No purge covers it.
    Valid,
    /// It was purged softly: it may be revalidated, and served when the origin has confirmed it.
    Soft,
    /// It was purged, or may have been: nothing of it may be served.
    Hard,
}

/// What is looked for in the tables.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub key_text: &'a str,
    pub tags: &'a Tags,
    pub epoch: Epoch,
}

/// The highest index at which a scope was purged, by mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    hard: PurgeIndex,
    soft: PurgeIndex,
}

/// The tables as they are at one index, for a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    pub(super) applied: PurgeIndex,
    floor: PurgeIndex,
    depth_max: usize,
    scopes: Vec<(ScopeName, Marks)>,
    /// Only those that are in use.
    buckets: Vec<(u32, Marks)>,
    minimums: Vec<(ScopeName, Since)>,
}

pub struct Tables {
    shards: Vec<RwLock<HashMap<ScopeName, Marks>>>,
    /// Scopes of each kind: a kind nobody has purged is not looked for.
    counts: [AtomicUsize; Kind::ALL.len()],
    /// Segments of the deepest prefix: no longer ones are looked for.
    depth_max: AtomicUsize,
    buckets: Buckets,
    minimums: Minimums,
    floor: AtomicU64,
    applied: AtomicU64,
    entries_max: usize,
}

impl Tables {
    pub fn new(entries_max: usize, minimums_max: usize) -> Self {
        Tables {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            counts: Default::default(),
            depth_max: AtomicUsize::new(0),
            buckets: Buckets::default(),
            minimums: Minimums::new(minimums_max),
            floor: AtomicU64::new(1),
            applied: AtomicU64::new(0),
            entries_max,
        }
    }

    /// Up to which index everything is in the tables.
    pub fn applied(&self) -> PurgeIndex {
        PurgeIndex::from_number(self.applied.load(Ordering::Acquire))
    }

    /// What was asked of an origin before this index is not served.
    pub fn floor(&self) -> PurgeIndex {
        PurgeIndex::from_number(self.floor.load(Ordering::Acquire))
    }

    /// Scopes that have a place of their own.
    pub fn scopes(&self) -> usize {
        self.counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }

    /// Buckets that hold scopes for which there was no place.
    pub fn buckets_used(&self) -> usize {
        self.buckets.used()
    }

    pub fn standing(&self, subject: &Subject<'_>) -> Standing {
        let marks = self.covering(subject.key_text, subject.tags, |name| self.marks(name));
        // After the marks: what a raised floor has made forget in between is refused by the floor. An epoch that is ahead is
        // of a log that has lost its end.
        let is_ahead = subject.epoch > Epoch::at(self.applied());
        if marks.hard.is_after(subject.epoch) || self.floor().is_after(subject.epoch) || is_ahead {
            Standing::Hard
        } else if marks.soft.is_after(subject.epoch) {
            Standing::Soft
        } else {
            Standing::Valid
        }
    }

    /// The highest index at which a URL was purged, as far as it can be told without its tags.
    pub fn highest(&self, key_text: &str) -> PurgeIndex {
        let marks = self.covering(key_text, &Tags::default(), |name| self.marks(name));
        marks.highest()
    }

    /// What the origin's answer for a URL has to be at least, unless a later purge covers it: who ordered that knows better.
    pub fn minimum(&self, key_text: &str) -> Option<Since> {
        let since = self.minimums.of(key_text)?;
        // Not by buckets: a minimum would end by the purge of another URL.
        let marks = self.covering(key_text, &Tags::default(), |name| self.own_marks(name));
        (marks.highest() <= since.index).then_some(since)
    }

    fn covering(&self, key_text: &str, tags: &Tags, marks_of: impl Fn(ScopeName) -> Marks) -> Marks {
        let mut marks = Marks::default();
        let mut look = |name: ScopeName| marks = marks.joined(marks_of(name));
        if self.has(Kind::All) {
            look(Scope::All.name());
        }
        if self.has(Kind::Tag) {
            tags.names().iter().copied().for_each(&mut look);
        }
        let Some(place) = Place::of(key_text) else {
            return marks;
        };
        if self.has(Kind::Url) {
            look(place.url());
        }
        if self.has(Kind::Exact) {
            look(place.exact());
        }
        if self.has(Kind::Host) {
            look(place.host());
        }
        if self.has(Kind::Prefix) {
            let depth = self.depth_max.load(Ordering::Acquire);
            place.prefixes(depth).for_each(&mut look);
        }
        marks
    }

    fn has(&self, kind: Kind) -> bool {
        self.counts[kind as usize].load(Ordering::Acquire) > 0 || self.buckets.used() > 0
    }

    /// Of the scope alone, where it has a place of its own.
    fn own_marks(&self, name: ScopeName) -> Marks {
        self.shard(name).read().get(&name).copied().unwrap_or_default()
    }

    fn marks(&self, name: ScopeName) -> Marks {
        let own = self.own_marks(name);
        match self.buckets.used() {
            0 => own,
            _ => own.joined(self.buckets.marks(name)),
        }
    }

    fn shard(&self, name: ScopeName) -> &RwLock<HashMap<ScopeName, Marks>> {
        &self.shards[(name.number() >> 58) as usize % SHARDS]
    }
}

/// What only the one who applies the log may do.
impl Tables {
    /// Notes that a scope was purged. It counts for everybody from [`Tables::publish`] on, at the latest.
    pub(super) fn insert(&self, scope: &Scope, index: PurgeIndex, mode: Mode, minimum: Option<&Since>) {
        let name = scope.name();
        self.depth_max.fetch_max(scope.depth(), Ordering::AcqRel);
        self.join(name, Marks::of(index, mode));
        self.minimums.set(scope, minimum);
    }

    /// Everything up to `index` has been inserted.
    pub(super) fn publish(&self, index: PurgeIndex) {
        self.applied.fetch_max(index.number(), Ordering::AcqRel);
    }

    /// Forgets what is not after `floor`, and refuses what was asked for before.
    pub(super) fn raise_floor(&self, floor: PurgeIndex) {
        if !is_open(Hole::ForgetWithoutFloor) {
            // The floor first: what it forgets is refused by then.
            self.floor.fetch_max(floor.number(), Ordering::AcqRel);
        }
        let outlasts = |marks: &Marks| marks.highest() > floor;
        for shard in &self.shards {
            shard.write().retain(|name, marks| {
                let stays = outlasts(marks);
                if !stays {
                    self.count(*name).fetch_sub(1, Ordering::AcqRel);
                }
                stays
            });
        }
        self.buckets.forget(floor);
        self.minimums.forget(floor);
    }

    pub(super) fn contents(&self) -> Contents {
        let copied = |shard: &RwLock<HashMap<ScopeName, Marks>>| {
            let shard = shard.read();
            shard
                .iter()
                .map(|(name, marks)| (*name, *marks))
                .collect::<Vec<_>>()
        };
        Contents {
            applied: self.applied(),
            floor: self.floor(),
            depth_max: self.depth_max.load(Ordering::Acquire),
            scopes: self.shards.iter().flat_map(copied).collect(),
            buckets: self.buckets.contents(),
            minimums: self.minimums.contents(),
        }
    }

    /// Takes over what another node's, or an earlier, tables held. What is here already stays: it is of the same log.
    pub(super) fn take_over(&self, contents: Contents) {
        self.depth_max.fetch_max(contents.depth_max, Ordering::AcqRel);
        contents
            .scopes
            .into_iter()
            .for_each(|(name, marks)| self.join(name, marks));
        for (at, marks) in contents.buckets {
            self.buckets.join_at(at, marks);
        }
        self.minimums.replace(contents.minimums);
        self.raise_floor(contents.floor);
        self.publish(contents.applied);
    }

    fn join(&self, name: ScopeName, marks: Marks) {
        let is_full = self.count(name).load(Ordering::Acquire) >= self.entries_max;
        let mut shard = self.shard(name).write();
        match shard.get_mut(&name) {
            Some(present) => *present = present.joined(marks),
            None if is_full => {
                drop(shard);
                self.buckets.join(name, marks);
            }
            None => {
                // Counted first: whoever sees the count looks for the scope, and waits for the shard.
                self.count(name).fetch_add(1, Ordering::AcqRel);
                shard.insert(name, marks);
            }
        }
    }

    fn count(&self, name: ScopeName) -> &AtomicUsize {
        let kind = name.kind().unwrap_or(Kind::All);
        &self.counts[kind as usize]
    }
}

impl Contents {
    /// In the order of names, as every node has it.
    pub(super) fn sort(&mut self) {
        self.scopes.sort_unstable_by_key(|(name, _)| *name);
        self.minimums.sort_unstable_by_key(|(name, _)| *name);
    }
}

impl Marks {
    pub(super) const fn new(hard: PurgeIndex, soft: PurgeIndex) -> Self {
        Marks { hard, soft }
    }

    pub(super) fn hard(&self) -> PurgeIndex {
        self.hard
    }

    pub(super) fn soft(&self) -> PurgeIndex {
        self.soft
    }

    fn of(index: PurgeIndex, mode: Mode) -> Self {
        match mode {
            Mode::Hard => Marks {
                hard: index,
                soft: PurgeIndex::NONE,
            },
            Mode::Soft => Marks {
                hard: PurgeIndex::NONE,
                soft: index,
            },
        }
    }

    pub(super) fn joined(self, other: Marks) -> Self {
        Marks {
            hard: self.hard.max(other.hard),
            soft: self.soft.max(other.soft),
        }
    }

    pub(super) fn highest(&self) -> PurgeIndex {
        self.hard.max(self.soft)
    }
}

#[cfg(test)]
mod tests {
    use super::super::buckets;
    use super::super::order::{Batch, Minimum, Purge, PurgeId, Recall};
    use super::super::state::{Keeping, Snapshot, State};
    use super::*;
    use crate::base::clock::Timestamp;
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::time::Duration;

    const DAY_S: u64 = 86_400;
    const LIFE: Duration = Duration::from_secs(30 * DAY_S);

    const HOSTS: [&str; 2] = ["a.example", "b.example"];
    const PATHS: [&str; 5] = ["/", "/x", "/x/y", "/x/y/z.jpg", "/xy"];
    const QUERIES: [&str; 2] = ["", "?v=1"];
    const TAGS: [&str; 3] = ["red", "green", "blue"];

    /// Entries of the log before the first purge: its members, and its first leader.
    const BEFORE: usize = 2;

    /// What happens to a log, and by this its tables.
    #[derive(Clone, Debug)]
    enum Event {
        Purge(Vec<Scope>, Mode),
        Days(u64),
        /// From a snapshot, as of another process.
        Restart,
    }

    fn scope() -> impl Strategy<Value = Scope> {
        let host = || prop::sample::select(&HOSTS[..]);
        let path = || prop::sample::select(&PATHS[..]);
        let query = prop::sample::select(&QUERIES[..]);
        prop_oneof![
            3 => (host(), path()).prop_map(|(host, path)| Scope::url(host, path)),
            3 => (host(), path(), query)
                .prop_map(|(host, path, query)| Scope::exact(host, &format!("{path}{query}"))),
            3 => (host(), path()).prop_map(|(host, path)| Scope::prefix(host, path)),
            3 => prop::sample::select(&TAGS[..]).prop_map(Scope::tag),
            1 => host().prop_map(Scope::host),
            1 => Just(Scope::All),
        ]
    }

    fn event() -> impl Strategy<Value = Event> {
        let mode = prop_oneof![Just(Mode::Hard), Just(Mode::Soft)];
        prop_oneof![
            6 => (prop::collection::vec(scope(), 1..4), mode).prop_map(|(scopes, mode)| Event::Purge(scopes, mode)),
            2 => (0u64..20).prop_map(Event::Days),
            1 => Just(Event::Restart),
        ]
    }

    /// An entry's URL, written out by what scopes tell apart.
    struct Stored {
        host: &'static str,
        path: &'static str,
        query: &'static str,
        tags: Vec<&'static str>,
    }

    impl Stored {
        fn all() -> impl Iterator<Item = Stored> {
            let hosts = HOSTS.into_iter();
            let urls = hosts.flat_map(|host| PATHS.into_iter().map(move |path| (host, path)));
            let urls =
                urls.flat_map(|(host, path)| QUERIES.into_iter().map(move |query| (host, path, query)));
            urls.flat_map(|(host, path, query)| {
                [vec![], vec!["red"], vec!["green", "blue"]].map(|tags| Stored {
                    host,
                    path,
                    query,
                    tags,
                })
            })
        }

        fn is_covered(&self, scope: &Scope) -> bool {
            match scope {
                Scope::Url { host, path } => self.host == host && self.path == path,
                Scope::Exact { host, path_and_query } => {
                    self.host == host && format!("{}{}", self.path, self.query) == *path_and_query
                }
                Scope::Prefix { host, path } => {
                    self.host == host && format!("{}/", self.path).starts_with(&format!("{path}/"))
                }
                Scope::Tag(tag) => self.tags.contains(&tag.as_str()),
                Scope::Host(host) => self.host == host,
                Scope::All => true,
            }
        }

        fn standing(&self, tables: &Tables, epoch: Epoch) -> Standing {
            let mut names: Vec<_> = self.tags.iter().map(|tag| Scope::tag(tag).name()).collect();
            names.sort_unstable();
            tables.standing(&Subject {
                key_text: &format!("https://{}:8443{}{} 00ff", self.host, self.path, self.query),
                tags: &Tags::from_names(names),
                epoch,
            })
        }
    }

    /// All that ever happened, and what was made of it.
    struct History {
        purges: Vec<(Vec<Scope>, Mode, Timestamp)>,
        now: Timestamp,
        entries_max: usize,
        tables: Arc<Tables>,
        state: State,
    }

    impl History {
        fn new(entries_max: usize) -> Self {
            let (tables, mut state) = History::fresh(entries_max);
            state.pass_over(PurgeIndex::from_number(BEFORE as u64));
            History {
                purges: Vec::new(),
                now: Timestamp::from_secs(1_000_000_000),
                entries_max,
                tables,
                state,
            }
        }

        fn fresh(entries_max: usize) -> (Arc<Tables>, State) {
            let tables = Arc::new(Tables::new(entries_max, 1000));
            let keeping = Keeping { object_life: LIFE };
            (tables.clone(), State::new(tables, keeping))
        }

        fn happens(&mut self, event: Event) {
            match event {
                Event::Purge(scopes, mode) => self.purge(scopes, mode),
                Event::Days(days) => self.now = self.now.plus(Duration::from_secs(days * DAY_S)),
                Event::Restart => {
                    let kept = postcard::to_stdvec(&self.state.snapshot()).unwrap();
                    (self.tables, self.state) = History::fresh(self.entries_max);
                    self.state
                        .restore(postcard::from_bytes::<Snapshot>(&kept).unwrap());
                    let again = postcard::to_stdvec(&self.state.snapshot()).unwrap();
                    assert!(kept == again, "a restored state is another");
                }
            }
        }

        fn purge(&mut self, scopes: Vec<Scope>, mode: Mode) {
            self.purges.push((scopes.clone(), mode, self.now));
            let purge = Purge {
                id: PurgeId::unused(),
                scopes,
                mode,
                minimum: None,
                once: None,
            };
            let batch = Batch {
                at: self.now,
                wall: self.now,
                recall: Recall {
                    life: LIFE,
                    believed: LIFE,
                    count_max: 5,
                },
                purges: vec![purge],
            };
            let index = PurgeIndex::from_number((BEFORE + self.purges.len()) as u64);
            self.state.apply(index, &batch);
            assert_eq!(self.tables.applied(), index);
        }

        /// By the rule itself.
        fn expected(&self, stored: &Stored, epoch: usize) -> Standing {
            let covers = |scopes: &[Scope]| scopes.iter().any(|scope| stored.is_covered(scope));
            let later = self.purges[epoch - BEFORE..]
                .iter()
                .filter(|(scopes, ..)| covers(scopes));
            let standings = later.map(|(_, mode, _)| match mode {
                Mode::Hard => Standing::Hard,
                Mode::Soft => Standing::Soft,
            });
            standings.max().unwrap_or(Standing::Valid)
        }

        fn holds(&self) {
            let floor = self.tables.floor();
            if floor.number() > 1 {
                let (.., passed) = self.purges[floor.number() as usize - 1 - BEFORE];
                assert!(self.now.since(passed) > LIFE, "the floor was raised too early");
            }
            for stored in Stored::all() {
                for epoch in BEFORE..=BEFORE + self.purges.len() {
                    let at = Epoch::from_number(epoch as u64);
                    let standing = stored.standing(&self.tables, at);
                    let expected = self.expected(&stored, epoch);
                    let is_exact = self.tables.buckets_used() == 0 && !floor.is_after(at);
                    assert!(
                        if is_exact {
                            standing == expected
                        } else {
                            standing >= expected
                        },
                        "{standing:?} and not {expected:?}: {}{}{} with {:?} at {epoch}, floor {floor}",
                        stored.host,
                        stored.path,
                        stored.query,
                        stored.tags
                    );
                }
                assert_eq!(stored.standing(&self.tables, Epoch::UNKNOWN), Standing::Hard);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

        #[test]
        fn nothing_is_valid_that_a_later_purge_covers(
            entries_max in prop::sample::select(vec![1, 2, 5, 1000]),
            events in prop::collection::vec(event(), 1..30),
        ) {
            let mut history = History::new(entries_max);
            for event in events {
                history.happens(event);
            }
            history.holds();
        }

        #[test]
        fn tables_hold_no_more_than_they_may(
            entries_max in 0usize..5,
            events in prop::collection::vec(event(), 1..30),
        ) {
            let mut history = History::new(entries_max);
            for event in events {
                history.happens(event);
                prop_assert!(history.tables.scopes() <= entries_max * Kind::ALL.len());
            }
        }
    }

    #[test]
    fn what_is_forgotten_is_refused_by_the_floor() {
        let mut history = History::new(1000);
        history.purge(vec![Scope::url("a.example", "/x")], Mode::Hard);
        history.happens(Event::Days(31));
        history.purge(vec![Scope::tag("red")], Mode::Soft);
        assert_eq!(history.tables.scopes(), 1);
        assert_eq!(history.tables.floor(), PurgeIndex::from_number(3));
        history.happens(Event::Days(31));
        history.purge(vec![Scope::tag("blue")], Mode::Soft);
        assert_eq!(history.tables.floor(), PurgeIndex::from_number(4));
        history.holds();
    }

    /// As after a restart with a log that has lost its end.
    #[test]
    fn what_is_of_an_epoch_that_the_log_has_not_reached_is_refused() {
        let tables = Tables::new(10, 10);
        tables.publish(PurgeIndex::from_number(5));
        let at = |epoch| {
            tables.standing(&Subject {
                key_text: "http://h/x",
                tags: &Tags::default(),
                epoch: Epoch::from_number(epoch),
            })
        };
        assert_eq!(
            [at(4), at(5), at(6)],
            [Standing::Valid, Standing::Valid, Standing::Hard]
        );
    }

    #[test]
    fn what_has_no_place_purges_no_other_kind() {
        let mut history = History::new(0);
        let urls = (0..1000).map(|number| Scope::url("c.example", &format!("/{number}")));
        history.purge(urls.collect(), Mode::Hard);
        assert!(history.tables.buckets_used() > 900);
        for stored in Stored::all() {
            let names = [
                Scope::All,
                Scope::host(stored.host),
                Scope::prefix(stored.host, ""),
            ];
            for name in names.map(|scope| scope.name()) {
                assert_eq!(history.tables.marks(name), Marks::default());
            }
        }
    }

    #[test]
    fn a_purge_that_shares_a_bucket_ends_no_minimum() {
        let tables = Tables::new(1, 10);
        let index = PurgeIndex::from_number;
        let since = Since {
            index: index(3),
            at: Timestamp::ZERO,
            minimum: Minimum::EntityTag("\"7\"".into()),
        };
        tables.insert(&Scope::url("h", "/first"), index(2), Mode::Hard, None);
        let image = Scope::url("h", "/image");
        tables.insert(&image, index(3), Mode::Hard, Some(&since));
        let others = (0..).map(|number| Scope::url("h", &format!("/{number}")));
        let mut others = others.filter(|other| buckets::place(other.name()) == buckets::place(image.name()));
        tables.insert(&others.next().unwrap(), index(4), Mode::Hard, None);
        assert_eq!(tables.highest("http://h/image"), index(4));
        assert_eq!(tables.minimum("http://h/image"), Some(since));
        tables.insert(&image, index(5), Mode::Hard, None);
        assert_eq!(tables.minimum("http://h/image"), None);
    }

    #[test]
    fn no_thread_sees_a_gap_while_marks_are_replaced_and_forgotten() {
        let tables = Tables::new(10, 1000);
        let scopes = [Scope::url("h", "/x"), Scope::tag("t"), Scope::prefix("h", "/")];
        let tags = Tags::from_names(vec![Scope::tag("t").name()]);
        tables.publish(PurgeIndex::from_number(1));
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    loop {
                        let applied = tables.applied().number();
                        let standing = tables.standing(&Subject {
                            key_text: "http://h/x",
                            tags: &tags,
                            epoch: Epoch::from_number(applied - 1),
                        });
                        assert!(applied == 1 || standing != Standing::Valid, "at {applied}");
                        if applied == 20_000 {
                            return;
                        }
                    }
                });
            }
            for number in 2..=20_000 {
                let index = PurgeIndex::from_number(number);
                tables.insert(&scopes[number as usize % 3], index, Mode::Soft, None);
                tables.publish(index);
                if number % 7 == 0 {
                    tables.raise_floor(index);
                }
            }
        });
    }
}
