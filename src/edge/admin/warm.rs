//! `POST /api/v1/warm`: the edge asks itself for an image, to its last byte, so that clients find it stored.
//!
//! Invariant: no more at once than the configuration allows, each under a deadline; it is answered and stored by the rules
//! of any client's request, and by no others. It does not know sessions.

use super::asked::Asked;
use super::refusal::Refusal;
use crate::base::clock;
use crate::base::metrics::{Label, Outcome};
use crate::edge::config;
use crate::edge::guard::Guard;
use crate::edge::interim;
use crate::edge::unserved::status_of;
use crate::serve::body::{Body, BodyError};
use crate::serve::{Answer, Engine, Hints, Request, ServeError, Served};
use crate::upstream::{BodyGone, RequestBody};
use bytes::Bytes;
use serde::Serialize;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub(crate) struct Warming {
    /// A permit for each that may be under way.
    places: Semaphore,
    deadline: Duration,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Warmed {
    url: String,
    outcome: &'static str,
    status: u16,
    bytes: u64,
    duration_seconds: f64,
    cache_status: Option<String>,
    /// Whether others find it in the cache now.
    stored: bool,
    /// Why it is not stored, or not whole.
    note: Option<String>,
}

/// What a request that is made here has no more of than its header.
struct NoBody;

impl RequestBody for NoBody {
    fn is_absent(&self) -> bool {
        true
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyGone> {
        Ok(None)
    }
}

/// How an image was answered, as far as it was read.
struct Read {
    outcome: Outcome,
    status: u16,
    bytes: u64,
    cache_status: Option<String>,
    is_stored: bool,
    broken: Option<BodyError>,
}

impl Warming {
    pub(crate) fn new(config: &config::Admin) -> Self {
        Warming {
            places: Semaphore::new(config.warm_max),
            deadline: config.warm_deadline.get(),
        }
    }

    /// Asks `engine`, and reads what it answers.
    ///
    /// # Errors
    /// When too many are under way, or the URL leads nowhere.
    pub(super) async fn warm(
        &self,
        engine: &Engine,
        guard: &Guard,
        name: &str,
        asked: &Asked,
    ) -> Result<Warmed, Refusal> {
        let request = asked.admit(guard)?;
        let _place = self
            .places
            .try_acquire()
            .map_err(|_| Refusal::Busy("as many requests as admin.warm_max allows"))?;
        let began = clock::monotonic();
        // Boxed, so that no other answer carries its size.
        let read = timeout(self.deadline, Box::pin(read(engine, &request, name))).await;
        let warmed = match read {
            Ok(Ok(read)) => Warmed::of(asked, read),
            Ok(Err(error)) => Warmed::failed(asked, error)?,
            Err(_) => Warmed::late(asked),
        };
        Ok(Warmed {
            duration_seconds: (clock::monotonic() - began).as_secs_f64(),
            ..warmed
        })
    }
}

async fn read(engine: &Engine, request: &Request<'_>, name: &str) -> Result<Read, ServeError> {
    // Nobody hears them.
    let (hints, _): (Hints, _) = interim::channel();
    let served = match engine
        .serve(request, &hints)
        .await
        .map_err(|unserved| unserved.error)?
    {
        Answer::Served(served) => served,
        Answer::Pass(pass) => engine
            .pass(pass, NoBody)
            .await
            .map_err(|unserved| unserved.error)?,
    };
    Ok(read_to_end(served, name).await)
}

async fn read_to_end(mut served: Served, name: &str) -> Read {
    let (mut bytes, mut broken) = (0, None);
    loop {
        match next(&mut served.body, bytes).await {
            Ok(Some(chunk)) => bytes += chunk.len() as u64,
            Ok(None) => break,
            Err(error) => {
                broken = Some(error);
                break;
            }
        }
    }
    let cache_status = served.cache_status.render(name);
    Read {
        outcome: served.outcome,
        status: served.head.status().as_u16(),
        bytes,
        cache_status: cache_status.to_str().ok().map(str::to_owned),
        is_stored: served.head.is_stored(),
        broken,
    }
}

async fn next(body: &mut Body, offset: u64) -> Result<Option<Bytes>, BodyError> {
    body.read_at(offset, u64::MAX).await
}

impl Warmed {
    fn of(asked: &Asked, read: Read) -> Self {
        let note = match &read.broken {
            Some(error) => Some(error.to_string()),
            None if read.is_stored => None,
            None if read.outcome == Outcome::Bypass => Some("it goes by the cache".to_owned()),
            None => Some("its answer is not one that may be stored for others".to_owned()),
        };
        Warmed {
            url: asked.url.clone(),
            outcome: match read.broken {
                Some(_) => Outcome::Error.name(),
                None => read.outcome.name(),
            },
            status: read.status,
            bytes: read.bytes,
            duration_seconds: 0.0,
            cache_status: read.cache_status,
            stored: read.is_stored && read.broken.is_none(),
            note,
        }
    }

    /// # Errors
    /// When it is the URL's fault.
    fn failed(asked: &Asked, error: ServeError) -> Result<Self, Refusal> {
        let (status, outcome) = status_of(&error);
        match error {
            ServeError::NoRoute | ServeError::Reserved | ServeError::Url(_) | ServeError::Spec(_) => {
                Err(Refusal::Serve(error))
            }
            error => Ok(Warmed {
                outcome: outcome.name(),
                status: status.as_u16(),
                note: Some(error.to_string()),
                ..Warmed::late(asked)
            }),
        }
    }

    fn late(asked: &Asked) -> Self {
        Warmed {
            url: asked.url.clone(),
            outcome: Outcome::Error.name(),
            status: 504,
            bytes: 0,
            duration_seconds: 0.0,
            cache_status: None,
            stored: false,
            note: Some("it took longer than admin.warm_deadline".to_owned()),
        }
    }
}
