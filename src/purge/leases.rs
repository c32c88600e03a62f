//! Who may serve from its cache while it follows the log: the voter's registry of leases, and a follower's own one.
//!
//! ```text
//! follower: sends a renewal at s ---------> voter: receives it at r, reads the committed index c
//! follower: may serve until s + L  <------- voter: grants (L, barrier c), waits for it until r + L(1+rho) + delta
//!           once it has applied c
//! ```
//!
//! Invariants: an order is acknowledged only when each process that may hold a lease that was granted before the order was
//! committed has applied it, or that lease has run out here; a lease that is granted later is of no use before the order is
//! applied, so that nobody has to wait for it. Pure: the time is handed in. It does not know messages.

use crate::base::clock::BootTime;
use crate::base::epoch::PurgeIndex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

mod held;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub(super) use held::Held;

/// How much faster one node's clock may run than another's: one part in so many. Quartz differs by less than 1/10,000, and a
/// clock that is slewed by 1/1,000.
const CLOCK_RATE_PARTS: u32 = 100;

/// What reading a clock may be off, with much to spare.
const CLOCK_SLACK: Duration = Duration::from_millis(10);

/// Leases of one process that are told apart: beyond it the last two count as one that was granted as the earlier and runs out
/// as the later.
const GRANTS_MAX: usize = 64;

/// Steps of a process that are known with their time, for receipts.
const STEPS_MAX: usize = 64;

/// How long a process that is silent is named in receipts.
const NAMED_FOR: Duration = Duration::from_secs(600);

/// One life of a follower.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    pub node: Arc<str>,
    /// Chosen by the process at its start.
    pub process: [u8; 16],
}

/// What a follower may count on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// From when the renewal was sent.
    pub lease: Duration,
    /// The lease is effective once this is applied.
    pub barrier: PurgeIndex,
}

/// What a follower says of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Renewal<'a> {
    pub(super) holder: &'a Holder,
    pub(super) applied: PurgeIndex,
    /// At the voter, read after the renewal arrived.
    pub(super) committed: PurgeIndex,
}

/// Why there is no lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotGranted {
    /// The follower has applied what is not in this log.
    Ahead,
    /// As many processes as may be are known.
    Crowded,
    /// The log is closed: another process may have it.
    Closed,
}

/// Whether an order may be acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Acknowledgement {
    Ready {
        /// With when that was first heard.
        applied: Vec<(Arc<str>, BootTime)>,
        /// Nodes without a lease that have not applied it.
        fenced: Vec<Arc<str>>,
    },
    /// Not before, unless somebody says that it has applied it.
    Wait(BootTime),
}

/// Of the voter.
pub(super) struct Leases {
    lease: Duration,
    holders_max: usize,
    /// Until then leases may be held that an earlier voter granted.
    earlier_until: BootTime,
    holders: BTreeMap<Holder, Standing>,
    is_closed: bool,
}

/// What the voter knows of a holder.
struct Standing {
    applied: PurgeIndex,
    /// When it was first heard that it had applied so much; oldest first.
    steps: VecDeque<(PurgeIndex, BootTime)>,
    /// By barrier, and by when they run out.
    grants: VecDeque<Granted>,
}

#[derive(Clone, Copy)]
struct Granted {
    barrier: PurgeIndex,
    until: BootTime,
}

/// For how long the voter waits for a lease from when its renewal was received.
pub(super) fn held_for(lease: Duration) -> Duration {
    lease + lease / CLOCK_RATE_PARTS + CLOCK_SLACK
}

/// A node, and when it was first heard to have applied an order.
type Heard = (Arc<str>, BootTime);

impl Leases {
    /// `earlier`: the longest lease that a voter before this one may have granted, up to `now`.
    pub(super) fn new(lease: Duration, holders_max: usize, earlier: Option<Duration>, now: BootTime) -> Self {
        Leases {
            lease,
            holders_max,
            earlier_until: earlier.map_or(BootTime::ZERO, |earlier| now.plus(held_for(earlier))),
            holders: BTreeMap::new(),
            is_closed: false,
        }
    }

    /// Grants a lease on what was received at `received`.
    pub(super) fn renew(&mut self, received: BootTime, renewal: Renewal<'_>) -> Result<Grant, NotGranted> {
        let Renewal {
            holder,
            applied,
            committed,
        } = renewal;
        if self.is_closed {
            return Err(NotGranted::Closed);
        }
        if applied > committed {
            return Err(NotGranted::Ahead);
        }
        self.forget(holder, received);
        if !self.holders.contains_key(holder) && self.holders.len() >= self.holders_max {
            return Err(NotGranted::Crowded);
        }
        let standing = self
            .holders
            .entry(holder.clone())
            .or_insert_with(|| Standing::new(received));
        standing.note(applied, received);
        standing.forget(received);
        standing.grant(Granted {
            barrier: committed,
            until: received.plus(held_for(self.lease)),
        });
        Ok(Grant {
            lease: self.lease,
            barrier: committed,
        })
    }

    /// A process says that it serves nothing any more.
    pub(super) fn release(&mut self, holder: &Holder) {
        self.holders.remove(holder);
    }

