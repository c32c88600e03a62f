//! Faults in the guarantee that a build with the feature `holes` can be made to have, so that its checker is seen to find
//! them.
//!
//! Invariant: without the feature there is none, and nothing of this is in the binary. It does not know what a fault does.

/// One fault, as `AQUATINT_HOLE` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hole {
    /// `epoch-after-request`: an epoch is what is known when the answer comes.
    EpochAfterRequest,
    /// `no-hit-check`: what is stored is served unchecked.
    NoHitCheck,
    /// `join-any-flight`: a flight begun before a purge answers who comes after it.
    JoinAnyFlight,
    /// `renew-purged`: a 304 revives what was purged.
    RenewPurged,
    /// `serve-stale-purged`: what is purged is served while it is refreshed.
    ServeStalePurged,
    /// `raise-epoch`: what comes back from the SSD is of today's epoch.
    RaiseEpoch,
    /// `foreign-incarnation`: entries of another incarnation keep their epoch.
    ForeignIncarnation,
    /// `serve-retired`: a process that has handed over goes on serving what it had cached.
    ServeRetired,
    /// `ack-before-apply`: orders are answered before they are in the log.
    AckBeforeApply,
    /// `tags-ignored`: no entry has tags.
    TagsIgnored,
    /// `forget-without-floor`: what is forgotten does not raise the floor.
    ForgetWithoutFloor,
}

#[cfg(feature = "holes")]
mod open {
    use super::Hole;
    use std::sync::LazyLock;

    static OPEN: LazyLock<Option<Hole>> = LazyLock::new(|| {
        let name = std::env::var("AQUATINT_HOLE").ok()?;
        let hole = match name.as_str() {
            "epoch-after-request" => Hole::EpochAfterRequest,
            "no-hit-check" => Hole::NoHitCheck,
            "join-any-flight" => Hole::JoinAnyFlight,
            "renew-purged" => Hole::RenewPurged,
            "serve-stale-purged" => Hole::ServeStalePurged,
            "raise-epoch" => Hole::RaiseEpoch,
            "foreign-incarnation" => Hole::ForeignIncarnation,
            "serve-retired" => Hole::ServeRetired,
            "ack-before-apply" => Hole::AckBeforeApply,
            "tags-ignored" => Hole::TagsIgnored,
            "forget-without-floor" => Hole::ForgetWithoutFloor,
            other => panic!("AQUATINT_HOLE={other} is no hole"),
        };
        Some(hole)
    });

    pub(super) fn is_open(hole: Hole) -> bool {
        *OPEN == Some(hole)
    }
}

#[cfg(feature = "holes")]
pub fn is_open(hole: Hole) -> bool {
    open::is_open(hole)
}

#[cfg(not(feature = "holes"))]
pub const fn is_open(_: Hole) -> bool {
    false
}
