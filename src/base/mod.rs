//! The ground floor: what every other module may use and that uses none of them.
//!
//! Breakers, time, content digests, positions in the log of purges, human units, configuration problems and the table of metrics.

pub mod breaker;
pub mod clock;
pub mod digest;
pub mod epoch;
pub mod holes;
pub mod metrics;
pub mod problem;
pub mod secret;
pub mod units;
