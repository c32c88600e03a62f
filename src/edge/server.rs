//! The edge listener: one request after the other, from a session's header to its answer.
//!
//! Invariant: every request is answered, counted and logged exactly once, or its connection is closed. The
//! whole header has to arrive under one deadline. Knows nothing of caching: it asks the engine.

use super::access_log::AccessLog;
use super::config::Config;
use super::connection::Flow;
use super::ended::Ended;
use super::guard::{Incoming, Refusal, expects_continue};
use super::interim;
use super::purging::{self, Entrance};
use super::request_body::SessionBody;
use super::request_id::request_id;
use super::respond::{Asked, Facts, Payload, Reply};
use super::send::{End, send};
use super::settings::{InForce, Settings};
use crate::base::clock::{self, Timestamp};
use crate::base::metrics::{Metrics, Outcome, Rejection};
use crate::http::hop::X_REQUEST_ID;
use crate::key::Scheme;
use crate::serve::route::Route;
use crate::serve::{Answer, AskedBy, Engine, Pass, Request};
use crate::trace::{Stage, Trace, Tracer, attribute};
use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
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

/// How a request is answered that never became one.
type Unread = (StatusCode, &'static str);

const MALFORMED: Unread = (StatusCode::BAD_REQUEST, "the request is malformed");
const LATE: Unread = (
    StatusCode::REQUEST_TIMEOUT,
    "the request's header did not arrive in time",
);

/// The HTTP server that browsers and apps talk to.
pub(crate) struct Edge {
    engine: Arc<Engine>,
    settings: InForce,
    options: HttpServerOptions,
    streams_max: u32,
    pub(super) log: Arc<AccessLog>,
    pub(super) metrics: Arc<Metrics>,
    tracer: Tracer,
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
        settings: InForce,
        log: Arc<AccessLog>,
        metrics: Arc<Metrics>,
        tracer: Tracer,
        requests: TaskTracker,
    ) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        // The limit counts the reuses after a connection's first request.
        options.keepalive_request_limit = Some(config.keepalive_requests - 1);
        options.h2_idle_timeout = Some(config.keepalive_idle.get());
        Edge {
            engine,
            settings,
            options,
            streams_max: config.http2_streams_max,
            log,
            metrics,
            tracer,
            requests,
        }
    }

    async fn read_header(&self, session: &mut ServerSession) -> Arrival {
        let (idle_secs, deadline) = {
            let settings = self.settings.load();
            (settings.keepalive_idle_secs, settings.header_deadline)
        };
        if session.get_keepalive().is_some() {
            session.set_keepalive(Some(idle_secs));
        }
        session.set_pipelining_enabled(true);
        match header_within(session, deadline).await {
            Some(Ok(true)) => Arrival::Request,
            Some(Ok(false)) => Arrival::Gone,
            Some(Err(error)) if matches!(error.etype(), pingora_core::ErrorType::InvalidHTTPHeader) => {
                Arrival::Malformed
            }
            Some(Err(_)) => Arrival::Gone,
            None => Arrival::Late,
        }
    }

    /// Answers a request that never became one, where the client may still listen.
    async fn answer_unread(&self, session: &mut ServerSession, reason: Rejection, (status, text): Unread) {
        let settings = self.settings.load_full();
        let mut reply = settings.manner.reject(status, reason, text.to_owned());
        let id = request_id(&HeaderMap::new());
        reply.headers.insert(X_REQUEST_ID, id.clone());
        session.set_keepalive(None);
        let sent = send(session, reply, settings.write_deadline).await;
        let ended = Ended {
            received_at: clock::now(),
            id,
            outcome: Outcome::Refused,
            status,
            bytes: sent.bytes,
            first_byte: None,
            duration: None,
            trace_id: None,
            facts: Facts::rejected(reason),
        };
        self.count(&ended);
        self.log_unread(session, &ended);
    }

    async fn answer_request(&self, session: &mut ServerSession, settings: &Settings) -> End {
        let _under_way = UnderWay::begin(self);
        let started = clock::monotonic();
        let received_at = clock::now();
        let root = self.tracer.begin(&session.req_header().headers);
        let answering = Answering {
            edge: self,
            settings,
            id: request_id(&session.req_header().headers),
            trace: root.trace(),
        };
        let mut reply = answering.answer(session, received_at).await;
        reply.headers.insert(X_REQUEST_ID, answering.id.clone());
        if session.req_header().method == Method::HEAD {
            reply.payload = Payload::None;
        }
        let (outcome, status) = (reply.outcome, reply.status);
        let facts = std::mem::take(&mut reply.facts);
        let mut sending = answering.trace.stage(Stage::Send);
        let sent = send(session, reply, settings.write_deadline).await;
        sending.number(attribute::BODY_BYTES, sent.bytes);
        if sent.end == End::Broken {
            sending.fail("the answer broke off");
        }
        drop(sending);
        let duration = clock::monotonic() - started;
        let ended = Ended {
            received_at,
            id: answering.id,
            outcome,
            status,
            bytes: sent.bytes,
            first_byte: sent.header_at.map(|at| at - started),
            duration: Some(duration),
            facts,
            trace_id: root.trace_id(),
        };
        self.tell(session, &ended);
        if let Some(trace) = ended.trace_id {
            let seconds = duration.as_secs_f64();
            self.metrics
                .exemplar(outcome, seconds, *trace.as_bytes(), clock::now());
            ended.tell_trace(session, root);
        }
        sent.end
    }
}

/// One request being answered, under the settings that were in force when its header had come.
struct Answering<'a> {
    edge: &'a Edge,
    settings: &'a Settings,
    id: HeaderValue,
    trace: Trace,
}

