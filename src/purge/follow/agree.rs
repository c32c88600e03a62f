//! Which log a node follows: the voter's word, or what was noted with the cache while the voter is away.
//!
//! Invariant: what is noted is the log that the cache is opened for next, before anything is stored under it. It does not know
//! what the log says.

use super::follower::{PAUSE_FIRST, PAUSE_MAX};
use super::memory::{Known, Memory};
use super::voter::{Fetch, Voter};
use super::{Limits, Settings};
use crate::base::epoch::{Incarnation, PurgeIndex};
use crate::purge::leases::Holder;
use crate::purge::log::LogError;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

impl Known {
    pub(super) fn of(incarnation: Incarnation) -> Self {
        Known {
            incarnation,
            applied: PurgeIndex::NONE,
        }
    }
}

pub(super) async fn recall(settings: &Settings) -> Result<(Option<Memory>, Option<Known>), LogError> {
    let Some(cache) = settings.cache.clone() else {
        return Ok((None, None));
    };
    let directory = cache.clone();
    let opened = spawn_blocking(move || Memory::open(&cache)).await;
    let (memory, known) = opened.map_err(|error| LogError::Open {
        directory,
        cause: error.to_string(),
    })??;
    Ok((Some(memory), known))
}

/// Which log is followed: the voter's word, or what was noted while it is away.
pub(super) async fn agree(
    voter: &dyn Voter,
    holder: &Holder,
    noted: Option<Known>,
    memory: Option<&Memory>,
    limits: Limits,
) -> Known {
    let asking = ask_incarnation(voter, holder, limits.answer_deadline);
    let told = match noted {
        Some(_) => timeout(limits.start_patience, asking).await.ok(),
        None => Some(asking.await),
    };
    match (told, noted) {
        (Some(told), Some(noted)) if told == noted.incarnation => noted,
        (Some(told), _) => {
            let known = Known::of(told);
            // Before anything is stored under it.
            note(memory, known);
            known
        }
        (None, noted) => noted.expect("it is asked for as long as nothing is noted"),
    }
}

async fn ask_incarnation(voter: &dyn Voter, holder: &Holder, deadline: Duration) -> Incarnation {
    let mut pause = PAUSE_FIRST;
    loop {
        let fetch = Fetch {
            holder: holder.clone(),
            incarnation: None,
            applied: PurgeIndex::NONE,
            patience: Duration::ZERO,
        };
        match timeout(deadline, voter.fetch(fetch)).await {
            Ok(Ok(fetched)) => return fetched.incarnation,
            Ok(Err(error)) => tracing::warn!(%error, "the start waits for the voter"),
            Err(_) => tracing::warn!("the start waits for the voter, which does not answer"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

pub(super) fn note(memory: Option<&Memory>, known: Known) {
    if let Some(memory) = memory
        && let Err(error) = memory.note(known)
    {
        tracing::warn!(%error, "which log of purges the cache belongs to is not noted");
    }
}
