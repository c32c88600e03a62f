//! Chitchat as it runs: what this node says is put in, what the others say is taken out.
//!
//! Invariant: one task does both, so that what is said and what is counted have one order. It ends with chitchat, and whoever
//! follows the roll sees its end. It does not know what members are for.

use super::census::{Census, Counted, Detected, Duplicate, Heard, LifeId};
use super::rarely::Rarely;
use super::seeds::Seeds;
use super::told::{ABOUT, About, NOW, Now, Said};
use super::transport::Sealed;
use super::weight::{Ramp, Rounded};
use super::{Arrival, MembersError, Own, OwnState, Roll};
use crate::base::clock;
use crate::base::metrics::{GossipDrop, Label, MemberState, Metrics};
use crate::cluster::config::Config;
use crate::cluster::member::{Generation, Member, State};
use chitchat::{
    Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, NodeState, spawn_chitchat,
};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// Whoever has the secret is of the cluster; no other name is needed.
const CLUSTER: &str = "aquatint";
/// How long the dead are remembered, and spoken to.
const DEAD_FOR: Duration = Duration::from_secs(600);
/// Heartbeats that the failure detector remembers of each life.
const SAMPLES: usize = 200;
/// How often the seeds are asked by a node that knows others.
const SEEDS_INTERVAL: Duration = Duration::from_secs(30);
/// How often by one that is alone, at the most.
const ALONE_INTERVAL_MIN: Duration = Duration::from_millis(500);
/// So many rounds of gossip without anybody are enough to go on alone.
const SETTLE_ROUNDS: u32 = 6;
/// Rounds in which it is said that this node goes, and how long one takes at most.
const FAREWELLS: u32 = 2;
const FAREWELL_MAX: Duration = Duration::from_millis(500);

pub(super) enum Command {
    Say(Said, oneshot::Sender<()>),
    Leave(oneshot::Sender<()>),
    End(oneshot::Sender<()>),
}

pub(super) struct Gossip {
    chitchat: Arc<ChitchatHandle>,
    own: Own,
    heard: Arc<Notify>,
    load: Arc<AtomicU32>,
    metrics: Arc<Metrics>,
    census: Census,
    ramp: Ramp,
    rounded: Rounded,
    said: Said,
    duplicates: Rarely,
    /// When another process of this node's id was last heard.
    rival_heard: Option<Instant>,
    contested: watch::Sender<bool>,
}

impl From<OwnState> for Said {
    fn from(state: OwnState) -> Said {
        match state {
            OwnState::Up => Said::Up,
            OwnState::Draining => Said::Draining,
        }
    }
}

