//! Who asks the origin for what, in a cluster where nothing is wrong.

use crate::cluster::{Cluster, PATIENT, run_with};
use crate::load::{Load, Pick};
use crate::network::proxied;
use crate::operation::{Expected, Fetches, Operation::*};
use std::time::Duration;

const PREVIOUS_OWNER: &str = "aquatint_cluster_fills_total{from=\"previous_owner\"}";

const BY_OWNERS: &str = "aquatint_cluster_fills_total{from=\"origin\",key=\"owned\"}";

const BY_ANYBODY: &str = "aquatint_cluster_fills_total{from=\"origin\"}";

const HOT_COPIES_STORED: &str = "aquatint_cluster_hot_copies_total{result=\"stored\"}";

const REPORTED_HITS: &str = "aquatint_cluster_reported_hits_total";

#[test]
fn three_nodes_answer_any_url_with_one_origin_fetch_per_object() {
    run_with(
        PATIENT,
        &[
            Start(3),
            OriginDelay(Duration::from_millis(20)),
            Ask(&[1, 2, 3], 0..200),
            AssertOriginFetches(Fetches::Each(0..200, 1)),
            Ask(&[1, 2, 3], 0..200),
            AssertOriginFetches(Fetches::Each(0..200, 1)),
            AssertMetric(&[1, 2, 3], BY_OWNERS, Expected::Is(200.0)),
            AssertMetric(&[1, 2, 3], BY_ANYBODY, Expected::Is(200.0)),
            AssertNoClientErrors,
        ],
    );
}

#[test]
fn with_one_owner_each_there_is_one_origin_fetch_per_object_too() {
    let cluster = Cluster::new(proxied(), PATIENT);
    cluster.with_particular(|_| &[("replication", "1")]).run(&[
        Start(3),
        Ask(&[1, 2, 3], 0..120),
        AssertOriginFetches(Fetches::Each(0..120, 1)),
        AssertNoClientErrors,
    ]);
}

#[test]
fn a_node_that_joins_takes_its_share_from_the_others_and_not_from_the_origin() {
    let cluster = Cluster::new(proxied(), PATIENT);
    // The others are asked for half a minute: on a busy machine it takes long until all has been asked for.
    cluster.with_particular(|_| &[("ramp", "10s")]).run(&[
        Start(3),
        Ask(&[1, 2, 3], 0..300),
        Join(4),
        Ask(&[1, 2, 3, 4], 0..300),
        // Were they not asked, it would be a quarter more: 375.
        AssertOriginFetches(Fetches::AtMost(330)),
        AssertMetric(&[4], PREVIOUS_OWNER, Expected::AtLeast(30.0)),
        AssertMetric(&[4], "aquatint_cluster_answers_total", Expected::AtLeast(5.0)),
        AssertNoClientErrors,
    ]);
}

#[test]
fn an_origin_that_fails_is_not_asked_by_every_node_in_turn() {
    run_with(
        PATIENT,
        &[
            Start(3),
            Ask(&[1, 2, 3], 0..50),
            AssertNoClientErrors,
            OriginFails,
            Ask(&[1, 2, 3], 0..50),
            AssertNoClientErrors,
            OriginRecovers,
            AssertOriginFetches(Fetches::Each(0..50, 1)),
        ],
    );
}

/// [`olric#194`](https://github.com/buraksezer/olric/issues/194): all requests for a key that everybody wants end at its
/// one owner, which gets busier the larger the cluster is.
#[test]
fn a_key_that_half_of_all_requests_are_for_makes_no_node_much_busier_than_the_others() {
    const LOAD: Load = Load {
        nodes: &[1, 2, 3, 4],
        objects: 0..200,
        pick: Pick::Hot,
        clients: 8,
        pause: Duration::ZERO,
    };
    run_with(
        PATIENT,
        &[
            Start(4),
            BeginLoad(LOAD),
            AwaitAnswers(3000),
            AssertMetric(&[1, 2, 3, 4], HOT_COPIES_STORED, Expected::AtLeast(1.0)),
            CountAnew,
            AwaitAnswers(8000),
            AssertBusiest(&[1, 2, 3, 4], 1.3),
            EndLoad,
            AssertMetric(&[1, 2, 3, 4], REPORTED_HITS, Expected::AtLeast(1.0)),
            AssertNoClientErrors,
        ],
    );
}
