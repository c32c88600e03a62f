//! Who is a member, by what gossip has heard.
//!
//! Each start of a node is a *life*. Of the lives of one id that are heard at the same time the newest counts, on every node
//! the same one. Another that goes on being heard beside it is a second node with that id: it is told of, and left out.
//!
//! A life is alive when the failure detector says so. It is dead when the detector says so and nothing new was heard for the
//! *patience* besides: with many nodes heartbeats come by so many ways that the detector would take a short pause for a death.
//! Each time it comes back soon after a death it has to be heard for longer before it counts, up to a minute: what flaps stays
//! out until it has stopped.
//!
//! Invariant: pure; the time is handed in. It does not know how things are heard.

use super::told::{About, Now, Said};
use crate::cluster::config::is_name;
use crate::cluster::member::{Generation, Member, NodeId, State};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Lives that are known at once; others are not listened to.
const LIVES_MAX: usize = 4096;
/// A life that comes back does not have to be heard for longer than this before it counts.
const PROBATION_MAX: Duration = Duration::from_secs(60);
/// A life that was alive for so long is as good as one that never died.
const FORGIVEN_AFTER: Duration = Duration::from_secs(300);

/// The order of generations, then of addresses, decides between two lives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LifeId {
    pub(super) node: Arc<str>,
    pub(super) generation: Generation,
    pub(super) address: SocketAddr,
}

/// What gossip knows of a life.
pub(super) struct Heard<'a> {
    pub(super) id: LifeId,
    pub(super) heartbeat: u64,
    /// Grows when what it says of itself changes.
    pub(super) version: u64,
    pub(super) detected: Detected,
    pub(super) about: Option<&'a str>,
    pub(super) now: Option<&'a str>,
}

/// What the failure detector says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detected {
    Live,
    Silent,
}

/// What one look at gossip has come to.
pub(super) struct Counted {
    pub(super) members: Vec<Arc<Member>>,
    /// What the lives said that can not be believed; each once.
    pub(super) malformed: u64,
    pub(super) duplicates: Vec<Duplicate>,
}

/// A second node with the id of a member that was heard again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Duplicate {
    pub(super) node: NodeId,
    pub(super) counts: SocketAddr,
    pub(super) left_out: SocketAddr,
}

pub(super) struct Census {
    patience: Duration,
    lives: BTreeMap<LifeId, Life>,
    /// By id.
    last: Vec<Arc<Member>>,
}

struct Life {
    heartbeat: u64,
    version: u64,
    said: Option<(About, Now)>,
    first_heard: Instant,
    last_heard: Instant,
    condition: Condition,
    /// Deaths it has come back from, lately.
    relapses: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// It may be a memory of others.
    Unknown,
    Alive {
        since: Instant,
    },
    Dead,
    /// Heard again, and not yet believed.
    OnProbation {
        since: Instant,
    },
}

impl Census {
    pub(super) fn new(patience: Duration) -> Self {
        Census {
            patience,
            lives: BTreeMap::new(),
            last: Vec::new(),
        }
    }

