//! Leases among nodes whose clocks differ, whose messages are lost, late and doubled, and which crash: from a seed.
//!
//! Checked is the promise alone: a follower that may serve has applied every order that was acknowledged before. Each rule that
//! the promise rests on can be left out; then it has to be found broken. A failing seed replays.

use super::*;

const LEASE: Duration = Duration::from_secs(3);

/// How long a run lasts, and how fine its time is, in microseconds.
const RUN_US: u64 = 12_000_000;
const TICK_US: u64 = 10_000;

const FOLLOWERS: usize = 3;

/// A rule that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hole {
    /// A lease is effective before its barrier is applied.
    BeforeBarrier,
    /// It counts from when its grant was received.
    FromReceipt,
    /// Orders are acknowledged when they are committed.
    NoWait,
    /// A new voter knows nothing of the leases of the one before.
    NoPredecessor,
    /// A new process of a node frees the lease of the one before.
    NewProcessFrees,
    /// The voter's clock has no allowance for others that are slower.
    NoAllowance,
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// A clock that starts anywhere and runs at a rate of its own.
#[derive(Clone, Copy)]
struct Clock {
    offset_us: u64,
    /// Parts in a million of the true rate.
    rate_ppm: u64,
}

impl Clock {
    /// Two of them differ by less than one part in [`CLOCK_RATE_PARTS`].
    fn new(random: &mut Random) -> Self {
        Clock {
            offset_us: random.below(1_000_000_000),
            rate_ppm: match random.below(3) {
                0 => 995_100,
                1 => 1_004_900,
                _ => 995_100 + random.below(9_800),
            },
        }
    }

    fn at(self, true_us: u64) -> BootTime {
        let local = u128::from(true_us) * u128::from(self.rate_ppm) / 1000;
        BootTime::from_nanos(self.offset_us * 1000 + local as u64)
    }
}

struct Process {
    name: [u8; 16],
    clock: Clock,
    applied: PurgeIndex,
    held: Held,
    /// When it asks next.
    asks_at_us: u64,
}

enum Message {
    Renewal {
        follower: usize,
        process: [u8; 16],
        sent: BootTime,
        applied: PurgeIndex,
    },
    Grant {
        follower: usize,
        process: [u8; 16],
        sent: BootTime,
        grant: Grant,
        upto: PurgeIndex,
    },
}

struct World {
    random: Random,
    hole: Option<Hole>,
    now_us: u64,
    voter_clock: Clock,
    /// `None`: it is down until the time.
    voter: Result<Leases, u64>,
    committed: PurgeIndex,
    acknowledged: PurgeIndex,
    followers: Vec<Process>,
    /// Until when a follower neither hears nor is heard.
    parted_until_us: [u64; FOLLOWERS],
    messages: Vec<(u64, Message)>,
    /// Reads under a lease, so that a run that reads nothing is seen.
    reads: usize,
}

fn node(follower: usize) -> Arc<str> {
    format!("node{follower}").into()
}

impl World {
    fn new(seed: u64, hole: Option<Hole>) -> Self {
        let mut random = Random(seed);
        let voter_clock = Clock::new(&mut random);
        let mut world = World {
            hole,
            now_us: 0,
            voter_clock,
            voter: Err(0),
            committed: PurgeIndex::from_number(1),
            acknowledged: PurgeIndex::NONE,
            followers: Vec::new(),
            parted_until_us: [0; FOLLOWERS],
            messages: Vec::new(),
            reads: 0,
            random,
        };
        world.followers = (0..FOLLOWERS).map(|_| world.process()).collect();
        world
    }

    fn process(&mut self) -> Process {
        let name = u128::from(self.random.next()).to_le_bytes();
        Process {
            name,
            clock: Clock::new(&mut self.random),
            applied: PurgeIndex::NONE,
            held: Held::default(),
            asks_at_us: self.now_us + self.random.below(100_000),
        }
    }

    /// What was read wrongly, if anything was.
    fn run(mut self) -> Result<usize, String> {
        while self.now_us < RUN_US {
            self.now_us += TICK_US;
            self.fail_something();
            self.deliver();
            self.ask();
            self.order();
            self.read()?;
        }
        Ok(self.reads)
    }

    fn fail_something(&mut self) {
        let now_us = self.now_us;
        if let Err(until_us) = self.voter
            && now_us >= until_us
        {
            let (earlier, now) = (Some(LEASE), self.voter_clock.at(now_us));
            let earlier = earlier.filter(|_| self.hole != Some(Hole::NoPredecessor));
            self.voter = Ok(Leases::new(LEASE, 100, earlier, now));
        }
        if self.random.one_in(400) {
            self.voter = Err(now_us + self.random.below(500_000));
        }
        for follower in 0..FOLLOWERS {
            if self.random.one_in(300) {
                self.parted_until_us[follower] = now_us + self.random.below(6_000_000);
            }
            if self.random.one_in(400) {
                self.replace(follower);
            }
        }
    }

    /// One process ends, or is left running where it can only read: another takes its place.
    fn replace(&mut self, follower: usize) {
        let process = self.process();
        let old = std::mem::replace(&mut self.followers[follower], process);
        match self.random.below(3) {
            // It said that it goes.
            0 => {
                if let Ok(leases) = &mut self.voter {
                    leases.release(&Holder {
                        node: node(follower),
                        process: old.name,
                    });
                }
            }
            1 => {}
            // It lives on, and hears nothing any more.
            _ => self.followers.push(Process {
                asks_at_us: u64::MAX,
                ..old
            }),
        }
    }

