//! What a test does to a cluster, and what it asserts. Nodes are numbered from 1, and node 1 keeps the log of purges.

use crate::load::Load;
use std::ops::Range;
use std::time::Duration;

/// Done one after the other; each returns when what it says is so.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    // ---- Nodes ----
    /// So many, until each knows all of them.
    Start(usize),
    /// So many, each of which has then been asked for each of these objects twice.
    StartWarm(usize, Range<usize>),
    /// One more, until each knows all of them.
    Join(usize),
    /// SIGKILL.
    Kill(usize),
    /// SIGTERM, and its end; clients are sent elsewhere meanwhile.
    Leave(usize),
    /// `aquatint drain`.
    Drain(usize),
    /// `aquatint drain --undo`, until each knows all that live.
    Undrain(usize),
    /// SIGSTOP.
    Pause(usize),
    /// SIGCONT.
    Resume(usize),
    /// One that has ended is started again, until each knows all that live.
    Restart(usize, Disk),
    /// As a restart, without a wait for the others.
    Return(usize, Disk),
    /// Until a process has ended by itself.
    AwaitEnd(usize),
    /// A process with the id of another node, and a disk of its own.
    StartWithIdOf(usize, usize),
    /// A process with another secret, which asks to be let in.
    StartWithWrongSecret(usize),
    /// A process whose configuration the test has made such that the others do not let it in.
    StartStranger(usize),
    /// A process whose seeds nobody listens at.
    StartWithoutSeeds(usize),

    // ---- The network between them ----
    /// Nothing passes between the two sides.
    Partition(&'static [usize], &'static [usize]),
    /// Nothing that the first sends to the second arrives.
    PartitionOneWay(usize, usize),
    Heal,
    Delay(Duration),
    /// Every connection between nodes ends in the middle of what it carries.
    BreakConnections,
    /// So many datagrams of junk to a node's cluster port.
    Flood(usize, usize),

    // ---- The origin ----
    OriginDelay(Duration),
    OriginFails,
    OriginRecovers,
    /// Its counts begin at 0 again.
    CountAnew,

    // ---- Clients ----
    /// Each of these objects at each of these nodes, once.
    Ask(&'static [usize], Range<usize>),
    /// Until [`Operation::EndLoad`].
    BeginLoad(Load),
    /// Until so many more requests have been answered.
    AwaitAnswers(u64),
    EndLoad,
    /// Objects are changed and purged, one after the other, each order at another of these nodes; between them each is read at
    /// all nodes that can be reached.
    PurgeAndRead(&'static [usize], Range<usize>),
    /// As long as it takes until an order is acknowledged here again.
    AwaitPurges(usize),
    /// An order at this node is neither acknowledged nor taken for later.
    AssertPurgeRefused(usize),

    // ---- What has to be so ----
    /// Eventually these nodes know just these as alive.
    AssertMembers(&'static [usize], &'static [usize]),
    AssertOriginFetches(Fetches),
    /// Since the start: each answer was whole and right, but for requests in flight on a node that was killed or stood still.
    AssertNoClientErrors,
    /// Since the start: each answer that came whole was right.
    AssertRightBytes,
    /// So many orders have been acknowledged, or too little was proven.
    AssertPurges(u64),
    /// No answer was older than what had been acknowledged before its request.
    AssertNothingStale,
    /// Eventually, of the sum of a metric over these nodes.
    AssertMetric(&'static [usize], &'static str, Expected),
    /// Of the requests that these nodes answered for other nodes and for clients since the last [`Operation::CountAnew`],
    /// the busiest had at most so many times the mean.
    AssertBusiest(&'static [usize], f64),
    /// Eventually, on a node's stderr.
    AssertSays(usize, &'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    Kept,
    Lost,
}

/// How often the origin was asked for bodies, since the start or the last [`Operation::CountAnew`].
#[derive(Clone, Debug)]
pub(crate) enum Fetches {
    /// For each object of these.
    Each(Range<usize>, u64),
    EachAtMost(u64),
    /// For all together.
    AtMost(u64),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    Is(f64),
    AtLeast(f64),
}

impl Expected {
    pub(crate) fn suits(self, value: f64) -> bool {
        match self {
            Expected::Is(expected) => value == expected,
            Expected::AtLeast(least) => value >= least,
        }
    }
}