    /// For how long one that is not heard is waited for.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    pub(super) fn count(&mut self, heard: &[Heard<'_>], now: Instant) -> Counted {
        let heard = &heard[..heard.len().min(LIVES_MAX)];
        let known: BTreeSet<&LifeId> = heard.iter().map(|heard| &heard.id).collect();
        self.lives.retain(|id, _| known.contains(id));
        let malformed = heard.iter().map(|heard| self.hear(heard, now)).sum();
        let counting = self.counting();
        let duplicates = self.duplicates(&counting, now);
        let members: Vec<Arc<Member>> = counting
            .iter()
            .filter_map(|id| self.member(id))
            .map(|member| self.as_before(member))
            .collect();
        self.last.clone_from(&members);
        Counted {
            members,
            malformed,
            duplicates,
        }
    }

    /// Returns how many malformed values it has said.
    fn hear(&mut self, heard: &Heard<'_>, now: Instant) -> u64 {
        let patience = self.patience;
        let life = self
            .lives
            .entry(heard.id.clone())
            .or_insert_with(|| Life::new(now));
        if heard.heartbeat != life.heartbeat {
            life.heartbeat = heard.heartbeat;
            life.last_heard = now;
        }
        life.condition = life.next(heard.detected, patience, now);
        if heard.version == life.version {
            return 0;
        }
        life.version = heard.version;
        let (Some(about), Some(said_now)) = (heard.about, heard.now) else {
            // The rest is on its way.
            return 0;
        };
        let said = About::read(about).zip(Now::read(said_now));
        let believed = said.filter(|_| is_name(&heard.id.node) && is_reachable(heard.id.address));
        match believed {
            Some(said) => {
                life.said = Some(said);
                0
            }
            None => 1,
        }
    }

    /// Of each id the life that counts.
    fn counting(&self) -> Vec<LifeId> {
        let mut best: BTreeMap<&str, (bool, &LifeId)> = BTreeMap::new();
        for (id, life) in self.lives.iter().filter(|(_, life)| life.is_listed()) {
            let candidate = (life.takes_part(), id);
            let best = best.entry(&id.node).or_insert(candidate);
            *best = candidate.max(*best);
        }
        best.into_values().map(|(_, id)| id.clone()).collect()
    }

    fn duplicates(&self, counting: &[LifeId], now: Instant) -> Vec<Duplicate> {
        let mut found = Vec::new();
        for counts in counting {
            // What was on its way when the life that counts began may still arrive.
            let since = self.lives[counts].first_heard + self.patience;
            let others = self.lives.iter().filter(|(id, life)| {
                id.node == counts.node
                    && *id != counts
                    && life.takes_part()
                    && life.last_heard == now
                    && now > since
            });
            found.extend(others.map(|(id, _)| Duplicate {
                node: NodeId::new(&id.node),
                counts: counts.address,
                left_out: id.address,
            }));
        }
        found
    }

    fn member(&self, id: &LifeId) -> Option<Member> {
        let life = self.lives.get(id)?;
        let (about, now) = life.said.as_ref()?;
        Some(Member {
            id: NodeId::new(&id.node),
            generation: id.generation,
            address: id.address,
            zone: about.zone.as_str().into(),
            pool: about.pool.as_str().into(),
            weight: now.weight,
            roles: about.roles(),
            state: life.state(now.state),
            load: now.load,
            version: about.version.as_str().into(),
        })
    }

    /// One that has not changed stays the same value.
    fn as_before(&self, member: Member) -> Arc<Member> {
        let at = self.last.binary_search_by(|last| last.id.cmp(&member.id));
        let same = at.ok().map(|at| &self.last[at]).filter(|last| ***last == member);
        same.map_or_else(|| Arc::new(member), Arc::clone)
    }
}

impl Life {
    fn new(now: Instant) -> Self {
        Life {
            heartbeat: 0,
            version: 0,
            said: None,
            first_heard: now,
            last_heard: now,
            condition: Condition::Unknown,
            relapses: 0,
        }
    }

    fn next(&mut self, detected: Detected, patience: Duration, now: Instant) -> Condition {
        let silent = now.saturating_duration_since(self.last_heard) >= patience;
        match (self.condition, detected) {
            (Condition::Unknown, Detected::Live) => Condition::Alive { since: now },
            (Condition::Unknown, Detected::Silent) if silent => Condition::Dead,
            (Condition::Alive { since }, Detected::Silent) if silent => {
                self.relapses = match now.saturating_duration_since(since) >= FORGIVEN_AFTER {
                    true => 1,
                    false => self.relapses + 1,
                };
                Condition::Dead
            }
            (Condition::Dead, Detected::Live) => self.on_probation(now, patience, now),
            (Condition::OnProbation { .. }, Detected::Silent) => Condition::Dead,
            (Condition::OnProbation { since }, Detected::Live) => self.on_probation(since, patience, now),
            (same, _) => same,
        }
    }

