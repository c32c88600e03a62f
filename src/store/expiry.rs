//! Which names to look at for entries that expired unnoticed.
//!
//! Whoever meets an expired entry removes it; those that nobody asks for are found by sampling names at random.
//! While more than a quarter of a sample had expired, another is drawn. Names of entries that are gone are
//! weeded out when they are drawn. Invariant: the number of names is bounded; beyond it a new name takes the
//! place of a random one, whose entry is left to eviction. It does not know times.

use super::Shared;
use super::memory::Expiry;
use super::name_hasher::ShortName;
use crate::base::clock;
use crate::key::KeyName;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

const SAMPLE: usize = 64;

/// Samples drawn in one round: a bound on the work between two rests.
const SAMPLES_MAX: usize = 16;

pub(super) struct Names {
    list: Mutex<List>,
    count_max: usize,
}

struct List {
    names: Vec<ShortName>,
    random: Random,
}

/// Whether another sample is worth drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Yield {
    Rich,
    Poor,
}

impl Names {
    pub(super) fn new(count_max: usize) -> Self {
        Names::with_seed(count_max, RandomState::new().build_hasher().finish())
    }

    fn with_seed(count_max: usize, seed: u64) -> Self {
        let list = List {
            names: Vec::new(),
            random: Random(seed),
        };
        Names {
            list: Mutex::new(list),
            count_max,
        }
    }

    /// To be called once for each entry that comes into memory.
    pub(super) fn add(&self, name: KeyName) {
        let name = ShortName::from(name);
        let mut list = self.list.lock();
        if list.names.len() < self.count_max {
            list.names.push(name);
        } else if let Some(place) = list.random_place() {
            list.names[place] = name;
        }
    }

    /// Each once.
    pub(super) fn all(&self) -> HashSet<ShortName> {
        self.list.lock().names.iter().copied().collect()
    }

    /// Looks at samples for as long as they pay; how many had expired.
    pub(super) fn sweep(&self, look: impl Fn(ShortName) -> Expiry) -> u64 {
        let mut expired = 0;
        for _ in 0..SAMPLES_MAX {
            let (found, worth) = self.look_at_sample(&look);
            expired += found;
            if worth == Yield::Poor {
                break;
            }
        }
        expired
    }

    fn look_at_sample(&self, look: &impl Fn(ShortName) -> Expiry) -> (u64, Yield) {
        let mut expired = 0;
        let mut alive = 0;
        for _ in 0..SAMPLE {
            let Some(name) = self.list.lock().draw() else {
                break;
            };
            match look(name) {
                Expiry::Alive => {
                    alive += 1;
                    self.list.lock().names.push(name);
                }
                Expiry::Expired(_) => expired += 1,
                Expiry::Absent => {}
            }
        }
        let worth = if expired * 3 > alive && expired > 0 {
            Yield::Rich
        } else {
            Yield::Poor
        };
        (expired, worth)
    }
}

impl Shared {
    pub(super) fn sweep(&self) {
        let now = clock::now().minus(self.keep_expired);
        let ssd = self.tier.current();
        let expired = self.names.sweep(|name| {
            let expiry = self.memory.expire(name, now);
            if let (Expiry::Expired(name), Some(ssd)) = (expiry, &ssd) {
                ssd.remove_entry(name);
            }
            expiry
        });
        self.metrics.expirations.inc_by(expired);
    }
}

/// Sweeps for as long as the store is open.
pub(super) async fn expire(shared: Arc<Shared>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        shared.sweep();
    }
}

impl List {
    fn draw(&mut self) -> Option<ShortName> {
        let place = self.random_place()?;
        Some(self.names.swap_remove(place))
    }

    fn random_place(&mut self) -> Option<usize> {
        let count = u64::try_from(self.names.len()).expect("a length fits");
        let place = self.random.next().checked_rem(count)?;
        usize::try_from(place).ok()
    }
}

/// splitmix64: good enough to choose whom to look at.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    fn name(number: u32) -> KeyName {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        KeyName::from_bytes(bytes)
    }

    fn names(count: u32, count_max: usize) -> Names {
        let names = Names::with_seed(count_max, 7);
        (0..count).for_each(|number| names.add(name(number)));
        names
    }

    #[test]
    fn sweeps_find_all_that_expired_and_forget_them() {
        let names = names(4000, 10_000);
        let expired = RefCell::new((0..4000).step_by(2).map(name).collect::<Vec<_>>());
        let mut found = 0;
        for _ in 0..2000 {
            found += names.sweep(|short| {
                let mut expired = expired.borrow_mut();
                match expired.iter().position(|name| ShortName::from(*name) == short) {
                    Some(place) => Expiry::Expired(expired.swap_remove(place)),
                    None => Expiry::Alive,
                }
            });
        }
        assert_eq!(found, 2000);
        assert_eq!(names.list.lock().names.len(), 2000);
    }

    #[test]
    fn a_sweep_goes_on_while_most_have_expired_and_stops_when_few_have() {
        let names = names(4000, 10_000);
        let looks = Cell::new(0);
        names.sweep(|_| {
            looks.set(looks.get() + 1);
            Expiry::Alive
        });
        assert_eq!(looks.get(), SAMPLE);
        assert_eq!(
            names.sweep(|_| Expiry::Expired(name(0))),
            (SAMPLE * SAMPLES_MAX) as u64
        );
    }

    #[test]
    fn names_of_entries_that_are_gone_are_weeded_out() {
        let names = names(100, 100);
        names.sweep(|_| Expiry::Absent);
        names.sweep(|_| Expiry::Absent);
        assert!(names.list.lock().names.is_empty());
        assert_eq!(names.sweep(|_| Expiry::Absent), 0);
    }

    #[test]
    fn names_never_outgrow_their_bound() {
        let names = names(100, 10);
        assert_eq!(names.list.lock().names.len(), 10);
        assert!(names.list.lock().names.contains(&name(99).into()));
    }
}
