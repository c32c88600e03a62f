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
mod under_way;

pub use connect::Reuse;
pub use error::{OpenError, OriginError, Stage};
pub use response::Framing;

use crate::base::clock;
use crate::base::metrics::{Histogram, Metrics, Observer, OriginMetrics, StatusClass};
use crate::http::freshness::Exchange;
use ::http::{HeaderMap, Method, StatusCode};
use body::HttpBody;
use bytes::Bytes;
use config::Config;
use directory::Directory;
use file::FileBody;
use futures::future::BoxFuture;
use http::HttpOrigin;
use std::sync::{Arc, Weak};
use std::time::Instant;
use tokio::sync::Semaphore;
use under_way::UnderWay;

/// One configured origin. Cheap to clone and share.
#[derive(Clone)]
pub struct Origin(Arc<Inner>);

struct Inner {
    name: String,
    place: Place,
    /// One permit for each exchange that may be under way.
    permits: Arc<Semaphore>,
    /// All permits.
    requests_max: usize,
    metrics: Arc<OriginMetrics>,
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
    /// Over when the body has ended.
    under_way: Option<UnderWay>,
    sent_at: Instant,
    /// `None` for what comes from elsewhere.
    metrics: Option<Arc<OriginMetrics>>,
}

/// A body that comes from elsewhere, in an origin's place.
pub trait Elsewhere: Send + Sync {
    /// The next bytes, never empty, or `None` at the end of a body that came whole. Cancelling the future must lose nothing.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, OriginError>>;
}

enum Source {
    Http(Box<HttpBody>),
    File(FileBody),
    Elsewhere(Box<dyn Elsewhere>),
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

/// The connection that carries an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Connected<'a> {
    /// As a Host header has it.
    pub authority: &'a str,
    pub reuse: Reuse,
}

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

    /// Hears over which connection the request goes; once more where it is sent again.
    fn connected(&mut self, _: Connected<'_>) {}

    /// Whether the response's trailers go on to whoever asks (RFC 9110 section 6.5).
    fn takes_trailers(&self) -> bool {
        false
    }
}

/// The client's request body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request's body did not arrive whole; it can not be passed on")]
pub struct BodyGone;

/// A request that has no body, and nobody who hears its interim responses.
pub(crate) struct Bodiless;

impl RequestBody for Bodiless {
    fn is_absent(&self) -> bool {
        true
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyGone> {
        Ok(None)
    }
}

impl Origin {
    /// Puts a configured origin to work. Reads certificates and looks for the directory, but sends nothing.
    pub fn open(name: &str, config: &Config, metrics: &Metrics) -> Result<Origin, OpenError> {
        let counted = metrics.of_origin(name);
        let place = match &config.directory {
            Some(root) if config.url.is_none() && config.addresses.is_empty() => {
                Place::Directory(Box::new(Directory::open(root, config)?))
            }
            Some(_) => return Err(OpenError::Place),
            None => Place::Http(Box::new(HttpOrigin::open(name, config, counted.clone())?)),
        };
        let inner = Arc::new(Inner {
            name: name.to_string(),
            place,
            permits: Arc::new(Semaphore::new(config.concurrency_max)),
            requests_max: config.concurrency_max,
            metrics: counted,
        });
        let observer: Weak<Inner> = Arc::downgrade(&inner);
        metrics.observed_by(observer);
        Ok(Origin(inner))
    }

    /// The name the configuration gives it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Asks without a request body.
    pub async fn fetch(&self, request: OriginRequest) -> Result<OriginResponse, OriginError> {
        self.ask(request, Bodiless).await
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
        let under_way = UnderWay::begin(permits, metrics).ok_or(OriginError::Saturated)?;
        let mut response = match place {
            Place::Http(origin) => OriginResponse::of_http(origin.ask(&request, body).await?, metrics),
            Place::Directory(directory) => {
                metrics.requests.inc();
                directory.ask(request, metrics).await?
            }
        };
        metrics.responses[StatusClass::of(response.status.as_u16())].inc();
        response.body.hold(under_way);
        Ok(response)
    }
}

impl OriginResponse {
    fn of_http(answer: http::Answer, metrics: &Arc<OriginMetrics>) -> Self {
        let source = answer
            .body
            .map_or(Source::Ended, |body| Source::Http(Box::new(body)));
        OriginResponse {
            status: answer.head.status,
            headers: answer.head.headers,
            length: answer.head.length,
            body: OriginBody::new(source, answer.head.framing, answer.sent_at, metrics),
            exchange: answer.exchange,
        }
    }
}

impl OriginBody {
    fn new(source: Source, framing: Framing, sent_at: Instant, metrics: &Arc<OriginMetrics>) -> Self {
        if matches!(source, Source::Ended) {
            observe_since(sent_at, &metrics.duration);
        }
        OriginBody {
            source,
            framing,
            trailers: None,
            under_way: None,
            sent_at,
            metrics: Some(metrics.clone()),
        }
    }

    /// A body that no origin sends, though it may be framed as one has framed it; it is not counted as one's.
    pub fn from_elsewhere(body: impl Elsewhere + 'static, framing: Framing) -> Self {
        OriginBody {
            source: Source::Elsewhere(Box::new(body)),
            framing,
            trailers: None,
            under_way: None,
            sent_at: clock::monotonic(),
            metrics: None,
        }
    }

    /// That of a response which has none.
    pub fn empty() -> Self {
        OriginBody {
            source: Source::Ended,
            framing: Framing::Framed,
            trailers: None,
            under_way: None,
            sent_at: clock::monotonic(),
            metrics: None,
        }
    }

    /// The exchange is under way until the body has ended.
    fn hold(&mut self, under_way: UnderWay) {
        if !matches!(self.source, Source::Ended) {
            self.under_way = Some(under_way);
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
            Source::Elsewhere(body) => body.next().await,
            Source::Ended => return Ok(None),
            Source::Failed(error) => return Err(error.clone()),
        };
        self.count(&next);
        match &next {
            Ok(Some(_)) => {}
            Ok(None) => self.end(Source::Ended),
            Err(error) => self.end(Source::Failed(error.clone())),
        }
        next
    }

    fn count(&self, next: &Result<Option<Bytes>, OriginError>) {
        let Some(metrics) = &self.metrics else { return };
        match next {
            Ok(Some(bytes)) => metrics.body_bytes.inc_by(bytes.len() as u64),
            Ok(None) => observe_since(self.sent_at, &metrics.duration),
            Err(error) => count_failure(metrics, error),
        }
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
        self.under_way = None;
    }
}

impl Observer for Inner {
    /// Its limit too: another of the same name may have been opened, and refused.
    fn observe(&self) {
        let requests_max = i64::try_from(self.requests_max).unwrap_or(i64::MAX);
        self.metrics.requests_max.set(requests_max);
        if let Place::Http(origin) = &self.place {
            origin.observe(&self.metrics.addresses);
        }
    }
}

fn count_failure(metrics: &OriginMetrics, error: &OriginError) {
    if let Some(failure) = error.failure() {
        metrics.failures[failure].inc();
    }
}

fn observe_since(sent_at: Instant, durations: &Histogram) {
    durations.observe((clock::monotonic() - sent_at).as_secs_f64());
}
