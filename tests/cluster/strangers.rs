//! Who is not let in, and what a cluster makes of those who should not be there.

use crate::cluster::{PATIENT, run, run_with};
use crate::operation::{Expected, Fetches, Operation::*};

const UNSEALED: &str = "aquatint_cluster_gossip_dropped_total{reason=\"unsealed\"}";
const DUPLICATE: &str = "aquatint_cluster_gossip_dropped_total{reason=\"duplicate_id\"}";

#[test]
fn a_node_with_another_secret_never_joins_and_is_counted() {
    run_with(
        PATIENT,
        &[
            Start(2),
            StartWithWrongSecret(3),
            AssertMetric(&[1, 2], UNSEALED, Expected::AtLeast(5.0)),
            AssertMembers(&[1, 2], &[1, 2]),
            Ask(&[1, 2], 0..60),
            AssertOriginFetches(Fetches::Each(0..60, 1)),
            AssertNoClientErrors,
        ],
    );
}

#[test]
fn a_second_node_of_one_id_is_noticed_and_harms_nobody() {
    run(&[
        Start(3),
        StartWithIdOf(4, 3),
        AssertMetric(&[1, 2, 3], DUPLICATE, Expected::AtLeast(1.0)),
        Ask(&[1, 2, 3], 0..60),
        PurgeAndRead(&[1, 2, 3], 0..20),
        Kill(4),
        AssertMembers(&[1, 2], &[1, 2, 3]),
        Ask(&[1, 2, 3], 0..60),
        AssertNoClientErrors,
        AssertNothingStale,
    ]);
}

/// Two logs: who follows the one waits for nobody who follows the other.
#[test]
fn a_second_process_with_the_voters_name_makes_both_acknowledge_and_serve_nothing_stored() {
    run_with(
        PATIENT,
        &[
            Start(1),
            Ask(&[1], 0..20),
            StartWithIdOf(2, 1),
            AssertMetric(&[1], "aquatint_purge_lease_held", Expected::Is(0.0)),
            AssertSays(1, "another node has the voter's name"),
            AssertSays(2, "another node has the voter's name"),
            AssertPurgeRefused(1),
            CountAnew,
            Ask(&[1], 0..20),
            AssertOriginFetches(Fetches::Each(0..20, 1)),
            Kill(2),
            AssertMetric(&[1], "aquatint_purge_lease_held", Expected::Is(1.0)),
            AwaitPurges(1),
            Ask(&[1], 1..20),
            CountAnew,
            Ask(&[1], 1..20),
            AssertOriginFetches(Fetches::AtMost(0)),
            AssertNoClientErrors,
            AssertNothingStale,
        ],
    );
}

#[test]
fn a_node_whose_seeds_name_nobody_says_so_and_waits_for_the_log() {
    run(&[
        Start(2),
        StartWithoutSeeds(3),
        AssertSays(3, "no seed has answered"),
        AssertSays(3, "the start waits for the voter"),
        Ask(&[1, 2], 0..30),
        AssertNoClientErrors,
        AssertMembers(&[1, 2], &[1, 2]),
    ]);
}

#[test]
fn a_flood_of_junk_on_the_cluster_port_is_dropped_and_counted() {
    run(&[
        Start(3),
        Flood(1, 20_000),
        Flood(2, 20_000),
        AssertMetric(
            &[1, 2],
            "aquatint_cluster_gossip_dropped_total",
            Expected::AtLeast(1000.0),
        ),
        AssertMembers(&[1, 2, 3], &[1, 2, 3]),
        Ask(&[1, 2, 3], 0..60),
        // The nodes' own datagrams may have been lost in it, and one have been taken for dead for a moment.
        AssertOriginFetches(Fetches::AtMost(80)),
        AssertNoClientErrors,
    ]);
}