impl Gossip {
    pub(super) async fn start(
        config: &Config,
        own: &Own,
        generation: Generation,
        transport: &Sealed,
        load: Arc<AtomicU32>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, MembersError> {
        let id = ChitchatId::new(own.id.as_str(), generation.0, own.address);
        let about = vec![(ABOUT.to_owned(), About::of(config, &own.id).written())];
        let started = spawn_chitchat(settings(config, id), about, transport).await;
        let chitchat = started.map_err(|error| MembersError::Gossip(error.to_string()))?;
        let heard = Arc::new(Notify::new());
        let wake = heard.clone();
        let listen = move |chitchat: &mut Chitchat| {
            let wake = wake.clone();
            chitchat.subscribe_event("", move |_| wake.notify_one()).forever();
        };
        chitchat.with_chitchat(listen).await;
        let interval = config.gossip_interval.get();
        let mut ramp = Ramp::new(config.weight, config.ramp.get(), clock::monotonic());
        if own.arrival == Arrival::TakesOver {
            ramp.skip();
        }
        Ok(Gossip {
            chitchat: Arc::new(chitchat),
            own: own.clone(),
            heard,
            load,
            metrics,
            census: Census::new(interval.mul_f64(config.suspicion)),
            ramp,
            rounded: Rounded::default(),
            said: own.state.into(),
            duplicates: Rarely::default(),
            rival_heard: None,
            contested: watch::Sender::new(false),
        })
    }

    /// Whether another process has this node's id.
    pub(super) fn contested(&self) -> watch::Receiver<bool> {
        self.contested.subscribe()
    }

    pub(super) fn spawn(
        self,
        config: &Config,
        ordered: mpsc::Receiver<Command>,
        roll: watch::Sender<Roll>,
        settled: watch::Sender<bool>,
    ) -> Vec<AbortHandle> {
        let interval = config.gossip_interval.get();
        let seeds = Seeds::new(&config.seeds, self.own.address);
        let seek = seek(
            self.chitchat.clone(),
            seeds,
            interval,
            roll.subscribe(),
            self.own.clone(),
        );
        let settle = Settle {
            deadline: match config.seeds.is_empty() {
                true => Duration::ZERO,
                false => interval * SETTLE_ROUNDS,
            },
            began: clock::monotonic(),
            settled,
        };
        let run = self.run(interval, ordered, roll, settle);
        vec![
            tokio::spawn(run).abort_handle(),
            tokio::spawn(seek).abort_handle(),
        ]
    }

    async fn run(
        mut self,
        period: Duration,
        mut ordered: mpsc::Receiver<Command>,
        roll: watch::Sender<Roll>,
        settle: Settle,
    ) {
        let ended = self.chitchat.termination_watcher();
        tokio::pin!(ended);
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let command = tokio::select! {
                _ = ticks.tick() => None,
                () = self.heard.notified() => None,
                command = ordered.recv() => match command {
                    Some(command) => Some(command),
                    None => break,
                },
                ended = &mut ended => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "gossip has ended");
                    }
                    break;
                }
            };
            if let Some(command) = command
                && self.obey(command, period, &roll).await.is_break()
            {
                break;
            }
            self.round(&roll).await;
            settle.look(&mut self.ramp, &self.own, &roll.borrow());
        }
    }

    /// Breaks where gossip has ended by it.
    async fn obey(
        &mut self,
        command: Command,
        period: Duration,
        roll: &watch::Sender<Roll>,
    ) -> ControlFlow<()> {
        let (flow, done) = match command {
            Command::Say(said, done) => {
                self.said = said;
                self.round(roll).await;
                (ControlFlow::Continue(()), done)
            }
            Command::Leave(done) => {
                self.said = Said::Left;
                self.round(roll).await;
                self.say_farewell(period, roll).await;
                self.end().await;
                (ControlFlow::Break(()), done)
            }
            Command::End(done) => {
                self.end().await;
                (ControlFlow::Break(()), done)
            }
        };
        // Who has ordered it may have left.
        done.send(()).ok();
        flow
    }

    /// Says what is to be said, and counts who is there.
    async fn round(&mut self, roll: &watch::Sender<Roll>) {
        let now = clock::monotonic();
        let told = Now {
            state: self.said,
            weight: self.ramp.weight(now),
            load: self.rounded.told(self.load.load(Ordering::Relaxed)),
        };
        let chitchat = self.chitchat.chitchat();
        let counted = {
            let mut chitchat = chitchat.lock().await;
            chitchat.self_node_state().set(NOW, told.written());
            count(&mut self.census, &chitchat, now)
        };
        self.metrics.cluster_gossip_dropped[GossipDrop::Malformed].inc_by(counted.malformed);
        self.tell_duplicates(&counted.duplicates, now);
        self.look_for_rival(&counted.duplicates, now);
        self.count_states(&counted.members);
        roll.send_if_modified(|roll| {
            let is_new = roll[..] != counted.members[..];
            if is_new {
                *roll = counted.members.into();
            }
            is_new
        });
    }

    fn tell_duplicates(&mut self, duplicates: &[Duplicate], now: Instant) {
        for Duplicate {
            node,
            counts,
            left_out,
        } in duplicates
        {
            self.metrics.cluster_gossip_dropped[GossipDrop::DuplicateId].inc();
            if let Some(times) = self.duplicates.happened(now) {
                tracing::error!(%node, %counts, %left_out, times, "two nodes have one id: give each its own (cluster.node); the one that started last counts");
            }
        }
    }

    fn look_for_rival(&mut self, duplicates: &[Duplicate], now: Instant) {
        if duplicates.iter().any(|duplicate| duplicate.node == self.own.id) {
            self.rival_heard = Some(now);
        }
        let patience = self.census.patience();
        let is_there = |heard: Instant| now.saturating_duration_since(heard) < patience;
        let contested = self.rival_heard.is_some_and(is_there);
        self.contested
            .send_if_modified(|before| std::mem::replace(before, contested) != contested);
    }

    fn count_states(&self, members: &[Arc<Member>]) {
        for &label in MemberState::ALL {
            let of_state = members.iter().filter(|member| label_of(member.state) == label);
            let count = i64::try_from(of_state.count()).unwrap_or(i64::MAX);
            self.metrics.cluster_members[label].set(count);
        }
    }

    async fn say_farewell(&self, period: Duration, roll: &watch::Sender<Roll>) {
        for _ in 0..FAREWELLS {
            let others: Vec<SocketAddr> = others(&self.own, &roll.borrow())
                .map(|member| member.address)
                .collect();
            if others.is_empty() {
                return;
            }
            for address in others {
                self.chitchat.gossip(address).ok();
            }
            sleep(period.min(FAREWELL_MAX)).await;
        }
    }

    /// Returns when the socket is closed here.
    async fn end(&self) {
        let ended = self.chitchat.termination_watcher();
        self.chitchat.initiate_shutdown().ok();
        if timeout(FAREWELL_MAX, ended).await.is_err() {
            self.chitchat.abort();
        }
    }
}