    /// No lease is granted from here on.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Whether the order at `index`, which is committed, may be acknowledged.
    pub(super) fn may_acknowledge(&self, index: PurgeIndex, now: BootTime) -> Acknowledgement {
        let blocks = |standing: &Standing| standing.blocks(index, now);
        let until = self.holders.values().filter_map(blocks).max();
        let earlier = (self.earlier_until > now).then_some(self.earlier_until);
        if let Some(until) = until.max(earlier) {
            return Acknowledgement::Wait(until);
        }
        let (applied, fenced) = self.shares(index);
        Acknowledgement::Ready { applied, fenced }
    }

    /// Nodes that have applied the order at `index`, with when that was first heard, and those that have not.
    pub(super) fn shares(&self, index: PurgeIndex) -> (Vec<Heard>, Vec<Arc<str>>) {
        let (mut applied, mut fenced): (Vec<Heard>, Vec<_>) = (Vec::new(), Vec::new());
        for (holder, standing) in &self.holders {
            match (standing.applied_at(index), applied.last_mut()) {
                // Of one node there are two while one process hands over to the other.
                (Some(at), Some((node, last))) if *node == holder.node => *last = at.max(*last),
                (Some(at), _) => applied.push((holder.node.clone(), at)),
                (None, _) => fenced.push(holder.node.clone()),
            }
        }
        fenced.dedup();
        fenced.retain(|node| !applied.iter().any(|(applied, _)| applied == node));
        (applied, fenced)
    }

    /// Up to where orders may be acknowledged, of those that are committed.
    pub(super) fn acknowledgeable(&self, committed: PurgeIndex, now: BootTime) -> PurgeIndex {
        if self.earlier_until > now {
            return PurgeIndex::NONE;
        }
        let limits = self.holders.values().filter_map(|standing| standing.limit(now));
        limits.min().map_or(committed, |limit| limit.min(committed))
    }

    /// How many processes may hold a lease, and how many are known that do not.
    pub(super) fn counts(&self, now: BootTime) -> (usize, usize) {
        let is_leased = |standing: &&Standing| standing.is_leased(now);
        let leased = self.holders.values().filter(is_leased).count();
        (leased, self.holders.len() - leased)
    }

    /// Whether nobody holds a lease.
    pub(super) fn is_quiet(&self, now: BootTime) -> bool {
        self.earlier_until <= now && self.counts(now).0 == 0
    }

    /// Those that hold no lease any more: earlier ones of the same node, and those of long ago.
    fn forget(&mut self, renewed: &Holder, now: BootTime) {
        self.holders.retain(|holder, standing| {
            let is_earlier = holder.node == renewed.node && holder.process != renewed.process;
            standing.is_leased(now) || !(is_earlier || standing.is_old(now))
        });
    }
}

impl Standing {
    fn new(now: BootTime) -> Self {
        Standing {
            applied: PurgeIndex::NONE,
            steps: VecDeque::from([(PurgeIndex::NONE, now)]),
            grants: VecDeque::new(),
        }
    }

    /// What is said late does not count.
    fn note(&mut self, applied: PurgeIndex, now: BootTime) {
        if applied <= self.applied {
            return;
        }
        self.applied = applied;
        self.steps.push_back((applied, now));
        if self.steps.len() > STEPS_MAX {
            self.steps.pop_front();
        }
    }

    /// What has run out, but for the last: it tells since when.
    fn forget(&mut self, now: BootTime) {
        while self.grants.len() > 1 && self.grants.front().is_some_and(|first| first.until <= now) {
            self.grants.pop_front();
        }
    }

    fn grant(&mut self, granted: Granted) {
        if let Some(last) = self.grants.back_mut()
            && (last.barrier >= granted.barrier || granted.barrier <= self.applied)
        {
            // Of leases that no order tells apart, the one that lasts.
            last.barrier = last.barrier.min(granted.barrier);
            last.until = last.until.max(granted.until);
        } else {
            self.grants.push_back(granted);
        }
        // What is applied here is asked about no more: of the leases it was granted by, the last one lasts.
        while let [first, second, ..] = self.grants.make_contiguous()
            && second.barrier <= self.applied
        {
            second.until = second.until.max(first.until);
            self.grants.pop_front();
        }
        if self.grants.len() > GRANTS_MAX
            && let Some(last) = self.grants.pop_back()
            && let Some(before) = self.grants.back_mut()
        {
            before.until = before.until.max(last.until);
        }
    }

    /// Until when the order at `index` has to wait for it: a lease whose barrier is not before the order is of no use until the
    /// order is applied.
    fn blocks(&self, index: PurgeIndex, now: BootTime) -> Option<BootTime> {
        if self.applied >= index {
            return None;
        }
        let earlier = self.grants.iter().filter(|granted| granted.barrier < index);
        let until = earlier.map(|granted| granted.until).max();
        until.filter(|until| *until > now)
    }

    /// The highest index that does not wait for it; `None`: none does.
    fn limit(&self, now: BootTime) -> Option<PurgeIndex> {
        let mut live = self.grants.iter().filter(|granted| granted.until > now);
        live.next().map(|granted| granted.barrier.max(self.applied))
    }

    fn applied_at(&self, index: PurgeIndex) -> Option<BootTime> {
        let step = self.steps.iter().find(|(applied, _)| *applied >= index);
        step.map(|(_, at)| *at)
    }

    fn until(&self) -> BootTime {
        let last = self.grants.iter().map(|granted| granted.until).max();
        last.unwrap_or(BootTime::ZERO)
    }

    fn is_leased(&self, now: BootTime) -> bool {
        self.until() > now
    }

    fn is_old(&self, now: BootTime) -> bool {
        now.since(self.until()) > NAMED_FOR
    }
}
