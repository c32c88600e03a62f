//! The guarantee across nodes: what is purged at one is never served stale at another, whatever happens to either.
//!
//! Every answer in every test of this crate is held against the guarantee; here there is something to find.

use crate::cluster::run;
use crate::load::{Load, Pick};
use crate::operation::{Disk, Operation::*};
use std::time::Duration;

const OBJECTS: usize = 60;

const LOAD: Load = Load {
    nodes: &[1, 2, 3],
    objects: 0..OBJECTS,
    pick: Pick::Zipf,
    clients: 6,
    pause: Duration::from_millis(1),
};

#[test]
fn a_purge_acknowledged_at_one_node_is_never_served_stale_at_another() {
    run(&[
        Start(3),
        Ask(&[1, 2, 3], 0..OBJECTS),
        BeginLoad(LOAD),
        PurgeAndRead(&[1, 2, 3], 0..OBJECTS),
        PurgeAndRead(&[3, 2], 0..OBJECTS),
        EndLoad,
        AssertPurges(100),
        AssertNothingStale,
        AssertNoClientErrors,
    ]);
}

#[test]
fn a_node_that_is_cut_off_serves_nothing_that_has_been_purged_meanwhile() {
    run(&[
        Start(3),
        Ask(&[1, 2, 3], 0..OBJECTS),
        BeginLoad(LOAD),
        Partition(&[3], &[1, 2]),
        PurgeAndRead(&[1, 2], 0..20),
        Heal,
        PurgeAndRead(&[1, 2, 3], 0..20),
        Partition(&[2], &[1]),
        PurgeAndRead(&[1], 0..20),
        Heal,
        EndLoad,
        AssertPurges(30),
        AssertNothingStale,
        AssertNoClientErrors,
    ]);
}

#[test]
fn a_node_that_stood_still_serves_nothing_that_has_been_purged_meanwhile() {
    run(&[
        Start(3),
        Ask(&[1, 2, 3], 0..OBJECTS),
        BeginLoad(LOAD),
        Pause(3),
        PurgeAndRead(&[1, 2], 0..20),
        Resume(3),
        PurgeAndRead(&[1, 2, 3], 0..20),
        EndLoad,
        AssertPurges(20),
        AssertNothingStale,
        AssertNoClientErrors,
    ]);
}

#[test]
fn nothing_purged_is_served_after_the_voter_was_killed_and_came_back() {
    run(&[
        Start(3),
        Ask(&[1, 2, 3], 0..OBJECTS),
        PurgeAndRead(&[1, 2, 3], 0..20),
        BeginLoad(LOAD),
        Kill(1),
        AwaitAnswers(200),
        Restart(1, Disk::Kept),
        AwaitPurges(2),
        PurgeAndRead(&[1, 2, 3], 0..20),
        EndLoad,
        AssertPurges(30),
        AssertNothingStale,
        AssertNoClientErrors,
    ]);
}

#[test]
fn followers_of_a_log_that_was_lost_end_and_come_back_with_nothing_they_had() {
    run(&[
        Start(3),
        Ask(&[1, 2, 3], 0..OBJECTS),
        PurgeAndRead(&[1, 2, 3], 0..20),
        Kill(1),
        Return(1, Disk::Lost),
        AwaitEnd(2),
        AwaitEnd(3),
        Restart(2, Disk::Kept),
        Restart(3, Disk::Kept),
        BeginLoad(LOAD),
        PurgeAndRead(&[1, 2, 3], 0..20),
        EndLoad,
        AssertPurges(30),
        AssertNothingStale,
        AssertNoClientErrors,
    ]);
}
