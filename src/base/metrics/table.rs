//! Every metric of the process in one table; a metric's doc comment is its Prometheus help.
//!
//! Handles are resolved once: counting on the hot path is one atomic addition. Labels are enums, so that every series exists
//! from the start at zero and none can be minted by a request; names that the configuration gives come first among a
//! metric's labels, and have a table of their own. It does not know who counts.

use super::build::{Family, Grid, Template};
use super::labels::*;
use super::named::{Claim, Templates};
use prometheus::{Histogram, IntCounter, IntGauge, Registry};

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $field:ident: $type:ty = $name:literal [$($label:literal),*]),+ $(,)?) => {
        /// Handles to what the whole process counts.
        pub struct Table {
            $($(#[doc = $help])+ pub $field: $type),+
        }

        impl Table {
            pub(super) fn register(registry: &Registry) -> Self {
                Table {
                    $($field: {
                        let help = concat!($($help),+).trim();
                        Template::<$type>::register(registry, $name, help, None, &[$($label),*]).series(None)
                    },)+
                }
            }
        }
    };
}

macro_rules! metrics_of_a_name {
    (
        $(#[$doc:meta])* $handles:ident, $templates:ident by $first:literal;
        $($(#[doc = $help:literal])+ $field:ident: $type:ty = $name:literal [$($label:literal),*]),+ $(,)?
    ) => {
        $(#[$doc])*
        pub struct $handles {
            $($(#[doc = $help])+ pub $field: $type,)+
            _claim: Claim<$templates>,
        }

        pub(super) struct $templates {
            $($field: Template<$type>),+
        }

        impl $templates {
            pub(super) fn register(registry: &Registry) -> Self {
                $templates {
                    $($field: {
                        let help = concat!($($help),+).trim();
                        Template::register(registry, $name, help, Some($first), &[$($label),*])
                    },)+
                }
            }
        }

        impl Templates for $templates {
            type Handles = $handles;

            fn handles(&self, name: &str, claim: Claim<Self>) -> $handles {
                $handles {
                    $($field: self.$field.series(Some(name)),)+
                    _claim: claim,
                }
            }

            fn remove(&self, name: &str) {
                $(self.$field.remove(name);)+
            }
        }
    };
}

metrics_of_a_name! {
    /// Handles to what is counted for a route.
    RouteMetrics, RouteTemplates by "route";
    /// Requests answered, by route, how they ended and the class of their status.
    requests: Grid<Outcome, StatusClass, IntCounter> = "aquatint_requests_total" ["outcome", "status_class"],
    /// Body bytes received from clients with requests that were sent on to an origin.
    request_body_bytes: IntCounter = "aquatint_request_body_bytes_total" [],
    /// Body bytes sent to clients, by route and how the request ended.
    response_body_bytes: Family<Outcome, IntCounter> = "aquatint_response_body_bytes_total" ["outcome"],
}

metrics_of_a_name! {
    /// Handles to what is counted for an origin.
    OriginMetrics, OriginTemplates by "origin";
    /// Requests sent to an origin.
    requests: IntCounter = "aquatint_origin_requests_total" [],
    /// Responses of an origin, by the class of their status.
    responses: Family<StatusClass, IntCounter> = "aquatint_origin_responses_total" ["status_class"],
    /// Origin requests that failed, by reason.
    failures: Family<OriginFailure, IntCounter> = "aquatint_origin_failures_total" ["reason"],
    /// Body bytes received from an origin.
    body_bytes: IntCounter = "aquatint_origin_body_bytes_total" [],
    /// Time from having sent a request and its body to an origin to the header of its response, in seconds.
    first_byte: Histogram = "aquatint_origin_first_byte_seconds" [],
    /// Time from sending a request to an origin to the end of its response's body, in seconds, of those that came whole.
    duration: Histogram = "aquatint_origin_duration_seconds" [],
    /// Requests to an origin that are under way now.
    requests_in_flight: IntGauge = "aquatint_origin_requests_in_flight" [],
    /// Requests to an origin that may be under way at once.
    requests_max: IntGauge = "aquatint_origin_requests_max" [],
    /// Addresses of an origin, by state.
    addresses: Family<AddressState, IntGauge> = "aquatint_origin_addresses" ["state"],
    /// Connections that requests and health probes were sent to an origin over.
    connections: Family<ConnectionKind, IntCounter> = "aquatint_origin_connections_total" ["kind"],
}

metrics! {
    /// Time from a request's header to the end of its answer, in seconds.
    request_duration: Family<Outcome, Histogram> = "aquatint_request_duration_seconds" ["outcome"],
    /// Time from a request's header to the header of its answer being handed to the system, in seconds.
    request_first_byte: Family<Outcome, Histogram> = "aquatint_request_first_byte_seconds" ["outcome"],
    /// Requests being answered now.
    requests_in_flight: IntGauge = "aquatint_requests_in_flight" [],
    /// Requests that were refused, by why.
    rejected_requests: Family<Rejection, IntCounter> = "aquatint_rejected_requests_total" ["reason"],
    /// Requests that waited for the origin request of another instead of sending their own.
    coalesced_requests: IntCounter = "aquatint_coalesced_requests_total" [],
    /// Fills under way now.
    fills_in_flight: IntGauge = "aquatint_fills_in_flight" [],
    /// Bytes of bodies that fills under way hold in memory.
    fill_bytes: IntGauge = "aquatint_fill_bytes" [],
    /// Look-ups answered by a tier of the cache.
    tier_hits: Grid<Tier, Kind, IntCounter> = "aquatint_tier_hits_total" ["tier", "kind"],
    /// Look-ups that no tier of the cache could answer.
    misses: Family<Kind, IntCounter> = "aquatint_tier_misses_total" ["kind"],
    /// Bytes held in the memory tier.
    memory_bytes: Family<Kind, IntGauge> = "aquatint_memory_bytes" ["kind"],
    /// Bytes the memory tier may hold.
    memory_capacity_bytes: Family<Kind, IntGauge> = "aquatint_memory_capacity_bytes" ["kind"],
    /// Objects held in the memory tier.
    memory_objects: Family<Kind, IntGauge> = "aquatint_memory_objects" ["kind"],
    /// Objects evicted from the memory tier to make room.
    evictions: Family<Kind, IntCounter> = "aquatint_memory_evictions_total" ["kind"],
    /// Stored entries removed because they had expired beyond every stale window.
    expirations: IntCounter = "aquatint_expirations_total" [],
    /// Whether the SSD tier is in use: 1, or 0 when it is off or has failed.
    ssd_up: IntGauge = "aquatint_ssd_up" [],
    /// Bytes the SSD tier may hold.
    ssd_capacity_bytes: Family<Kind, IntGauge> = "aquatint_ssd_capacity_bytes" ["kind"],
    /// Bytes of the SSD tier's blocks that hold data.
    ssd_bytes: Family<Kind, IntGauge> = "aquatint_ssd_bytes" ["kind"],
    /// Bytes waiting to be written to the SSD.
    ssd_queue_bytes: IntGauge = "aquatint_ssd_queue_bytes" [],
    /// Objects written to the SSD.
    ssd_writes: Family<Kind, IntCounter> = "aquatint_ssd_writes_total" ["kind"],
    /// Bytes written to the SSD.
    ssd_written_bytes: IntCounter = "aquatint_ssd_written_bytes_total" [],
    /// Objects that were not written to the SSD, by reason.
    ssd_drops: Family<Drop, IntCounter> = "aquatint_ssd_drops_total" ["reason"],
    /// Failures of the SSD: reads, writes and checks of its health.
    ssd_errors: IntCounter = "aquatint_ssd_errors_total" [],
    /// Bytes that arrived from origins and were not stored again because equal bytes were stored already.
    dedup_saved_bytes: IntCounter = "aquatint_dedup_saved_bytes_total" [],
    /// Variants made or not made, by what was to be made and how it ended.
    transforms: Grid<TransformFormat, TransformResult, IntCounter> = "aquatint_transforms_total" ["format", "result"],
    /// Requests that waited for a variant whose making another request had begun.
    transforms_joined: IntCounter = "aquatint_transforms_joined_total" [],
    /// Time that a step of making a variant took, in seconds.
    transform_stages: Family<TransformStage, Histogram> = "aquatint_transform_stage_seconds" ["stage"],
    /// Variants being made now.
    transforms_running: IntGauge = "aquatint_transforms_running" [],
    /// Variants that wait for a worker.
    transforms_waiting: IntGauge = "aquatint_transforms_waiting" [],
    /// Estimated memory of the variants being made now, in bytes.
    transform_bytes: IntGauge = "aquatint_transform_memory_bytes" [],
    /// By how many bytes the variants that answered were smaller than their sources.
    transform_saved_bytes: IntCounter = "aquatint_transform_saved_bytes_total" [],
    /// Scopes purged, by kind and by how it was ordered.
    purges: Grid<PurgeScope, PurgeWay, IntCounter> = "aquatint_purges_total" ["scope", "way"],
    /// Orders of purges, by way and how they ended.
    purge_orders: Grid<PurgeWay, PurgeResult, IntCounter> = "aquatint_purge_orders_total" ["way", "result"],
    /// Time from an order of a purge to its commit, in seconds.
    purge_commit: Histogram = "aquatint_purge_commit_seconds" [],
    /// Time from an entry of the log being committed to every request seeing it here, in seconds.
    purge_apply: Histogram = "aquatint_purge_apply_seconds" [],
    /// Highest index of the log of purges that is applied here.
    purge_index: IntGauge = "aquatint_purge_index" [],
    /// Index before which nothing stored is served.
    purge_floor: IntGauge = "aquatint_purge_floor" [],
    /// Scopes in the purge tables with a place of their own.
    purge_table_scopes: IntGauge = "aquatint_purge_table_scopes" [],
    /// Buckets of the purge tables that hold scopes for which there was no place.
    purge_table_buckets: IntGauge = "aquatint_purge_table_buckets" [],
    /// Stored responses that were found and not served because a purge covers them.
    purge_refused_hits: IntCounter = "aquatint_purge_refused_hits_total" [],
    /// Responses that were not stored because a purge overtook their origin request.
    fills_fenced: IntCounter = "aquatint_fills_fenced_total" [],
    /// Responses that were older than what a purge said the origin has at least.
    answers_below_minimum: IntCounter = "aquatint_answers_below_minimum_total" [],
    /// Whether the log of purges takes entries: 1, or 0 while it has failed.
    purge_log_up: IntGauge = "aquatint_purge_log_up" [],
    /// Whether this node may serve what is stored, because it keeps the log of purges or holds a lease of it: 1, or 0.
    purge_lease_held: IntGauge = "aquatint_purge_lease_held" [],
    /// Nodes that follow the log of purges that is kept here, by how they stand.
    purge_followers: Family<FollowerState, IntGauge> = "aquatint_purge_followers" ["state"],
    /// Questions of this node to the voter that failed.
    purge_follow_errors: IntCounter = "aquatint_purge_follow_errors_total" [],
    /// Times that a receipt had to wait until the lease of a silent follower had run out.
    purge_fenced: IntCounter = "aquatint_purge_fenced_total" [],
    /// Hits that were compared with their origins, by what was found; nothing stale is expected.
    audits: Family<AuditResult, IntCounter> = "aquatint_audits_total" ["result"],
    /// Members of the cluster that are known here, this node too, by state; all 0 on a node alone.
    cluster_members: Family<MemberState, IntGauge> = "aquatint_cluster_members" ["state"],
    /// Messages of gossip that were not heeded, by reason.
    cluster_gossip_dropped: Family<GossipDrop, IntCounter> = "aquatint_cluster_gossip_dropped_total" ["reason"],
    /// Changes to which nodes own keys, or to their weights.
    cluster_ring_changes: IntCounter = "aquatint_cluster_ring_changes_total" [],
    /// Questions to other nodes, by what was asked and how it ended.
    cluster_questions: Grid<QuestionErrand, QuestionResult, IntCounter> = "aquatint_cluster_questions_total" ["errand", "result"],
    /// Questions of other nodes that were answered here, by what was asked.
    cluster_answers: Family<QuestionErrand, IntCounter> = "aquatint_cluster_answers_total" ["errand"],
    /// Time from asking another node to the header of its answer, in seconds.
    cluster_question_duration: Family<QuestionErrand, Histogram> = "aquatint_cluster_question_seconds" ["errand"],
    /// Questions of other nodes that are being answered now.
    cluster_peer_requests_in_flight: IntGauge = "aquatint_cluster_peer_requests_in_flight" [],
    /// Connections to the cluster listener whose TLS handshake failed.
    cluster_handshakes_failed: IntCounter = "aquatint_cluster_handshakes_failed_total" [],
    /// Requests of clients for keys of other nodes, by what became of them.
    cluster_forwards: Family<ForwardResult, IntCounter> = "aquatint_cluster_forwards_total" ["result"],
    /// Fills of a node in a cluster, by where what was missing came from and by what its key is to the node.
    cluster_fills: Grid<FillFrom, KeyClass, IntCounter> = "aquatint_cluster_fills_total" ["from", "key"],
    /// Copies of what was stored here for other owners, by what became of them.
    cluster_pushes: Family<PushResult, IntCounter> = "aquatint_cluster_pushes_total" ["result"],
    /// Copies and answers of other nodes that were refused: malformed, or of other bytes than was said.
    cluster_corrupt_copies: IntCounter = "aquatint_cluster_corrupt_copies_total" [],
    /// Bytes of copies that wait to be pushed to other owners.
    cluster_push_queue_bytes: IntGauge = "aquatint_cluster_push_queue_bytes" [],
    /// Keys owned here that are hot now.
    cluster_hot_keys: IntGauge = "aquatint_cluster_hot_keys" [],
    /// Copies of other nodes' hot keys that were to be kept here, by what became of them.
    cluster_hot_copies: Family<HotCopyResult, IntCounter> = "aquatint_cluster_hot_copies_total" ["result"],
    /// Hits on copies that were told to the keys' owners.
    cluster_reported_hits: IntCounter = "aquatint_cluster_reported_hits_total" [],
    /// Entries that were handed over to their next owners while this node drained.
    cluster_handed_over: IntCounter = "aquatint_cluster_handed_over_total" [],
    /// Access log lines lost: the log could not keep up, they could not be written, or they came while it closed.
    access_log_drops: IntCounter = "aquatint_access_log_drops_total" [],
    /// Connections of clients that are open now.
    connections: IntGauge = "aquatint_connections" [],
    /// Connections of clients, by protocol, once that was known.
    connections_by_protocol: Family<Protocol, IntCounter> = "aquatint_connections_total" ["protocol"],
    /// Connections of clients that were closed at once because as many as may be were open.
    connections_refused: IntCounter = "aquatint_connections_refused_total" [],
    /// Spans of traces that were not exported because too many waited already, or the edge was stopping.
    trace_spans_dropped: IntCounter = "aquatint_trace_spans_dropped_total" [],
    /// Spans of traces that were sent to the collector, by what came of it.
    trace_spans_exported: Family<TraceExport, IntCounter> = "aquatint_trace_spans_exported_total" ["result"],
    /// Whether this edge is ready for requests: 1, or 0 while it starts or stops.
    ready: IntGauge = "aquatint_ready" [],
    /// When the certificate of a listener ends, in seconds since the Unix epoch; 0 where it has none.
    certificate_not_after: Family<TlsListener, IntGauge> = "aquatint_certificate_not_after_seconds" ["listener"],
    /// Reloads of the configuration, by how they ended.
    reloads: Family<ReloadResult, IntCounter> = "aquatint_reloads_total" ["result"],
    /// Whether the last reload of the configuration was applied: 1, or 0 when it was refused.
    last_reload_successful: IntGauge = "aquatint_last_reload_successful" [],
    /// When the configuration in force was applied, in seconds since the Unix epoch.
    last_reload_success_timestamp: IntGauge = "aquatint_last_reload_success_timestamp_seconds" [],
    /// 1, for the version of this build.
    build_info: Family<BuildVersion, IntGauge> = "aquatint_build_info" ["version"],
}
