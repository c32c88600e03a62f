//! What a whole stored response is good for: its standing before purges, and its lifetime before the request.
//!
//! Invariant: what is not valid answers nobody without its origin's word. Whoever serves, and whoever only explains what
//! would be served, asks here. It does not know stores or flights.

use crate::base::holes::{Hole, is_open};
use crate::http::cache_status::Why;
use crate::http::reuse::Reuse;
use crate::purge::table::Standing;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Serve,
    /// It answers, and is refreshed behind.
    ServeAndRefresh,
    /// The origin has to be asked first.
    Ask(Why),
}

impl Verdict {
    pub(super) fn of(standing: Standing, reuse: Reuse) -> Self {
        match (standing, reuse) {
            (Standing::Soft, Reuse::Serve) if is_open(Hole::ServeStalePurged) => Verdict::ServeAndRefresh,
            (Standing::Valid, Reuse::Serve) => Verdict::Serve,
            (Standing::Valid, Reuse::ServeAndRefresh) => Verdict::ServeAndRefresh,
            (_, Reuse::Unwanted) => Verdict::Ask(Why::Request),
            // What was purged softly is stale, whatever its lifetime says.
            (_, Reuse::Stale) | (Standing::Soft | Standing::Hard, _) => Verdict::Ask(Why::Stale),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_purged_answers_by_itself() {
        for reuse in [
            Reuse::Serve,
            Reuse::ServeAndRefresh,
            Reuse::Stale,
            Reuse::Unwanted,
        ] {
            for standing in [Standing::Soft, Standing::Hard] {
                let verdict = Verdict::of(standing, reuse);
                assert!(matches!(verdict, Verdict::Ask(_)), "{standing:?} {reuse:?}");
            }
        }
        assert_eq!(Verdict::of(Standing::Valid, Reuse::Serve), Verdict::Serve);
    }
}
