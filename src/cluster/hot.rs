//! Which keys are hot: asked for so often that their owners should not answer alone.
//!
//! Requests are counted in a count-min sketch (Cormode, Muthukrishnan 2005), in two windows of which the older fades as the
//! newer fills; the keys that reach the rate are listed. Invariants: the sketch never counts too few of a window's requests; no
//! more keys are hot than is allowed; counting takes no lock. Pure: [`Heat::tick`] is handed the time. It does not know what
//! is done with hot keys.

use super::config::Config;
use crate::key::KeyName;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Over which rates are taken. A key of ten times the rate is hot after a tenth of it.
pub const WINDOW: Duration = Duration::from_secs(2);

/// How often [`Heat::tick`] should be called, at least, for rates to be as fresh as they are meant.
pub const TICK: Duration = Duration::from_millis(250);

const ROWS: usize = 4;

/// Of a row. With the 256 KiB that this makes, 100,000 requests in a second for different keys add some 20 to a count.
const COLUMNS: usize = 8192;

/// What one report may add to a key's count: more comes of no client's hits.
const REPORTED_MAX: u32 = 1 << 20;

/// A count that is no longer added to.
const COUNT_MAX: u32 = 1 << 30;

/// A newcomer to a full list has to be hotter than its coldest by a fourth: keys of about one heat do not take turns.
const MARGIN: (u32, u32) = (5, 4);

/// How hot a key is, at a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temperature {
    Cold,
    /// With its requests in a second.
    Hot(u32),
}

/// The heat of all keys.
pub struct Heat {
    limits: Option<Limits>,
    sketch: Sketch,
    /// In order of names.
    hot: ArcSwap<Vec<KeyName>>,
    /// The count that a newcomer has to pass.
    bar: AtomicU32,
    /// Held by who changes the list or the windows.
    window: Mutex<Window>,
}

/// As counts in a window.
#[derive(Clone, Copy, Debug)]
struct Limits {
    hot_from: u32,
    /// Half of it, or keys of about that rate would come and go.
    cold_below: u32,
    keys_max: usize,
}

#[derive(Debug, Default)]
struct Window {
    started: Option<Instant>,
}

impl Heat {
    pub fn new(config: &Config) -> Self {
        let hot_from = config.hot_rate.saturating_mul(WINDOW.as_secs() as u32);
        let limits = Limits {
            hot_from,
            cold_below: hot_from / 2,
            keys_max: config.hot_keys_max,
        };
        Heat {
            limits: Some(limits).filter(|limits| limits.hot_from > 0 && limits.keys_max > 0),
            sketch: Sketch::new(),
            hot: ArcSwap::default(),
            bar: AtomicU32::new(0),
            window: Mutex::default(),
        }
    }

    /// Counts a request.
    pub fn note(&self, key: KeyName) -> Temperature {
        self.add(key, 1)
    }

    /// Counts requests that others have answered.
    pub fn add(&self, key: KeyName, requests: u32) -> Temperature {
        let Some(limits) = &self.limits else {
            return Temperature::Cold;
        };
        let count = self.sketch.add(key, requests.min(REPORTED_MAX));
        if count < limits.cold_below {
            return Temperature::Cold;
        }
        let listed = is_listed(&self.hot.load(), key);
        let comes = count >= limits.hot_from && count > self.bar.load(Ordering::Relaxed);
        if listed || (comes && self.list(limits, key, count)) {
            Temperature::Hot(rate(count))
        } else {
            Temperature::Cold
        }
    }

    /// Without counting anything.
    pub fn temperature(&self, key: KeyName) -> Temperature {
        if is_listed(&self.hot.load(), key) {
            Temperature::Hot(rate(self.sketch.count(key)))
        } else {
            Temperature::Cold
        }
    }

    /// All that are hot, with their requests in a second, hottest first.
    pub fn hottest(&self) -> Vec<(KeyName, u32)> {
        let hot = self.hot.load();
        let rates = hot.iter().map(|key| (*key, rate(self.sketch.count(*key))));
        let mut rates: Vec<_> = rates.collect();
        rates.sort_unstable_by_key(|(key, rate)| (std::cmp::Reverse(*rate), *key));
        rates
    }

    /// Lets counts fade as time goes by, and keys cool. `now` never runs back.
    pub fn tick(&self, now: Instant) {
        let Some(limits) = &self.limits else {
            return;
        };
        let mut window = self.window.lock();
        let started = *window.started.get_or_insert(now);
        let mut within = now.saturating_duration_since(started);
        if within >= WINDOW {
            self.sketch.turn();
            within -= WINDOW;
            if within >= WINDOW {
                self.sketch.turn();
                within = Duration::ZERO;
            }
            window.started = now.checked_sub(within);
        }
        self.sketch.fade(within);
        self.cool(limits);
    }