    fn on_probation(&self, since: Instant, patience: Duration, now: Instant) -> Condition {
        // None after the first death, then twice as long each time.
        let probation = match self.relapses {
            0 | 1 => Duration::ZERO,
            more => patience
                .saturating_mul(1 << (more - 2).min(16))
                .min(PROBATION_MAX),
        };
        match now.saturating_duration_since(since) >= probation {
            true => Condition::Alive { since: now },
            false => Condition::OnProbation { since },
        }
    }

    fn is_listed(&self) -> bool {
        self.said.is_some() && self.condition != Condition::Unknown
    }

    fn is_alive(&self) -> bool {
        matches!(self.condition, Condition::Alive { .. })
    }

    fn takes_part(&self) -> bool {
        self.is_alive() && self.said.as_ref().is_some_and(|(_, now)| now.state != Said::Left)
    }

    fn state(&self, said: Said) -> State {
        match (said, self.is_alive()) {
            (Said::Left, _) | (_, true) => said.into(),
            (_, false) => State::Down,
        }
    }
}

fn is_reachable(address: SocketAddr) -> bool {
    !address.ip().is_unspecified() && !address.ip().is_multicast() && address.port() != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use crate::cluster::config::Config;

    const PATIENCE: Duration = Duration::from_secs(4);
    const TICK: Duration = Duration::from_millis(500);

    /// A node that is there or not, as gossip would tell of it.
    struct Node {
        id: LifeId,
        heartbeat: u64,
        about: String,
        now: Now,
    }

    impl Node {
        fn new(name: &str, generation: u64, port: u16) -> Self {
            Node {
                id: LifeId {
                    node: name.into(),
                    generation: Generation(generation),
                    address: ([127, 0, 0, 1], port).into(),
                },
                heartbeat: 1,
                about: About::of(&Config::default(), &NodeId::new(name)).written(),
                now: Now {
                    state: Said::Up,
                    weight: 100,
                    load: 0,
                },
            }
        }
    }

    struct World {
        census: Census,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            World {
                census: Census::new(PATIENCE),
                now: clock::monotonic(),
            }
        }

        /// After a tick, in which those that are live are heard.
        fn tick(&mut self, nodes: &mut [(&mut Node, Detected)]) -> Counted {
            self.now += TICK;
            for (node, detected) in nodes.iter_mut() {
                node.heartbeat += u64::from(*detected == Detected::Live);
            }
            let written: Vec<String> = nodes.iter().map(|(node, _)| node.now.written()).collect();
            let heard: Vec<Heard<'_>> = nodes
                .iter()
                .zip(&written)
                .map(|((node, detected), now)| Heard {
                    id: node.id.clone(),
                    heartbeat: node.heartbeat,
                    version: node.heartbeat,
                    detected: *detected,
                    about: Some(&node.about),
                    now: Some(now),
                })
                .collect();
            self.census.count(&heard, self.now)
        }

        fn states(&mut self, nodes: &mut [(&mut Node, Detected)]) -> Vec<State> {
            let counted = self.tick(nodes);
            counted.members.iter().map(|member| member.state).collect()
        }
    }

    use Detected::{Live, Silent};

    #[test]
    fn a_node_is_down_when_it_is_suspected_and_was_silent_for_the_patience() {
        let (mut world, mut node) = (World::new(), Node::new("a", 1, 1));
        assert_eq!(world.states(&mut [(&mut node, Live)]), [State::Up]);
        for _ in 0..7 {
            assert_eq!(world.states(&mut [(&mut node, Silent)]), [State::Up]);
        }
        assert_eq!(world.states(&mut [(&mut node, Silent)]), [State::Down]);
        assert_eq!(world.states(&mut [(&mut node, Live)]), [State::Up]);
    }

    #[test]
    fn a_node_that_others_remember_is_listed_down_and_not_up() {
        let (mut world, mut ghost) = (World::new(), Node::new("a", 1, 1));
        let states: Vec<_> = (0..12)
            .flat_map(|_| world.states(&mut [(&mut ghost, Silent)]))
            .collect();
        assert!(!states.is_empty() && states.iter().all(|state| *state == State::Down));
    }

    #[test]
    fn what_flaps_stays_down_until_it_has_stopped() {
        let (mut world, mut node) = (World::new(), Node::new("a", 1, 1));
        let mut rises = 0;
        let mut last = State::Down;
        // Five seconds there, five seconds not, for an hour.
        for round in 0..720 {
            let detected = if round / 10 % 2 == 0 { Live } else { Silent };
            for state in world.states(&mut [(&mut node, detected)]) {
                rises += u32::from(state == State::Up && last != State::Up);
                last = state;
            }
        }
        assert!((2..=4).contains(&rises), "{rises}");
        let stable: Vec<_> = (0..200)
            .flat_map(|_| world.states(&mut [(&mut node, Live)]))
            .collect();
        assert_eq!(stable.last(), Some(&State::Up));
    }

    #[test]
    fn of_two_nodes_with_one_id_the_newest_counts_and_the_other_is_told_of() {
        let mut world = World::new();
        let (mut old, mut new) = (Node::new("a", 1, 1), Node::new("a", 2, 2));
        let mut told = Vec::new();
        for _ in 0..20 {
            let counted = world.tick(&mut [(&mut old, Live), (&mut new, Live)]);
            assert_eq!(counted.members.len(), 1);
            assert_eq!(counted.members[0].address.port(), 2);
            told.extend(counted.duplicates);
        }
        assert!(told.len() > 1);
        assert_eq!((told[0].counts.port(), told[0].left_out.port()), (2, 1));
        // Without it the other is the node.
        let counted = (0..9)
            .map(|_| world.tick(&mut [(&mut old, Live), (&mut new, Silent)]))
            .last();
        assert_eq!(counted.unwrap().members[0].address.port(), 1);
    }

    #[test]
    fn a_restart_is_no_second_node() {
        let mut world = World::new();
        let (mut old, mut new) = (Node::new("a", 1, 1), Node::new("a", 2, 1));
        world.tick(&mut [(&mut old, Live)]);
        for round in 0..40 {
            // Its last heartbeats still come by others.
            let before = if round < 4 { Live } else { Silent };
            let counted = world.tick(&mut [(&mut old, before), (&mut new, Live)]);
            assert_eq!(counted.duplicates, []);
            assert_eq!(counted.members[0].generation, Generation(2));
        }
    }

    #[test]
    fn a_node_whose_clock_was_set_back_counts_when_its_former_life_is_over() {
        let mut world = World::new();
        let (mut former, mut present) = (Node::new("a", 9, 1), Node::new("a", 5, 1));
        world.tick(&mut [(&mut former, Live)]);
        let counted = (0..9)
            .map(|_| world.tick(&mut [(&mut former, Silent), (&mut present, Live)]))
            .last();
        let member = counted.unwrap().members[0].clone();
        assert_eq!((member.generation, member.state), (Generation(5), State::Up));
    }

    #[test]
    fn what_can_not_be_believed_is_counted_once_and_makes_no_member() {
        let mut world = World::new();
        let mut liar = Node::new("a", 1, 1);
        liar.about = "{}".into();
        let mut nameless = Node::new("a b", 1, 1);
        let mut nowhere = Node::new("c", 1, 0);
        let counted = world.tick(&mut [(&mut liar, Live), (&mut nameless, Live), (&mut nowhere, Live)]);
        assert_eq!((counted.members.len(), counted.malformed), (0, 3));
        let heard: Vec<_> = [&liar]
            .map(|node| Heard {
                id: node.id.clone(),
                heartbeat: 100,
                version: node.heartbeat,
                detected: Live,
                about: Some(&node.about),
                now: None,
            })
            .into();
        assert_eq!(world.census.count(&heard, world.now).malformed, 0);
    }

    #[test]
    fn a_member_that_has_not_changed_is_the_same_value() {
        let (mut world, mut node) = (World::new(), Node::new("a", 1, 1));
        let [one, other] = [(); 2].map(|()| world.tick(&mut [(&mut node, Live)]).members);
        assert!(Arc::ptr_eq(&one[0], &other[0]));
        node.now.load = 7;
        let changed = world.tick(&mut [(&mut node, Live)]).members;
        assert_eq!(changed[0].load, 7);
    }
}
