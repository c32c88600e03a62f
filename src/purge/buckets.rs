//! Where scopes go for which the tables have no place: many share one bucket, which holds the highest index of all.
//!
//! Invariant: a scope that was put here is found; so is one that was not and shares its bucket, which purges too much and
//! never too little. Kinds have buckets apart: a URL never purges a host. It does not know places of scopes' own.

use super::table::Marks;
use crate::base::epoch::PurgeIndex;
use crate::scope::{Kind, ScopeName};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Of each kind; a power of two.
const BUCKETS: usize = 1 << 16;

/// Takes no memory until it is needed.
#[derive(Default)]
pub(super) struct Buckets {
    all: OnceLock<Box<[Bucket]>>,
    used: AtomicUsize,
}

#[derive(Default)]
struct Bucket {
    hard: AtomicU64,
    soft: AtomicU64,
}

impl Buckets {
    /// How many hold a scope.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }

    pub(super) fn marks(&self, name: ScopeName) -> Marks {
        let bucket = self.all.get().and_then(|all| all.get(place(name)));
        bucket.map(Bucket::marks).unwrap_or_default()
    }

    pub(super) fn join(&self, name: ScopeName, marks: Marks) {
        self.join_at(u32::try_from(place(name)).expect("there are far fewer"), marks);
    }

    /// As [`Buckets::contents`] numbers them; one that is not there is left out, as a table of another size would have it.
    pub(super) fn join_at(&self, at: u32, marks: Marks) {
        let all = self.all.get_or_init(|| {
            let count = BUCKETS * Kind::ALL.len();
            std::iter::repeat_with(Bucket::default).take(count).collect()
        });
        if let Some(bucket) = all.get(at as usize) {
            // Counted first: whoever sees none in use does not look.
            if bucket.marks() == Marks::default() {
                self.used.fetch_add(1, Ordering::AcqRel);
            }
            bucket.hard.fetch_max(marks.hard().number(), Ordering::AcqRel);
            bucket.soft.fetch_max(marks.soft().number(), Ordering::AcqRel);
        }
    }

    /// Empties those that hold nothing after `floor`.
    pub(super) fn forget(&self, floor: PurgeIndex) {
        for bucket in self.all.get().into_iter().flatten() {
            let marks = bucket.marks();
            if marks != Marks::default() && marks.highest() <= floor {
                bucket.hard.store(0, Ordering::Release);
                bucket.soft.store(0, Ordering::Release);
                self.used.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    /// Those in use, by number.
    pub(super) fn contents(&self) -> Vec<(u32, Marks)> {
        let all = self.all.get().into_iter().flatten();
        let numbered = (0..).zip(all.map(Bucket::marks));
        numbered.filter(|(_, marks)| *marks != Marks::default()).collect()
    }
}

impl Bucket {
    fn marks(&self) -> Marks {
        let [hard, soft] = [&self.hard, &self.soft].map(|mark| mark.load(Ordering::Acquire));
        Marks::new(PurgeIndex::from_number(hard), PurgeIndex::from_number(soft))
    }
}

pub(super) fn place(name: ScopeName) -> usize {
    let kind = name.kind().unwrap_or(Kind::All) as usize;
    kind * BUCKETS + (name.number() >> 20) as usize % BUCKETS
}