impl Answering<'_> {
    async fn answer(&self, session: &mut ServerSession, received_at: Timestamp) -> Reply {
        let incoming = self.incoming(session, session.req_header(), received_at);
        let request = match self.settings.guard.admit(&incoming) {
            Ok(request) => request,
            Err(refusal) => return self.refuse(refusal),
        };
        if let Some(entrance) = purging::entrance(&request) {
            return Box::pin(self.answer_order(session, entrance)).await;
        }
        match self.edge.engine.serve_at_once(&request) {
            Ok(Some(served)) => self.settings.manner.reply(&asked(&request), served),
            // Boxed, so that a hit does not carry the size of everything else.
            Ok(None) => Box::pin(self.answer_in_time(session, received_at)).await,
            Err(error) => self.settings.manner.refuse(&error),
        }
    }

    /// An order of a purge goes no further.
    async fn answer_order(&self, session: &mut ServerSession, entrance: Entrance) -> Reply {
        self.settings
            .orderer
            .answer_edge(
                session,
                entrance,
                &self.settings.manner,
                self.settings.write_deadline,
                &self.trace,
            )
            .await
    }

    /// The engine may take long, and have something to say meanwhile.
    async fn answer_in_time(&self, session: &mut ServerSession, received_at: Timestamp) -> Reply {
        // A copy, because the session is written to while the engine reads the request.
        let mut header = session.req_header().clone();
        if !expects_continue(header.version, &header.headers) {
            header.remove_header(&header::EXPECT);
        }
        let incoming = self.incoming(session, &header, received_at);
        let request = match self.settings.guard.admit(&incoming) {
            Ok(request) => request,
            Err(refusal) => return self.refuse(refusal),
        };
        let (hints, mut hinted) = interim::channel();
        let serving = self.edge.engine.serve(&request, &hints);
        let answer = interim::passing_on(session, &mut hinted, self.settings.write_deadline, serving).await;
        match answer {
            Ok(Answer::Served(served)) => self.settings.manner.reply(&asked(&request), served),
            Ok(Answer::Pass(pass)) => self.pass(session, pass).await,
            Err(error) => self.settings.manner.refuse(&error),
        }
    }

    /// `header` is the session's, or a copy of it.
    fn incoming<'b>(
        &'b self,
        session: &ServerSession,
        header: &'b RequestHeader,
        received_at: Timestamp,
    ) -> Incoming<'b> {
        let tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
        Incoming {
            method: &header.method,
            version: header.version,
            target: header.raw_path(),
            authority: header.uri.authority().map(|authority| authority.as_str()),
            headers: &header.headers,
            scheme: if tls { Scheme::Https } else { Scheme::Http },
            client: client(session),
            id: &self.id,
            trace: &self.trace,
            received_at,
            asked_by: AskedBy::Client,
        }
    }

    fn refuse(&self, refusal: Refusal) -> Reply {
        if refusal == Refusal::OwnOptions {
            return self.settings.manner.own_options();
        }
        self.settings
            .manner
            .reject(refusal.status(), refusal.rejection(), refusal.to_string())
    }

    /// Sends the request on with its body, within the limit.
    async fn pass(&self, session: &mut ServerSession, pass: Pass) -> Reply {
        let route = pass.route.clone();
        let mut body = SessionBody::new(
            session,
            self.settings.body_bytes_max,
            self.settings.write_deadline,
        )
        .counted_for(route.metrics.clone());
        if body.declares_too_much() {
            return self.body_too_large(route);
        }
        let passed = self.edge.engine.pass(pass, &mut body).await;
        if body.exceeded() {
            return self.body_too_large(route);
        }
        let header = session.req_header();
        match passed {
            Ok(served) => self.settings.manner.reply(
                &Asked {
                    method: &header.method,
                    headers: &header.headers,
                },
                served,
            ),
            Err(error) => self.settings.manner.refuse(&error),
        }
    }

    fn body_too_large(&self, route: Arc<Route>) -> Reply {
        let text = "the request's body is larger than this edge accepts".to_owned();
        let manner = &self.settings.manner;
        let mut reply = manner.reject(StatusCode::PAYLOAD_TOO_LARGE, Rejection::BodyTooLarge, text);
        reply.facts.route = Some(route);
        reply
    }
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
                self.answer_unread(&mut session, Rejection::Malformed, MALFORMED)
                    .await;
                return None;
            }
            Arrival::Late => {
                self.answer_unread(&mut session, Rejection::LateHeader, LATE)
                    .await;
                return None;
            }
        }
        let settings = self.settings.load_full();
        prepare(&mut session, shutdown, &settings);
        match self.answer_request(&mut session, &settings).await {
            End::Whole => reuse(session).await,
            End::Broken => {
                break_off(session, settings.write_deadline).await;
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

fn prepare(session: &mut ServerSession, shutdown: &ShutdownWatch, settings: &Settings) {
    session.set_read_timeout(Some(settings.read_deadline));
    // Every HTTP/1.1 request resets the idle time to infinite.
    if *shutdown.borrow() {
        session.set_keepalive(None);
    } else if session.get_keepalive().is_some() {
        session.set_keepalive(Some(settings.keepalive_idle_secs));
    }
}

/// What a client did not take in time is not waited for once more.
async fn break_off(mut session: ServerSession, deadline: Duration) {
    if let Some(flow) = session.stream().and_then(Flow::of) {
        flow.break_off();
    }
    // Dropping the session closes the connection all the same.
    let _late = tokio::time::timeout(deadline, session.shutdown()).await;
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

fn asked<'a>(request: &Request<'a>) -> Asked<'a> {
    Asked {
        method: request.method,
        headers: request.headers,
    }
}

pub(super) fn client(session: &ServerSession) -> Option<IpAddr> {
    session
        .client_addr()
        .and_then(|address| address.as_inet())
        .map(|address| address.ip())
}