impl Drop for Gossip {
    fn drop(&mut self) {
        self.chitchat.abort();
    }
}

/// Whether it is known if there is anybody else.
struct Settle {
    began: Instant,
    deadline: Duration,
    settled: watch::Sender<bool>,
}

impl Settle {
    fn look(&self, ramp: &mut Ramp, own: &Own, roll: &Roll) {
        if *self.settled.borrow() {
            return;
        }
        let now = clock::monotonic();
        if others(own, roll).next().is_some() {
            self.settled.send_replace(true);
        } else if now.saturating_duration_since(self.began) >= self.deadline {
            if !self.deadline.is_zero() {
                tracing::warn!("no seed has answered: this node goes on alone, and keeps asking them");
            }
            ramp.skip();
            self.settled.send_replace(true);
        }
    }
}

/// Those that take part, but this node.
fn others<'a>(own: &'a Own, roll: &'a [Arc<Member>]) -> impl Iterator<Item = &'a Arc<Member>> {
    let is_there = |state| matches!(state, State::Up | State::Draining);
    let others = roll.iter().filter(move |member| member.id != own.id);
    others.filter(move |member| is_there(member.state))
}

async fn seek(
    chitchat: Arc<ChitchatHandle>,
    mut seeds: Seeds,
    interval: Duration,
    mut roll: watch::Receiver<Roll>,
    own: Own,
) {
    if seeds.is_empty() {
        return;
    }
    let when_alone = interval.max(ALONE_INTERVAL_MIN);
    loop {
        for address in seeds.addresses().await {
            if chitchat.gossip(address).is_err() {
                return;
            }
        }
        let is_alone = |roll: &Roll| others(&own, roll).next().is_none();
        if is_alone(&roll.borrow_and_update()) {
            sleep(when_alone).await;
        } else {
            timeout(SEEDS_INTERVAL, roll.wait_for(is_alone)).await.ok();
        }
    }
}

fn count(census: &mut Census, chitchat: &Chitchat, now: Instant) -> Counted {
    let live: std::collections::HashSet<&ChitchatId> = chitchat.live_nodes().collect();
    let states = chitchat.node_states();
    let heard: Vec<Heard<'_>> = states
        .iter()
        .map(|(id, state)| heard_of(id, state, live.contains(id)))
        .collect();
    census.count(&heard, now)
}

fn heard_of<'a>(id: &ChitchatId, state: &'a NodeState, is_live: bool) -> Heard<'a> {
    Heard {
        id: LifeId {
            node: id.node_id.clone(),
            generation: Generation(id.generation_id),
            address: id.gossip_advertise_addr,
        },
        heartbeat: state.heartbeat().into(),
        version: state.max_version(),
        detected: if is_live { Detected::Live } else { Detected::Silent },
        about: state.get(ABOUT),
        now: state.get(NOW),
    }
}

fn settings(config: &Config, id: ChitchatId) -> ChitchatConfig {
    let interval = config.gossip_interval.get();
    ChitchatConfig {
        cluster_id: CLUSTER.to_owned(),
        gossip_interval: interval,
        listen_addr: id.gossip_advertise_addr,
        chitchat_id: id,
        // `seek` asks them.
        seed_nodes: Vec::new(),
        failure_detector_config: FailureDetectorConfig {
            phi_threshold: config.suspicion,
            sampling_window_size: SAMPLES,
            max_interval: interval * 20,
            initial_interval: interval,
            dead_node_grace_period: DEAD_FOR,
        },
        // Nothing is ever deleted.
        marked_for_deletion_grace_period: DEAD_FOR,
        catchup_callback: None,
        extra_liveness_predicate: None,
    }
}

fn label_of(state: State) -> MemberState {
    match state {
        State::Up => MemberState::Up,
        State::Draining => MemberState::Draining,
        State::Down => MemberState::Down,
        State::Left => MemberState::Left,
    }
}
