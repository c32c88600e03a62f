//! The origins: where images come from.
//!
//! [`Origin::fetch`] asks one configured origin, an HTTP server with one or more addresses or a directory of files,
//! and answers with a header and a body that is read piece by piece. Invariants:
//!
//! 1. A body that is read to its end came whole; whatever else happens is an [`OriginError`]. Where nothing but the
//!    connection's close ends it ([`Framing::UntilClose`]) that can not be told.
//! 2. No await on an origin is without a deadline, and no more than `concurrency_max` exchanges are under way.
//! 3. Hop-by-hop headers pass in neither direction.
//!
//! This floor knows nothing of caching: it neither stores, nor coalesces, nor decides what is fresh.

mod beneath;
mod body;
mod breaker;
pub mod config;
mod connect;
mod deadline;
mod directory;
mod error;
mod fault;
mod file;
mod health;
mod http;
mod pick;
mod place;
mod request;
mod resolve;
mod response;
#[cfg(test)]
mod scripted;
mod send;
mod trailers;

pub use error::{OpenError, OriginError, Stage};
pub use response::Framing;

use crate::base::metrics::Metrics;
use crate::http::freshness::Exchange;
use ::http::{HeaderMap, Method, StatusCode};
use body::HttpBody;
use bytes::Bytes;
use config::Config;
use directory::Directory;
use file::FileBody;
use http::HttpOrigin;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One configured origin. Cheap to clone and share.
#[derive(Clone)]
pub struct Origin(Arc<Inner>);

struct Inner {
    name: String,
    place: Place,
    /// One permit for each exchange that may be under way.
    permits: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

enum Place {
    Http(Box<HttpOrigin>),
    Directory(Box<Directory>),
}

/// What is asked of an origin.
#[derive(Clone, Debug)]
pub struct OriginRequest {
    pub method: Method,
    /// Origin-form, beginning with `/`; percent-encoded.
    pub path_and_query: String,
    /// The client's Host.
    pub host: String,
    /// End-to-end headers, with those of forwarding added.
    pub headers: HeaderMap,
}

/// What an origin answered.
pub struct OriginResponse {
    pub status: StatusCode,
    /// End-to-end headers.
    pub headers: HeaderMap,
    /// Content-Length, as the origin declares it: of the body that follows or, for HEAD and 304, would follow.
    pub length: Option<u64>,
    pub body: OriginBody,
    pub exchange: Exchange,
}

/// A response's body on its way. Dropping it aborts the exchange.
pub struct OriginBody {
    source: Source,
    framing: Framing,
    /// Come with the body's end, if at all.
    trailers: Option<Box<HeaderMap>>,
    /// Given back when the body has ended.
    permit: Option<OwnedSemaphorePermit>,
    metrics: Arc<Metrics>,
}

enum Source {
    Http(Box<HttpBody>),
    File(FileBody),
    Ended,
    /// Told again to whoever asks again: an error never turns into a clean end.
    Failed(OriginError),
}

/// A response that precedes the final one: Early Hints and the like (RFC 9110 section 15.2). Never a 100 or 101.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interim {
    pub status: StatusCode,
    /// End-to-end headers.
    pub headers: HeaderMap,
}

/// Hears the interim responses of an exchange, in their order.
pub type Interims = dyn Fn(Interim) + Send + Sync;

/// Who asks through us, with the body that is pulled from them piece by piece.
pub trait RequestBody: Send {
    /// Whether the request has no body at all.
    fn is_absent(&self) -> bool {
        false
    }

    /// The next bytes, or `None` at the end of a body that came whole. Cancelling the future must lose nothing.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, BodyGone>> + Send;

    /// Hears an interim response.
    fn interim(&mut self, _: Interim) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Whether the response's trailers go on to whoever asks (RFC 9110 section 6.5).
    fn takes_trailers(&self) -> bool {
        false
    }
}

/// The client's request body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request's body did not arrive whole; it can not be passed on")]
pub struct BodyGone;

/// A request that has no body, and who hears its interim responses.
struct Bodiless<'a>(Option<&'a Interims>);

impl RequestBody for Bodiless<'_> {
    fn is_absent(&self) -> bool {
        true
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyGone> {
        Ok(None)
    }

    async fn interim(&mut self, interim: Interim) {
        if let Some(hear) = self.0 {
            hear(interim);
        }
    }
}

impl Origin {
    /// Puts a configured origin to work. Reads certificates and looks for the directory, but sends nothing.
    pub fn open(name: &str, config: &Config, metrics: Arc<Metrics>) -> Result<Origin, OpenError> {
        let place = match &config.directory {
            Some(root) if config.url.is_none() && config.addresses.is_empty() => {
                Place::Directory(Box::new(Directory::open(root, config)?))
            }
            Some(_) => return Err(OpenError::Place),
            None => Place::Http(Box::new(HttpOrigin::open(name, config, metrics.clone())?)),
        };
        Ok(Origin(Arc::new(Inner {
            name: name.to_string(),
            place,
            permits: Arc::new(Semaphore::new(config.concurrency_max)),
            metrics,
        })))
    }

