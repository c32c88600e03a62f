//! The edge listener: one request after the other, from a session's header to its answer.
//!
//! Invariant: every request is answered, counted and logged exactly once, or its connection is closed. The
//! whole header has to arrive under one deadline. Knows nothing of caching: it asks the engine.

use super::access_log::{AccessLog, Line};
use super::config::Config;
use super::connection::Flow;
use super::guard::{Guard, Incoming, Refusal, expects_continue};
use super::interim;
use super::purging::{self, Entrance, Orderer};
use super::request_body::SessionBody;
use super::respond::{Asked, Manner, Payload, Reply, version_name};
use super::send::{End, send};
use crate::base::clock::{self, Timestamp};
use crate::base::metrics::{Metrics, Outcome, StatusClass};
use crate::key::Scheme;
use crate::serve::{Answer, Engine, Pass, Request};
use async_trait::async_trait;
use http::{Method, StatusCode, header};
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::server::ShutdownWatch;
use pingora_http::RequestHeader;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The HTTP server that browsers and apps talk to.
pub(crate) struct Edge {
    engine: Arc<Engine>,
    orderer: Arc<Orderer>,
    guard: Guard,
    manner: Manner,
    options: HttpServerOptions,
    header_deadline: Duration,
    read_deadline: Duration,
    write_deadline: Duration,
    keepalive_idle_secs: u64,
    streams_max: u32,
    body_bytes_max: u64,
    log: Arc<AccessLog>,
    metrics: Arc<Metrics>,
    requests: TaskTracker,
}

/// What came of waiting for a request's header.
enum Arrival {
    Request,
    /// The client sent nothing more; nobody waits for an answer.
    Gone,
    Malformed,
    Late,
}

