//! Aquatint: an image CDN edge cache.
//!
//! # The path of a request
//! 1. **Guard** ([`edge`]): limits on method, URL and headers; the route by host and path.
//! 2. **Spec** ([`spec`]): what is to be made of the image leaves the URL and becomes one canonical value.
//! 3. **Key** ([`key`]): the URL's canonical text, whose BLAKE3-128 is only its name. What the key leaves out
//!    does not reach the origin either.
//! 4. **Look up** the source's entry ([`store`]): memory first, synchronously, then SSD; where the URL's responses vary, by way
//!    of an index.
//! 5. **May it be served?** Not covered by a purge ([`purge`]); then fresh, stale within a window, or to be asked for again
//!    ([`http`], RFC 9111).
//! 6. **Variant** ([`serve`]): named by the source's digest, the spec and the encoder. Where it is not there yet it is made
//!    ([`image`]), once for all who wait, on a bounded pool.
//! 7. **Bytes**: the blob that the entry's digest names, in parts of 1 MiB.
//! 8. **Miss** ([`serve`]): one flight per key, detached from the client who started it. It asks the origin
//!    ([`upstream`]), with a condition where an entry exists, and streams to everybody who waits. In a cluster ([`cluster`]) an
//!    owner of the key answers in this node's place, or the key's primary in the origin's.
//! 9. **Store**: the blob, unless equal bytes are there already, then the entry. Never a body cut short, nor one that a purge
//!    has overtaken.
//! 10. **Respond** from one data type: status, headers, body, ranges, Cache-Status, access log and metrics all
//!     derive from it.
//!
//! # The path of a purge
//! An order by webhook, API or `PURGE` ([`edge`]) is allowed, becomes part of a batch, one entry of the log ([`purge`]),
//! committed on disk, then in the tables that every hit is checked against; then its caller has the receipt. In a cluster one node
//! keeps the log and the others follow it, each under a lease without which nothing stored is served.
//!
//! # The words
//! *edge*: a node that received a client's request. *origin*: where images come from, an HTTP server or a directory.
//! *route*: host and path prefix, leading to an origin and a policy. *entry*: what is known of a stored response:
//! status, headers, times, digest. *blob*: immutable bytes, named by their digest. *fill*: an origin request whose
//! response is being stored. *flight*: a fill and those who wait for it. *pass*: an answer that goes by the cache.
//! *alternate*: one of the responses of a URL between which request headers select. *index*: the entry that tells by which,
//! and its *series*: the alternates that belong to it. *era*: the time between two invalidations of a URL. *part*: of a
//! body, 1 MiB as it is stored, or the bytes of one range. *interim*, *hint*: a response before the response.
//! *source*: an image as its origin sent it. *spec*: a canonical transform. *variant*: what a spec makes of a source.
//! *wish*: the spec a request asks for, and what may stand in for it. *rendition*: how one request wants an answer shown:
//! its wish, its download name, the headers that had a say. *scope*: what a purge covers. *index*, of a purge: its position in
//! the log. *epoch*: the highest index known before a response's origin was asked. *incarnation*: one life of the log. *floor*:
//! the epoch before which nothing is served. *stamp*: epoch and tags of a response. *standing*: what purges let be done with
//! it. *order*: what somebody wants purged. *making*: the work on a variant, and those who wait for it. *sight*: how a look-up
//! sees the store, taking what it finds or only looking. *verdict*: what a stored response is good for, for a request.
//! *explanation*: what would be done with a request and why. *warming*: the edge asking itself for an image. *trace*: the steps
//! of one request, each a *span*, on this and other hops. *member*: a node of the cluster, as gossip tells it; *peer*: the same as
//! somebody to ask. *zone*, *pool*: where a node stands, and for which routes. *owner*: one of the nodes that keep a key;
//! *primary*: the one that asks its origin; *candidate*: who may be asked for it, in order. *question*: what one node asks
//! another, on an *errand*: a *relay* (answer my client), a *fill* (be the origin) or a *look* (only what you have). *copy*: what
//! one node has of another's. *hot*: asked for so often that every node keeps a copy. *voter*: the node that keeps the log;
//! *follower*: one that follows it. *lease*: for how long a follower may serve what it has stored.
//!
//! # The floors
//! A module uses only floors below its own, and none beside it; `tests/tidy.rs` holds that as code.

// Floor 0: uses nothing of ours.
pub mod base;

// Floor 1: pure. No input or output; the time is handed in.
pub mod http;
pub mod key;
pub mod scope;
pub mod spec;
pub mod wire;

// Floor 2: where bytes are kept, where they come from, and what is made of them; where traces go.
pub mod image;
pub mod store;
pub mod trace;
pub mod upstream;

// Floor 3: the other nodes, and the purge path.
pub mod cluster;
pub mod purge;

// Floor 4: the request path.
pub mod serve;

// Floor 5: HTTP in and out.
pub mod edge;

// From here on, what the binary is made of.
pub mod config;

pub mod app;

pub mod cli;
