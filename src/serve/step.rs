//! How far a request has come on its way through the engine.
//!
//! It does not know what led there.

use super::served::{Answer, Served};
use std::time::Duration;

pub(super) enum Step {
    Answered(Box<Answer>),
    /// What was found was for others, or is gone.
    LookAgain,
}

impl Step {
    pub(super) fn served(served: Served) -> Self {
        Step::answered(Answer::Served(served))
    }

    pub(super) fn answered(answer: Answer) -> Self {
        Step::Answered(Box::new(answer))
    }

    /// The request has waited so long for its origin.
    pub(super) fn after(mut self, waited: Duration) -> Self {
        if let Step::Answered(answer) = &mut self
            && let Answer::Served(served) = &mut **answer
        {
            served.origin_time = Some(waited);
        }
        self
    }
}