impl Edge {
    /// Every request under way holds a token of `requests`.
    pub(crate) fn new(
        config: &Config,
        engine: Arc<Engine>,
        orderer: Arc<Orderer>,
        log: Arc<AccessLog>,
        metrics: Arc<Metrics>,
        requests: TaskTracker,
    ) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        // The limit counts the reuses after a connection's first request.
        options.keepalive_request_limit = Some(config.keepalive_requests - 1);
        options.h2_idle_timeout = Some(config.keepalive_idle.get());
        Edge {
            engine,
            orderer,
            guard: Guard::new(config),
            manner: Manner::new(&config.name, config.ranges_max),
            options,
            header_deadline: config.header_deadline.get(),
            read_deadline: config.read_deadline.get(),
            write_deadline: config.write_deadline.get(),
            keepalive_idle_secs: config.keepalive_idle.get().as_secs(),
            streams_max: config.http2_streams_max,
            body_bytes_max: config.body_bytes_max.bytes(),
            log,
            metrics,
            requests,
        }
    }

    async fn read_header(&self, session: &mut ServerSession) -> Arrival {
        if session.get_keepalive().is_some() {
            session.set_keepalive(Some(self.keepalive_idle_secs));
        }
        session.set_pipelining_enabled(true);
        match header_within(session, self.header_deadline).await {
            Some(Ok(true)) => Arrival::Request,
            Some(Ok(false)) => Arrival::Gone,
            Some(Err(error)) if matches!(error.etype(), pingora_core::ErrorType::InvalidHTTPHeader) => {
                Arrival::Malformed
            }
            Some(Err(_)) => Arrival::Gone,
            None => Arrival::Late,
        }
    }

    async fn answer(&self, session: &mut ServerSession, received_at: Timestamp) -> Reply {
        let incoming = incoming(session, session.req_header(), received_at);
        let request = match self.guard.admit(&incoming) {
            Ok(request) => request,
            Err(refusal) => return self.refuse(refusal),
        };
        if let Some(entrance) = purging::entrance(&request) {
            return Box::pin(self.answer_order(session, entrance)).await;
        }
        match self.engine.serve_at_once(&request) {
            Ok(Some(served)) => self.manner.reply(&asked(&request), served),
            // Boxed, so that a hit does not carry the size of everything else.
            Ok(None) => Box::pin(self.answer_in_time(session, received_at)).await,
            Err(error) => self.manner.refuse(&error),
        }
    }

    /// An order of a purge goes no further.
    async fn answer_order(&self, session: &mut ServerSession, entrance: Entrance) -> Reply {
        self.orderer
            .answer_edge(session, entrance, &self.manner, self.write_deadline)
            .await
    }

    /// The engine may take long, and have something to say meanwhile.
    async fn answer_in_time(&self, session: &mut ServerSession, received_at: Timestamp) -> Reply {
        // A copy, because the session is written to while the engine reads the request.
        let mut header = session.req_header().clone();
        if !expects_continue(header.version, &header.headers) {
            header.remove_header(&header::EXPECT);
        }
        let incoming = incoming(session, &header, received_at);
        let request = match self.guard.admit(&incoming) {
            Ok(request) => request,
            Err(refusal) => return self.refuse(refusal),
        };
        let (hints, mut hinted) = interim::channel();
        let serving = self.engine.serve(&request, &hints);
        let answer = interim::passing_on(session, &mut hinted, self.write_deadline, serving).await;
        match answer {
            Ok(Answer::Served(served)) => self.manner.reply(&asked(&request), served),
            Ok(Answer::Pass(pass)) => self.pass(session, pass).await,
            Err(error) => self.manner.refuse(&error),
        }
    }

    fn refuse(&self, refusal: Refusal) -> Reply {
        if refusal == Refusal::OwnOptions {
            return self.manner.own_options();
        }
        self.manner
            .plain(refusal.status(), Outcome::Refused, refusal.to_string())
    }

    /// Sends the request on with its body, within the limit.
    async fn pass(&self, session: &mut ServerSession, pass: Pass) -> Reply {
        let mut body = SessionBody::new(session, self.body_bytes_max, self.write_deadline);
        if body.declares_too_much() {
            return self.body_too_large();
        }
        let passed = self.engine.pass(pass, &mut body).await;
        if body.exceeded() {
            return self.body_too_large();
        }
        let header = session.req_header();
        match passed {
            Ok(served) => self.manner.reply(
                &Asked {
                    method: &header.method,
                    headers: &header.headers,
                },
                served,
            ),
            Err(error) => self.manner.refuse(&error),
        }
    }

    fn body_too_large(&self) -> Reply {
        let text = "the request's body is larger than this edge accepts".to_owned();
        self.manner
            .plain(StatusCode::PAYLOAD_TOO_LARGE, Outcome::Refused, text)
    }

    fn count(&self, ended: &Ended) {
        self.metrics.requests[(ended.outcome, StatusClass::of(ended.status.as_u16()))].inc();
        self.metrics.request_duration[ended.outcome].observe(ended.duration.as_secs_f64());
        self.metrics.response_body_bytes.inc_by(ended.bytes);
    }

    fn log(&self, session: &ServerSession, ended: &Ended) {
        let header = session.req_header();
        let host = header
            .headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        self.log.record(&Line {
            time: ended.received_at,
            client: client(session),
            version: version_name(header.version),
            method: header.method.as_str(),
            host: host.or(header.uri.host()).unwrap_or(""),
            target: header.raw_path(),
            status: ended.status.as_u16(),
            bytes: ended.bytes,
            outcome: ended.outcome,
            duration: ended.duration,
        });
    }

    /// Answers a request that never became one, where the client may still listen.
    async fn answer_unread(&self, session: &mut ServerSession, status: StatusCode, text: &str) {
        let reply = self.manner.plain(status, Outcome::Refused, text.to_owned());
        session.set_keepalive(None);
        let sent = send(session, reply, self.write_deadline).await;
        self.count(&Ended {
            received_at: clock::now(),
            outcome: Outcome::Refused,
            status,
            bytes: sent.bytes,
            duration: Duration::ZERO,
        });
    }

    async fn answer_request(&self, session: &mut ServerSession) -> End {
        let _under_way = UnderWay::begin(self);
        let started = clock::monotonic();
        let received_at = clock::now();
        let mut reply = self.answer(session, received_at).await;
        if session.req_header().method == Method::HEAD {
            reply.payload = Payload::None;
        }
        let (outcome, status) = (reply.outcome, reply.status);
        let sent = send(session, reply, self.write_deadline).await;
        let duration = clock::monotonic() - started;
        let ended = Ended {
            received_at,
            outcome,
            status,
            bytes: sent.bytes,
            duration,
        };
        self.count(&ended);
        self.log(session, &ended);
        sent.end
    }
}

