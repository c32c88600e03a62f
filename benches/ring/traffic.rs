//! Requests for many keys of which one is asked for as often as all others together, against several defences.
//!
//! A model: requests come to the nodes in turn, at 1,000 in a second for each; each is under way for as long as it takes 20
//! others to come to each node; everybody knows everybody's load as it is. Half of the requests are for one key, half for
//! 100,000 others of which the n-th is asked for 1/n as often as the first. The first fifth of the run is not counted.

use super::{equal, key, wanted};
use aquatint::base::clock;
use aquatint::cluster::config::Config;
use aquatint::cluster::hot::{Heat, TICK, Temperature};
use aquatint::cluster::load::{Bound, Draws, First, Loads, Underway};
use aquatint::key::KeyName;
use std::collections::{HashSet, VecDeque};

const KEYS: usize = 100_000;
/// For each node.
const REQUESTS: usize = 10_000;
const RATE: usize = 1000;
const UNDER_WAY: usize = 20;

/// What keeps a hot key's owner from having too much to do.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Defence {
    /// One owner.
    None,
    /// Two owners, of which the less busy is asked.
    Replicas,
    /// As well, no owner bears more than 1.25 times the mean.
    Bound,
    /// As with replicas, and each node keeps copies of hot keys.
    Copies,
    All,
}

pub(crate) struct Outcome {
    /// Requests that the busiest node answers, in proportion to the mean.
    pub(crate) busiest: f64,
    /// Shares of all requests.
    pub(crate) spilled: f64,
    pub(crate) copied: f64,
}

struct Node {
    heat: Heat,
    copies: HashSet<KeyName>,
    answered: u32,
}

impl Defence {
    pub(crate) const ALL: [Defence; 5] = [
        Defence::None,
        Defence::Replicas,
        Defence::Bound,
        Defence::Copies,
        Defence::All,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Defence::None => "one owner",
            Defence::Replicas => "two owners",
            Defence::Bound => "two owners, bounded load",
            Defence::Copies => "two owners, hot copies",
            Defence::All => "two owners, bounded load, hot copies",
        }
    }

    fn bound(self) -> Bound {
        let bound = Bound::new(&Config::default());
        match self {
            Defence::None => Bound {
                replication: 1,
                factor: f64::INFINITY,
                ..bound
            },
            Defence::Replicas | Defence::Copies => Bound {
                factor: f64::INFINITY,
                ..bound
            },
            Defence::Bound | Defence::All => bound,
        }
    }

    fn copies(self) -> bool {
        matches!(self, Defence::Copies | Defence::All)
    }
}

pub(crate) fn run(count: usize, defence: Defence) -> Outcome {
    let ring = equal(count);
    let loads = Loads::new(&ring);
    let bound = defence.bound();
    let stream = Stream::new();
    let mut nodes: Vec<Node> = (0..count).map(|_| Node::new()).collect();
    let mut under_way: VecDeque<Underway> = VecDeque::new();
    let mut now = clock::monotonic();
    let requests = count * REQUESTS;
    let ticks = requests * 1000 / (count * RATE) / TICK.as_millis() as usize;
    let (mut spilled, mut copied) = (0, 0);
    for number in 0..requests {
        if number % (requests / ticks) == 0 {
            now += TICK;
            nodes.iter().for_each(|node| node.heat.tick(now));
        }
        if number == requests / 5 {
            nodes.iter_mut().for_each(|node| node.answered = 0);
            (spilled, copied) = (0, 0);
        }
        let asked = number % count;
        let key = stream.next();
        let choice = bound.choose(&ring, &loads, &wanted(key), stream.draws.draw());
        let chosen = choice.order.iter().next().expect("the ring has nodes");
        let is_copy = nodes[asked].copies.contains(&key);
        let answers = if is_copy { asked } else { usize::from(chosen) };
        // A hit on a copy is reported to the owner, whose count it is.
        let temperature = nodes[usize::from(chosen)].heat.note(key);
        if defence.copies() && temperature != Temperature::Cold {
            nodes[asked].copies.insert(key);
        }
        copied += usize::from(is_copy);
        spilled += usize::from(!is_copy && choice.first == First::Spill);
        nodes[answers].answered += 1;
        under_way.push_back(loads.begin(answers as u16));
        if under_way.len() > count * UNDER_WAY {
            under_way.pop_front();
        }
    }
    let counted = requests - requests / 5;
    let most = nodes.iter().map(|node| node.answered).max().unwrap_or(0);
    Outcome {
        busiest: f64::from(most) * count as f64 / counted as f64,
        spilled: spilled as f64 / counted as f64,
        copied: copied as f64 / counted as f64,
    }
}

impl Node {
    fn new() -> Self {
        Node {
            heat: Heat::new(&Config::default()),
            copies: HashSet::new(),
            answered: 0,
        }
    }
}

struct Stream {
    keys: Vec<KeyName>,
    /// How often the keys up to each are asked for.
    cumulated: Vec<f64>,
    draws: Draws,
}

impl Stream {
    fn new() -> Self {
        let mut sum = 0.0;
        let cumulated = (1..=KEYS).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Stream {
            cumulated: cumulated.collect(),
            keys: (0..=KEYS).map(key).collect(),
            draws: Draws::new(1),
        }
    }

    /// The first key in half of all cases.
    fn next(&self) -> KeyName {
        if self.draws.draw().is_multiple_of(2) {
            return self.keys[0];
        }
        let even = (self.draws.draw() >> 11) as f64 / (1u64 << 53) as f64;
        let drawn = even * self.cumulated[KEYS - 1];
        self.keys[1 + self.cumulated.partition_point(|sum| *sum <= drawn)]
    }
}
