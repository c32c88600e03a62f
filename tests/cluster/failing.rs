//! Nodes that end, stand still and come back, under clients who notice nothing but what was in flight there.

use crate::cluster::{Cluster, PATIENT, Settings, run, run_with};
use crate::load::{Load, Pick};
use crate::network::proxied;
use crate::operation::{Disk, Expected, Fetches, Operation::*};
use std::time::Duration;

const OBJECTS: usize = 300;

const LOAD: Load = Load {
    nodes: &[1, 2, 3],
    objects: 0..OBJECTS,
    pick: Pick::Even,
    clients: 6,
    pause: Duration::from_millis(1),
};

#[test]
fn a_killed_node_costs_no_client_error_and_no_origin_storm() {
    run(&[
        StartWarm(3, 0..OBJECTS),
        BeginLoad(LOAD),
        AwaitAnswers(500),
        CountAnew,
        Kill(3),
        AssertMembers(&[1, 2], &[1, 2]),
        AwaitAnswers(2000),
        EndLoad,
        Ask(&[1, 2], 0..OBJECTS),
        AssertNoClientErrors,
        // What the dead node alone had, of which there may be what it was about to give away.
        AssertOriginFetches(Fetches::EachAtMost(1)),
        AssertOriginFetches(Fetches::AtMost(OBJECTS as u64 / 10)),
    ]);
}

#[test]
fn a_node_comes_back_with_its_disk_and_the_origin_is_not_asked() {
    comes_back_with(Disk::Kept);
}

#[test]
fn a_node_comes_back_without_its_disk_and_fills_from_the_previous_owners() {
    comes_back_with(Disk::Lost);
}

fn comes_back_with(disk: Disk) {
    // It asks the others for three times as long as it takes to its full weight.
    run_with(
        &[("ramp", "10s")],
        &[
            StartWarm(3, 0..OBJECTS),
            Kill(3),
            AssertMembers(&[1, 2], &[1, 2]),
            // The owners that are left have all, before the third takes its place again.
            Ask(&[1, 2], 0..OBJECTS),
            CountAnew,
            BeginLoad(LOAD),
            AwaitAnswers(200),
            Restart(3, disk),
            AwaitAnswers(2000),
            EndLoad,
            Ask(&[1, 2, 3], 0..OBJECTS),
            // Were none of them asked, it would be two of three.
            AssertOriginFetches(Fetches::AtMost(OBJECTS as u64 / 10)),
            AssertNoClientErrors,
        ],
    );
}

#[test]
fn a_node_that_stands_still_for_longer_than_is_waited_for_costs_no_client_error() {
    run(&[
        StartWarm(3, 0..OBJECTS),
        BeginLoad(LOAD),
        AwaitAnswers(200),
        CountAnew,
        Pause(2),
        AssertMembers(&[1, 3], &[1, 3]),
        AwaitAnswers(1000),
        AssertOriginFetches(Fetches::AtMost(OBJECTS as u64 / 10)),
        Resume(2),
        AssertMembers(&[1, 2, 3], &[1, 2, 3]),
        AwaitAnswers(1000),
        EndLoad,
        // Without a lease it asks the others, and not the origin.
        Ask(&[1, 2, 3], 0..OBJECTS),
        AssertNoClientErrors,
        AssertOriginFetches(Fetches::AtMost(OBJECTS as u64 / 10)),
    ]);
}

#[test]
fn a_node_that_leaves_costs_no_client_error() {
    run(&[
        StartWarm(3, 0..OBJECTS),
        BeginLoad(LOAD),
        AwaitAnswers(500),
        CountAnew,
        Leave(2),
        AssertMembers(&[1, 3], &[1, 3]),
        AwaitAnswers(1000),
        EndLoad,
        Ask(&[1, 3], 0..OBJECTS),
        AssertNoClientErrors,
        AssertOriginFetches(Fetches::AtMost(OBJECTS as u64 / 20)),
    ]);
}

/// With one owner each there is no replica: what the others know of its keys they have been given.
const ONE_OWNER: Settings = &[("replication", "1")];

#[test]
fn a_node_that_leaves_hands_over_what_it_alone_has() {
    let cluster = Cluster::new(proxied(), PATIENT);
    cluster.with_particular(|_| ONE_OWNER).run(&[
        Start(3),
        Ask(&[1, 2, 3], 0..OBJECTS),
        CountAnew,
        Leave(2),
        AssertMembers(&[1, 3], &[1, 3]),
        Ask(&[1, 3], 0..OBJECTS),
        AssertNoClientErrors,
        // Were nothing handed over, it would be a third.
        AssertOriginFetches(Fetches::AtMost(OBJECTS as u64 / 10)),
    ]);
}

#[test]
fn a_node_that_drains_hands_over_and_answers_and_takes_its_keys_back() {
    let cluster = Cluster::new(proxied(), PATIENT);
    cluster.with_particular(|_| ONE_OWNER).run(&[
        Start(3),
        Ask(&[1, 2, 3], 0..OBJECTS),
        CountAnew,
        Drain(2),
        AssertMembers(&[1, 2, 3], &[1, 3]),
        AssertMetric(
            &[2],
            "aquatint_cluster_handed_over_total",
            Expected::AtLeast(OBJECTS as f64 / 6.0),
        ),
        Ask(&[1, 2, 3], 0..OBJECTS),
        AssertOriginFetches(Fetches::AtMost(OBJECTS as u64 / 10)),
        Undrain(2),
        AssertMembers(&[1, 2, 3], &[1, 2, 3]),
        Ask(&[1, 2, 3], 0..OBJECTS),
        AssertOriginFetches(Fetches::AtMost(OBJECTS as u64 / 10)),
        AssertNoClientErrors,
    ]);
}