/// A request that has been answered, as metrics and log tell it.
struct Ended {
    received_at: Timestamp,
    outcome: Outcome,
    status: StatusCode,
    /// Of the body, as sent.
    bytes: u64,
    duration: Duration,
}

/// Counts a request as under way for as long as it is, however it ends.
struct UnderWay<'a> {
    metrics: &'a Metrics,
    _token: TaskTrackerToken,
}

impl<'a> UnderWay<'a> {
    fn begin(edge: &'a Edge) -> Self {
        edge.metrics.requests_in_flight.inc();
        UnderWay {
            metrics: &edge.metrics,
            _token: edge.requests.token(),
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.metrics.requests_in_flight.dec();
    }
}

#[async_trait]
impl HttpServerApp for Edge {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        match self.read_header(&mut session).await {
            Arrival::Request => {}
            Arrival::Gone => return None,
            Arrival::Malformed => {
                self.answer_unread(&mut session, StatusCode::BAD_REQUEST, "the request is malformed")
                    .await;
                return None;
            }
            Arrival::Late => {
                let text = "the request's header did not arrive in time";
                self.answer_unread(&mut session, StatusCode::REQUEST_TIMEOUT, text)
                    .await;
                return None;
            }
        }
        self.prepare(&mut session, shutdown);
        match self.answer_request(&mut session).await {
            End::Whole => reuse(session).await,
            End::Broken => {
                self.break_off(session).await;
                None
            }
        }
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = default_h2_options();
        options.max_concurrent_streams(self.streams_max);
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

impl Edge {
    fn prepare(&self, session: &mut ServerSession, shutdown: &ShutdownWatch) {
        session.set_read_timeout(Some(self.read_deadline));
        // Every HTTP/1.1 request resets the idle time to infinite.
        if *shutdown.borrow() {
            session.set_keepalive(None);
        } else if session.get_keepalive().is_some() {
            session.set_keepalive(Some(self.keepalive_idle_secs));
        }
    }
}

impl Edge {
    /// What a client did not take in time is not waited for once more.
    async fn break_off(&self, mut session: ServerSession) {
        if let Some(flow) = session.stream().and_then(Flow::of) {
            flow.break_off();
        }
        // Dropping the session closes the connection all the same.
        let _late = tokio::time::timeout(self.write_deadline, session.shutdown()).await;
    }
}

async fn reuse(session: ServerSession) -> Option<ReusedHttpStream> {
    let settings = HttpPersistentSettings::for_session(&session);
    let stream = session.finish().await.ok().flatten()?;
    Some(ReusedHttpStream::from_reusable_stream(stream, settings))
}

/// Reads a header; `None` when it did not arrive within `deadline` of its first bytes. A connection may idle
/// between requests; that has its own limit.
async fn header_within(
    session: &mut ServerSession,
    deadline: Duration,
) -> Option<pingora_core::Result<bool>> {
    let flow = session.stream().and_then(Flow::of).cloned();
    let received = || flow.as_ref().map_or(0, |flow| flow.received());
    let before = received();
    let mut read = pin!(session.read_request());
    let begun = poll_fn(|context| match read.as_mut().poll(context) {
        Poll::Ready(arrived) => Poll::Ready(Some(arrived)),
        Poll::Pending if received() > before => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    match begun.await {
        Some(arrived) => Some(arrived),
        None => tokio::time::timeout(deadline, read).await.ok(),
    }
}

/// `header` is the session's, or a copy of it.
fn incoming<'a>(session: &ServerSession, header: &'a RequestHeader, received_at: Timestamp) -> Incoming<'a> {
    let tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
    Incoming {
        method: &header.method,
        version: header.version,
        target: header.raw_path(),
        authority: header.uri.authority().map(|authority| authority.as_str()),
        headers: &header.headers,
        scheme: if tls { Scheme::Https } else { Scheme::Http },
        client: client(session),
        received_at,
    }
}

fn asked<'a>(request: &Request<'a>) -> Asked<'a> {
    Asked {
        method: request.method,
        headers: request.headers,
    }
}

fn client(session: &ServerSession) -> Option<IpAddr> {
    session
        .client_addr()
        .and_then(|address| address.as_inet())
        .map(|address| address.ip())
}