    fn send(&mut self, follower: usize, message: impl Fn() -> Message) {
        let is_parted = self.now_us < self.parted_until_us[follower];
        if is_parted || self.random.one_in(10) {
            return;
        }
        let copies = 1 + u64::from(self.random.one_in(20));
        for _ in 0..copies {
            let late_us = match self.random.one_in(10) {
                true => self.random.below(1_500_000),
                false => self.random.below(30_000),
            };
            self.messages.push((self.now_us + late_us, message()));
        }
    }

    fn ask(&mut self) {
        for follower in 0..FOLLOWERS {
            let process = &mut self.followers[follower];
            if self.now_us < process.asks_at_us {
                continue;
            }
            process.asks_at_us = self.now_us + 100_000;
            let (name, applied) = (process.name, process.applied);
            let sent = process.clock.at(self.now_us);
            self.send(follower, || Message::Renewal {
                follower,
                process: name,
                sent,
                applied,
            });
        }
    }

    fn deliver(&mut self) {
        let now_us = self.now_us;
        let all = std::mem::take(&mut self.messages);
        let (due, later) = all.into_iter().partition(|(at_us, _)| *at_us <= now_us);
        self.messages = later;
        let due: Vec<(u64, Message)> = due;
        for (_, message) in due {
            match message {
                Message::Renewal {
                    follower,
                    process,
                    sent,
                    applied,
                } => self.renew(follower, process, sent, applied),
                Message::Grant {
                    follower,
                    process,
                    sent,
                    grant,
                    upto,
                } => self.take(follower, process, sent, grant, upto),
            }
        }
    }

    fn renew(&mut self, follower: usize, process: [u8; 16], sent: BootTime, applied: PurgeIndex) {
        let Ok(leases) = &mut self.voter else {
            return;
        };
        let holder = Holder {
            node: node(follower),
            process,
        };
        if self.hole == Some(Hole::NewProcessFrees) {
            leases
                .holders
                .retain(|known, _| known.node != holder.node || *known == holder);
        }
        let mut received = self.voter_clock.at(self.now_us);
        if self.hole == Some(Hole::NoAllowance) {
            let early = received.as_nanos() - (held_for(LEASE) - LEASE).as_nanos() as u64;
            received = BootTime::from_nanos(early);
        }
        let renewal = Renewal {
            holder: &holder,
            applied,
            committed: self.committed,
        };
        let Ok(grant) = leases.renew(received, renewal) else {
            return;
        };
        // Not always all that there is: a batch is bounded.
        let missing = self.committed.number() - applied.number();
        let upto = PurgeIndex::from_number(applied.number() + self.random.below(missing + 1));
        self.send(follower, || Message::Grant {
            follower,
            process,
            sent,
            grant,
            upto,
        });
    }

    fn take(&mut self, follower: usize, name: [u8; 16], sent: BootTime, mut grant: Grant, upto: PurgeIndex) {
        let (now_us, hole) = (self.now_us, self.hole);
        let process = &mut self.followers[follower];
        if process.name != name {
            return;
        }
        process.applied = process.applied.max(upto);
        process.asks_at_us = now_us;
        let sent = match hole {
            Some(Hole::FromReceipt) => process.clock.at(now_us),
            _ => sent,
        };
        if hole == Some(Hole::BeforeBarrier) {
            grant.barrier = PurgeIndex::NONE;
        }
        process.held.applied(process.applied);
        process.held.granted(sent, grant, process.applied);
    }

    fn order(&mut self) {
        let Ok(leases) = &self.voter else {
            return;
        };
        if self.random.one_in(10) {
            self.committed = PurgeIndex::from_number(self.committed.number() + 1);
        }
        let now = self.voter_clock.at(self.now_us);
        let reached = match self.hole {
            Some(Hole::NoWait) => self.committed,
            _ => leases.acknowledgeable(self.committed, now),
        };
        if self.hole.is_none() && self.random.one_in(8) {
            assert_agreed(leases, reached, self.committed, now);
        }
        self.acknowledged = self.acknowledged.max(reached);
    }

    fn read(&mut self) -> Result<(), String> {
        for process in &self.followers {
            if process.clock.at(self.now_us) >= process.held.until() {
                continue;
            }
            self.reads += 1;
            if process.applied < self.acknowledged {
                return Err(format!(
                    "at {} us a process that has applied {} may serve, and {} was acknowledged",
                    self.now_us, process.applied, self.acknowledged
                ));
            }
        }
        Ok(())
    }
}

/// What is asked of one order and of all is answered alike.
fn assert_agreed(leases: &Leases, reached: PurgeIndex, committed: PurgeIndex, now: BootTime) {
    let is_ready = |index| {
        let asked = leases.may_acknowledge(index, now);
        matches!(asked, Acknowledgement::Ready { .. })
    };
    if reached > PurgeIndex::NONE {
        assert!(is_ready(reached));
    }
    if reached < committed {
        assert!(!is_ready(PurgeIndex::from_number(reached.number() + 1)));
    }
}

fn run(seed: u64, hole: Option<Hole>) -> Result<usize, String> {
    World::new(seed, hole).run()
}

#[test]
fn whoever_holds_a_lease_has_applied_all_that_was_acknowledged() {
    let mut reads = 0;
    for seed in 0..2000 {
        reads += run(seed, None).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    }
    assert!(reads > 1_000_000, "leases were held: {reads} reads");
}

#[test]
fn each_rule_that_is_left_out_is_found() {
    for hole in [
        Hole::BeforeBarrier,
        Hole::FromReceipt,
        Hole::NoWait,
        Hole::NoPredecessor,
        Hole::NewProcessFrees,
        Hole::NoAllowance,
    ] {
        let found = (0..2000).find(|seed| run(*seed, Some(hole)).is_err());
        assert!(found.is_some(), "{hole:?}");
    }
}
