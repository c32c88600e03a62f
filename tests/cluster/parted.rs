//! Networks that are cut, in both directions and in one.

use crate::cluster::{PATIENT, Settings, run, run_with};
use crate::load::{Load, Pick};
use crate::operation::{Expected, Fetches, Operation, Operation::*};
use crate::spaces::{run_in_spaces, within};
use std::time::Duration;

const OBJECTS: usize = 200;

const LOAD: Load = Load {
    nodes: &[1, 2, 3],
    objects: 0..OBJECTS,
    pick: Pick::Even,
    clients: 6,
    pause: Duration::from_millis(2),
};

#[test]
fn each_side_of_a_partition_asks_the_origin_for_an_object_once_at_most() {
    run_with(OF_SIDES, SIDES);
}

/// The side without the log keeps its lease for as long as it is asked, and the cut is known before a question across it is late.
const OF_SIDES: Settings = &[
    ("lease", "1m"),
    ("suspicion", "20"),
    ("connect_deadline", "15s"),
    ("first_byte_deadline", "20s"),
    ("read_deadline", "20s"),
    ("look_deadline", "15s"),
];

const SIDES: &[Operation] = &[
    Start(4),
    Partition(&[1, 2], &[3, 4]),
    AssertMembers(&[1, 2], &[1, 2]),
    AssertMembers(&[3, 4], &[3, 4]),
    Ask(&[1, 2], 0..OBJECTS),
    AssertOriginFetches(Fetches::Each(0..OBJECTS, 1)),
    Ask(&[3, 4], 0..OBJECTS),
    AssertOriginFetches(Fetches::Each(0..OBJECTS, 2)),
    AssertNoClientErrors,
    Heal,
    AssertMembers(&[1, 2, 3, 4], &[1, 2, 3, 4]),
    Ask(&[1, 2, 3, 4], 0..OBJECTS),
    // A connection that was begun across the cut may fail once more after it. Were nothing kept, it would be three times as many.
    AssertOriginFetches(Fetches::AtMost(2 * OBJECTS as u64 + OBJECTS as u64 / 10)),
    AssertNoClientErrors,
];

#[test]
fn a_side_without_the_log_keeps_nothing_it_could_serve_and_answers_all_the_same() {
    run(&[
        Start(3),
        Ask(&[1, 2, 3], 0..OBJECTS),
        Partition(&[1, 2], &[3]),
        AssertMembers(&[3], &[3]),
        AssertMetric(&[3], "aquatint_purge_lease_held", Expected::Is(0.0)),
        Ask(&[1, 2, 3], 0..OBJECTS),
        PurgeAndRead(&[1, 2], 0..20),
        AssertNoClientErrors,
        AssertNothingStale,
        Heal,
        AssertMembers(&[1, 2, 3], &[1, 2, 3]),
        AssertMetric(&[3], "aquatint_purge_lease_held", Expected::Is(1.0)),
        Ask(&[1, 2, 3], 0..OBJECTS),
        AssertNoClientErrors,
        AssertNothingStale,
    ]);
}

#[test]
fn a_network_that_carries_one_way_only_costs_no_client_error() {
    run(ONE_WAY);
}

const ONE_WAY: &[Operation] = &[
    Start(3),
    Ask(&[1, 2, 3], 0..OBJECTS),
    BeginLoad(LOAD),
    AwaitAnswers(200),
    PartitionOneWay(2, 3),
    AwaitAnswers(600),
    Heal,
    AwaitAnswers(200),
    PartitionOneWay(3, 1),
    AwaitAnswers(600),
    Heal,
    AssertMembers(&[1, 2, 3], &[1, 2, 3]),
    AwaitAnswers(200),
    EndLoad,
    AssertNoClientErrors,
    AssertNothingStale,
];

#[test]
fn connections_that_end_in_the_middle_bring_no_wrong_bytes_and_store_none() {
    let mut operations = vec![Start(3), BeginLoad(LOAD)];
    for _ in 0..20 {
        operations.extend([AwaitAnswers(40), BreakConnections]);
    }
    operations.extend([
        EndLoad,
        AssertRightBytes,
        AssertMembers(&[1, 2, 3], &[1, 2, 3]),
        Ask(&[1, 2, 3], 0..OBJECTS),
        AssertRightBytes,
        AssertNothingStale,
    ]);
    run_with(PATIENT, &operations);
}

#[test]
fn a_slow_network_costs_no_client_error() {
    run_with(
        PATIENT,
        &[
            Start(3),
            Delay(Duration::from_millis(50)),
            Ask(&[1, 2, 3], 0..60),
            AssertOriginFetches(Fetches::Each(0..60, 1)),
            AssertMembers(&[1, 2, 3], &[1, 2, 3]),
            AssertNoClientErrors,
        ],
    );
}

// ---- The same in network namespaces ----

const NONE: Settings = &[];

#[test]
fn each_side_asks_the_origin_once_in_network_namespaces_too() {
    within("parted::sides_in_spaces");
}

#[test]
#[ignore = "in a namespace that the test above makes"]
fn sides_in_spaces() {
    run_in_spaces(OF_SIDES, SIDES);
}

#[test]
fn a_network_that_carries_one_way_costs_nothing_in_network_namespaces_either() {
    within("parted::one_way_in_spaces");
}

#[test]
#[ignore = "in a namespace that the test above makes"]
fn one_way_in_spaces() {
    run_in_spaces(NONE, ONE_WAY);
}