    /// The name the configuration gives it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Asks without a request body.
    pub async fn fetch(&self, request: OriginRequest) -> Result<OriginResponse, OriginError> {
        self.ask(request, Bodiless(None)).await
    }

    /// The same, with the interim responses that come before the answer.
    pub async fn fetch_with_interims(
        &self,
        request: OriginRequest,
        interims: &Interims,
    ) -> Result<OriginResponse, OriginError> {
        self.ask(request, Bodiless(Some(interims))).await
    }

    /// Asks with a request body, which is streamed. An answer that comes before the body's end stops it. Where the
    /// request expects a 100 (RFC 9110 section 10.1.1), the body is first asked for when the origin has sent that, or
    /// nothing for a while.
    pub async fn exchange(
        &self,
        request: OriginRequest,
        body: impl RequestBody,
    ) -> Result<OriginResponse, OriginError> {
        self.ask(request, body).await
    }

    /// Probes the addresses for as long as it is polled; ends at once where no probe is configured.
    pub async fn run_health(&self) {
        if let Place::Http(origin) = &self.0.place {
            origin.run_health().await;
        }
    }

    async fn ask<B: RequestBody>(
        &self,
        request: OriginRequest,
        body: B,
    ) -> Result<OriginResponse, OriginError> {
        let asked = self.ask_in_turn(request, body).await;
        asked.inspect_err(|error| count_failure(&self.0.metrics, error))
    }

    async fn ask_in_turn<B: RequestBody>(
        &self,
        request: OriginRequest,
        body: B,
    ) -> Result<OriginResponse, OriginError> {
        let Inner {
            place,
            permits,
            metrics,
            ..
        } = &*self.0;
        let permit = permits
            .clone()
            .try_acquire_owned()
            .map_err(|_| OriginError::Saturated)?;
        let mut response = match place {
            Place::Http(origin) => OriginResponse::of_http(origin.ask(&request, body).await?, metrics),
            Place::Directory(directory) => {
                metrics.origin_requests.inc();
                directory.ask(request, metrics).await?
            }
        };
        response.body.hold(permit);
        Ok(response)
    }
}

impl OriginResponse {
    fn of_http(answer: http::Answer, metrics: &Arc<Metrics>) -> Self {
        let source = answer
            .body
            .map_or(Source::Ended, |body| Source::Http(Box::new(body)));
        OriginResponse {
            status: answer.head.status,
            headers: answer.head.headers,
            length: answer.head.length,
            body: OriginBody::new(source, answer.head.framing, metrics),
            exchange: answer.exchange,
        }
    }
}

impl OriginBody {
    fn new(source: Source, framing: Framing, metrics: &Arc<Metrics>) -> Self {
        OriginBody {
            source,
            framing,
            trailers: None,
            permit: None,
            metrics: metrics.clone(),
        }
    }

    /// Keeps the permit until the body has ended.
    fn hold(&mut self, permit: OwnedSemaphorePermit) {
        if !matches!(self.source, Source::Ended) {
            self.permit = Some(permit);
        }
    }

    /// Whether the body's end can be told from its being cut off; the same before and after it has been read.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The next bytes, never empty, or `None` at the end of a body that came whole, as far as its framing tells.
    pub async fn next(&mut self) -> Result<Option<Bytes>, OriginError> {
        let next = match &mut self.source {
            Source::Http(body) => {
                let next = body.next().await;
                if let Ok(None) = next {
                    self.trailers = body.take_trailers();
                }
                next
            }
            Source::File(body) => body.next().await,
            Source::Ended => return Ok(None),
            Source::Failed(error) => return Err(error.clone()),
        };
        match &next {
            Ok(Some(bytes)) => self.metrics.origin_body_bytes.inc_by(bytes.len() as u64),
            Ok(None) => self.end(Source::Ended),
            Err(error) => {
                count_failure(&self.metrics, error);
                self.end(Source::Failed(error.clone()));
            }
        }
        next
    }

    /// What came after the body's end and may go on to a client (RFC 9110 section 6.5.1); empty before that end, and
    /// over HTTP/1.1, whose trailers pingora discards.
    pub fn take_trailers(&mut self) -> HeaderMap {
        self.trailers
            .take()
            .map_or_else(HeaderMap::new, |trailers| *trailers)
    }

    fn end(&mut self, source: Source) {
        self.source = source;
        self.permit = None;
    }
}

fn count_failure(metrics: &Metrics, error: &OriginError) {
    if let Some(failure) = error.failure() {
        metrics.origin_failures[failure].inc();
    }
}
