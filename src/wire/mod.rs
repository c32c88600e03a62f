//! The messages and services of `proto/aquatint.proto`.
//!
//! Invariant: what a version has once sent another can read: fields are added, never changed. It knows nothing of what is done
//! with them.

#![allow(missing_docs, clippy::all, unreachable_pub)]

tonic::include_proto!("aquatint.v1");
