//! HTTP semantics, pure: what may be stored and for how long, what a conditional or ranged request gets, and
//! which fields stop at this hop.
//!
//! Invariant: nothing here does I/O or reads a clock, and no field value, however hostile, makes it panic.
//! It does not know connections, keys or the store.

pub mod alternates;
pub mod cache_control;
pub mod cache_status;
pub mod conditional;
pub mod entity_tag;
mod field;
pub mod freshness;
pub mod header_block;
pub mod hop;
pub mod invalidation;
pub mod lifetime;
pub mod partial;
pub mod range;
pub mod reuse;
pub mod targeted;
pub mod trace_context;
pub mod vary;
