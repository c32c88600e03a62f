//! The ground floor: what every other module may use and that uses none of them.
//!
//! Time, content digests, human units, configuration problems and the table of metrics.

pub mod clock;
pub mod digest;
pub mod metrics;
pub mod problem;
pub mod units;
