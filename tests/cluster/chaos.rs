//! The long form: faults drawn from a seed, one after the other, under readers and purges. `make chaos`.

use crate::cluster::run;
use crate::load::{Load, Pick};
use crate::operation::{Disk, Operation, Operation::*};
use crate::random::Random;
use std::str::FromStr;
use std::time::Duration;

const LOAD: Load = Load {
    nodes: &[1, 2, 3, 4],
    objects: 0..200,
    pick: Pick::Zipf,
    clients: 8,
    pause: Duration::from_millis(2),
};

const ALL: &[usize] = &[1, 2, 3, 4];

/// A round of one fault and its end takes about so long.
const ROUND: Duration = Duration::from_secs(12);

/// `CHAOS_SECONDS` and `CHAOS_SEED` say how long, and which.
#[test]
#[ignore = "takes minutes: make chaos"]
fn chaos() {
    let seconds: u64 = variable("CHAOS_SECONDS").unwrap_or(900);
    let seed = variable("CHAOS_SEED").unwrap_or(1);
    println!("CHAOS_SEED={seed}");
    let mut random = Random::new(seed, 1);
    let mut operations = vec![Start(4), BeginLoad(LOAD)];
    for _ in 0..(seconds / ROUND.as_secs()).max(1) {
        operations.extend(round(&mut random));
    }
    operations.extend([EndLoad, AssertNothingStale, AssertNoClientErrors]);
    run(&operations);
}

/// A fault, purges meanwhile, its end, and purges again.
fn round(random: &mut Random) -> Vec<Operation> {
    let node = 1 + random.below(4);
    let other = 1 + (node + random.below(3)) % 4;
    let disk = if random.permille(300) {
        Disk::Lost
    } else {
        Disk::Kept
    };
    let (fault, end) = match random.below(5) {
        0 => (Kill(node), Restart(node, disk)),
        1 => (Pause(node), Resume(node)),
        2 => (Leave(node), Restart(node, disk)),
        3 => (Partition(split(node), rest(node)), Heal),
        _ => (PartitionOneWay(node, other), Heal),
    };
    let from = random.below(150);
    vec![
        fault,
        PurgeAndRead(rest(node), from..from + 10),
        AwaitAnswers(500),
        end,
        AssertMembers(ALL, ALL),
        AwaitPurges(1),
        PurgeAndRead(ALL, from..from + 20),
        AssertNothingStale,
        AssertNoClientErrors,
    ]
}

fn split(node: usize) -> &'static [usize] {
    &ALL[node - 1..node]
}

fn rest(node: usize) -> &'static [usize] {
    [&[2, 3, 4], &[1, 3, 4], &[1, 2, 4], &[1, 2, 3]][node - 1]
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    let parsed = text.parse();
    Some(parsed.unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}