    /// While `window` is locked.
    fn cool(&self, limits: &Limits) {
        let hot = self.hot.load();
        let counted = hot.iter().map(|key| (*key, self.sketch.count(*key)));
        let kept: Vec<(KeyName, u32)> = counted.filter(|(_, count)| *count >= limits.cold_below).collect();
        self.set_bar(limits, &kept);
        if kept.len() < hot.len() {
            self.hot
                .store(Arc::new(kept.into_iter().map(|(key, _)| key).collect()));
        }
    }

    /// Whether there is room for it among the hot. Does not wait: another of its requests will come.
    #[cold]
    fn list(&self, limits: &Limits, key: KeyName, count: u32) -> bool {
        let Some(_changing) = self.window.try_lock() else {
            return false;
        };
        let hot = self.hot.load();
        if is_listed(&hot, key) {
            return true;
        }
        let mut counted: Vec<_> = hot.iter().map(|key| (*key, self.sketch.count(*key))).collect();
        if counted.len() >= limits.keys_max {
            self.set_bar(limits, &counted);
            if count <= self.bar.load(Ordering::Relaxed) {
                return false;
            }
            let coldest = (0..counted.len()).min_by_key(|index| counted[*index].1);
            coldest.map(|index| counted.swap_remove(index));
        }
        counted.push((key, count));
        self.set_bar(limits, &counted);
        let mut keys: Vec<KeyName> = counted.into_iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        self.hot.store(Arc::new(keys));
        true
    }

    /// By those that are listed, with their counts.
    fn set_bar(&self, limits: &Limits, counted: &[(KeyName, u32)]) {
        let coldest = counted.iter().map(|(_, count)| *count).min();
        let coldest = coldest.filter(|_| counted.len() >= limits.keys_max);
        let bar = coldest.map_or(0, |count| count / MARGIN.1 * MARGIN.0);
        self.bar.store(bar, Ordering::Relaxed);
    }
}

fn is_listed(hot: &[KeyName], key: KeyName) -> bool {
    hot.binary_search(&key).is_ok()
}

fn rate(count: u32) -> u32 {
    count / WINDOW.as_secs() as u32
}

/// Counts of all keys together: of each row's cell that a key falls in, the least.
struct Sketch {
    /// Row by row; the lower half of a cell is the window's count, the upper the one's before.
    cells: Box<[AtomicU64]>,
    /// How much the window before still counts, in 256ths.
    fading: AtomicU32,
}

impl Sketch {
    fn new() -> Self {
        Sketch {
            cells: (0..ROWS * COLUMNS).map(|_| AtomicU64::new(0)).collect(),
            fading: AtomicU32::new(256),
        }
    }

    /// A key's name is a hash: its bits are even, and its four words independent of each other.
    fn cells(&self, key: KeyName) -> impl Iterator<Item = &AtomicU64> {
        let (words, _) = key.as_bytes().as_chunks::<4>();
        let columns: [usize; ROWS] =
            std::array::from_fn(|row| u32::from_le_bytes(words[row]) as usize % COLUMNS);
        (0..ROWS).map(move |row| &self.cells[row * COLUMNS + columns[row]])
    }

    /// The count with what is added.
    fn add(&self, key: KeyName, requests: u32) -> u32 {
        let fading = self.fading.load(Ordering::Relaxed);
        let counts = self.cells(key).map(|cell| {
            let mut halves = cell.load(Ordering::Relaxed);
            if halves as u32 <= COUNT_MAX {
                halves = cell.fetch_add(u64::from(requests), Ordering::Relaxed) + u64::from(requests);
            }
            faded(halves, fading)
        });
        counts.min().unwrap_or(0)
    }

    fn count(&self, key: KeyName) -> u32 {
        let fading = self.fading.load(Ordering::Relaxed);
        let counts = self
            .cells(key)
            .map(|cell| faded(cell.load(Ordering::Relaxed), fading));
        counts.min().unwrap_or(0)
    }

    /// Begins a window. Meanwhile requests count twice rather than not at all.
    fn turn(&self) {
        self.fade(Duration::ZERO);
        for cell in &self.cells {
            // It never refuses, so the result says nothing.
            let _before =
                cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |halves| Some(halves << 32));
        }
    }

    fn fade(&self, within: Duration) {
        let left = WINDOW.saturating_sub(within).as_millis() * 256 / WINDOW.as_millis();
        self.fading.store(left as u32, Ordering::Relaxed);
    }
}

fn faded(halves: u64, fading: u32) -> u32 {
    let before = (halves >> 32) * u64::from(fading) / 256;
    (halves & u64::from(u32::MAX))
        .saturating_add(before)
        .min(u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests;
