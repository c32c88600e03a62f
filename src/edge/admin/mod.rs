//! The admin listener: metrics, liveness and readiness for operators and their machines, and the API below `/api/v1/`.
//!
//! 1. pages that say what the process is like are anybody's who reaches the listener;
//! 2. below `/api/v1/` no browser's page is answered ([`who`]);
//! 3. orders of purges need a key, the rest a peer on this machine or a key of the scope `admin`;
//! 4. each place is one file here.
//!
//! Invariant: it answers whatever the edge is doing; a client that stands still, idle or not, is hung up on. Who stops the edge can
//! wait for the answers that are under way, to their last byte.

pub(in crate::edge) mod asked;
mod body;
pub(crate) mod cluster;
mod live;
mod pages;
mod query;
mod refusal;
pub(crate) mod reload;
mod stat;
mod warm;
mod who;

use super::access_log::{AccessLog, Follower};
use super::config;
use super::lifecycle::{Lifecycle, Phase};
use super::purging::Response;
use super::server::client;
use super::settings::InForce;
use crate::base::clock;
use crate::base::metrics::Metrics;
use crate::serve::Engine;
use crate::store::Store;
use asked::{Asked, Purpose, Written};
use async_trait::async_trait;
use bytes::Bytes;
pub(crate) use cluster::Nodes;
use http::{HeaderMap, Method, StatusCode, header};
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use pingora_http::ResponseHeader;
use refusal::Refusal;
use reload::Reload;
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use warm::Warming;
use who::{Visitor, check_page};

/// Where the API is.
const API: &str = "/api/v1/";

const READ: &str = "GET, HEAD, OPTIONS";
const STREAMED: &str = "GET, OPTIONS";
const POSTED: &str = "OPTIONS, POST";

pub(crate) struct Admin {
    config: config::Admin,
    metrics: Arc<Metrics>,
    store: Store,
    lifecycle: Arc<Lifecycle>,
    settings: InForce,
    engine: Arc<Engine>,
    log: Arc<AccessLog>,
    reload: Arc<dyn Reload>,
    nodes: Option<Nodes>,
    answers: TaskTracker,
    warming: Warming,
    started_at: Instant,
}

/// What the admin listener answers about.
pub(crate) struct Process {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) store: Store,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) settings: InForce,
    pub(crate) engine: Arc<Engine>,
    pub(crate) log: Arc<AccessLog>,
    pub(crate) reload: Arc<dyn Reload>,
    /// `None`: a node alone.
    pub(crate) nodes: Option<Nodes>,
    /// Every answer under way holds a token of it.
    pub(crate) answers: TaskTracker,
}

/// What is answered.
enum Answer {
    Whole(Response),
    /// For as long as both sides want it.
    Lines(Box<Follower>),
}

/// A place of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Stat,
    Top,
    Log,
    Explain,
    Warm,
    Reload,
    Cluster,
    Owner,
    Drain,
}

impl Place {
    fn of(path: &str) -> Option<Self> {
        match path.strip_prefix(API)? {
            "stat" => Some(Place::Stat),
            "top" => Some(Place::Top),
            "log" => Some(Place::Log),
            "explain" => Some(Place::Explain),
            "warm" => Some(Place::Warm),
            "reload" => Some(Place::Reload),
            "cluster" => Some(Place::Cluster),
            "cluster/owner" => Some(Place::Owner),
            "cluster/drain" => Some(Place::Drain),
            _ => None,
        }
    }

    /// Its methods.
    fn allows(self) -> &'static str {
        match self {
            Place::Stat | Place::Top | Place::Cluster | Place::Owner => READ,
            Place::Log => STREAMED,
            Place::Explain | Place::Warm | Place::Reload | Place::Drain => POSTED,
        }
    }
}

impl Admin {
    pub(crate) fn new(config: &config::Admin, process: Process) -> Self {
        let Process {
            metrics,
            store,
            lifecycle,
            settings,
            engine,
            log,
            reload,
            nodes,
            answers,
        } = process;
        Admin {
            warming: Warming::new(config),
            config: config.clone(),
            metrics,
            store,
            lifecycle,
            settings,
            engine,
            log,
            reload,
            nodes,
            answers,
            started_at: clock::monotonic(),
        }
    }

    async fn answer(&self, session: &mut ServerSession) -> Answer {
        let header = session.req_header();
        let path = header.uri.path();
        if !path.starts_with(API) {
            return Answer::Whole(self.page(header));
        }
        match self.answer_api(session).await {
            Ok(answer) => answer,
            Err(refusal) => Answer::Whole(refusal.into()),
        }
    }

    async fn answer_api(&self, session: &mut ServerSession) -> Result<Answer, Refusal> {
        check_page(&session.req_header().headers).map_err(Refusal::Denied)?;
        let orderer = self.settings.load().orderer.clone();
        if let Some(answer) = orderer.answer_api(session, self.config.deadline.get()).await {
            return Ok(Answer::Whole(answer));
        }
        let header = session.req_header();
        let visitor = Visitor {
            peer: client(session),
            headers: &header.headers,
            authority: header.uri.authority().map(|authority| authority.as_str()),
            credential: orderer.credential(&header.headers),
        };
        visitor.check()?;
        let place = Place::of(header.uri.path()).ok_or(Refusal::NoSuchPlace)?;
        if header.method == Method::OPTIONS {
            return Ok(Answer::Whole(Response::options(place.allows())));
        }
        let is_allowed = |method: &str| method == header.method.as_str();
        if !place.allows().split(", ").any(is_allowed) {
            return Err(Refusal::Method(place.allows()));
        }
        Box::pin(self.answer_place(session, place)).await
    }

    async fn answer_place(&self, session: &mut ServerSession, place: Place) -> Result<Answer, Refusal> {
        let query = session.req_header().uri.query();
        match place {
            Place::Stat => Ok(answered(&self.stat())),
            Place::Top => Ok(answered(&live::top(&self.log, query, self.config.top_max)?)),
            Place::Log => Ok(Answer::Lines(Box::new(live::follow(&self.log, query)?))),
            Place::Explain => {
                let asked = self.asked(session, Purpose::Explain).await?;
                let settings = self.settings.load_full();
                let request = asked.admit(&settings.guard)?;
                let explanation = self.engine.explain(&request).await;
                Ok(answered(&explanation.map_err(Refusal::Serve)?))
            }
            Place::Warm => {
                let asked = self.asked(session, Purpose::Warm).await?;
                if self.lifecycle.phase() == Phase::Draining {
                    return Err(Refusal::Stopping);
                }
                let settings = self.settings.load_full();
                let (guard, name) = (&settings.guard, &settings.manner.name);
                let warmed = self.warming.warm(&self.engine, guard, name, &asked).await?;
                Ok(answered(&warmed))
            }
            Place::Reload => {
                let report = self.reload.reload().await?;
                Ok(answered(&report))
            }
            Place::Cluster => Ok(answered(&self.cluster()?)),
            Place::Owner => Ok(answered(&self.owner(query, peer_of(session))?)),
            Place::Drain => {
                let (bytes_max, deadline) = (self.config.body_bytes_max.bytes(), self.config.deadline.get());
                let drain = body::read_or_default(session, bytes_max, deadline).await?;
                Ok(answered(&self.drain(&drain).await?))
            }
        }
    }

    /// The request that a body describes.
    async fn asked(&self, session: &mut ServerSession, purpose: Purpose) -> Result<Asked, Refusal> {
        let peer = peer_of(session);
        let (bytes_max, deadline) = (self.config.body_bytes_max.bytes(), self.config.deadline.get());
        let written: Written = body::read(session, bytes_max, deadline).await?;
        Ok(written.understand(purpose, peer, clock::now())?)
    }

    /// Sets the gauges.
    fn observe(&self) {
        self.store.observe();
        self.settings.load().orderer.observe();
    }
}

fn peer_of(session: &ServerSession) -> IpAddr {
    client(session).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

fn answered(body: &impl Serialize) -> Answer {
    Answer::Whole(Response::json(StatusCode::OK, body))
}

async fn send(session: &mut ServerSession, answer: Response) -> pingora_core::Result<()> {
    let body = if session.req_header().method == Method::HEAD {
        Bytes::new()
    } else {
        answer.body.clone()
    };
    let header = header_of(answer.status, &answer.headers, answer.body.len())?;
    session.write_response_header(header).await?;
    session.write_response_body(body, true).await
}

fn header_of(
    status: StatusCode,
    headers: &HeaderMap,
    length: usize,
) -> pingora_core::Result<Box<ResponseHeader>> {
    let mut response = ResponseHeader::build_no_case(status, Some(6))?;
    for (name, value) in headers {
        response.insert_header(name, value)?;
    }
    response.insert_header(header::CONTENT_LENGTH, length)?;
    Ok(Box::new(response))
}

#[async_trait]
impl HttpServerApp for Admin {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let deadline = self.config.deadline.get();
        let mut shutdown = shutdown.clone();
        let arrived = tokio::select! {
            biased;
            arrived = timeout(deadline, session.read_request()) => arrived.ok()?,
            _ = shutdown.wait_for(|stopping| *stopping) => return None,
        };
        if !arrived.ok()? {
            return None;
        }
        let _under_way = self.answers.token();
        match self.answer(&mut session).await {
            Answer::Whole(answer) => timeout(deadline, finish(session, answer)).await.ok().flatten(),
            Answer::Lines(lines) => {
                live::send(&mut session, *lines, deadline, &shutdown).await;
                None
            }
        }
    }
}

async fn finish(mut session: ServerSession, answer: Response) -> Option<ReusedHttpStream> {
    send(&mut session, answer).await.ok()?;
    let settings = HttpPersistentSettings::for_session(&session);
    let stream = session.finish().await.ok().flatten()?;
    Some(ReusedHttpStream::from_reusable_stream(stream, settings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::Span;
    use crate::edge::listen::{Listener, bind, serve};
    use crate::edge::purging::tests::world;
    use crate::edge::settings::Settings;
    use crate::purge::Purges;
    use crate::serve::route::Routes;
    use crate::serve::variants::Watermarks;
    use arc_swap::ArcSwap;
    use std::collections::HashMap;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::watch;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Of an edge without routes.
    async fn admin(config: config::Admin) -> Admin {
        let metrics = Arc::new(Metrics::new());
        let purges = Purges::open(&Default::default(), None, "test", metrics.clone()).await;
        let purges = purges.unwrap();
        let store = Store::open(&Default::default(), purges.incarnation(), metrics.clone()).await;
        let store = store.unwrap();
        let serve = crate::serve::config::Config::default();
        let watermarks = Watermarks::open(&serve.watermarks, &serve.transform.limits).unwrap();
        let routes = Routes::compile(&[], &HashMap::new(), &HashMap::new(), &metrics).unwrap();
        let engine = Engine::new(
            &serve,
            routes,
            store.clone(),
            purges,
            &watermarks,
            "test",
            metrics.clone(),
        );
        let settings = Settings::new(&Default::default(), Arc::new(world().orderer));
        let log = AccessLog::open(&Default::default(), metrics.clone()).unwrap();
        let process = Process {
            settings: Arc::new(ArcSwap::from_pointee(settings)),
            engine: Arc::new(engine),
            metrics,
            store,
            lifecycle: Arc::default(),
            log: Arc::new(log),
            reload: Arc::new(reload::tests::NoReload),
            nodes: None,
            answers: TaskTracker::new(),
        };
        Admin::new(&config, process)
    }

    async fn with_deadline(deadline: Duration) -> Admin {
        admin(config::Admin {
            deadline: Span(deadline),
            ..config::Admin::default()
        })
        .await
    }

    /// Sends `request` and reads until the admin listener hangs up.
    async fn read_to_end(admin: Admin, request: &str) -> String {
        let listener = Listener::clear(bind(([127, 0, 0, 1], 0).into()).unwrap()).unwrap();
        let address = listener.address;
        let stop = watch::Sender::new(false);
        let serving = tokio::spawn(serve(admin, listener, stop.subscribe()));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = timeout(PATIENCE, client.read_to_string(&mut answer)).await;
        read.expect("it hangs up").unwrap();
        stop.send_replace(true);
        serving.await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_client_that_stands_still_is_hung_up_on() {
        // Two of them are answered first, which has to happen within it; that they are made need not.
        let deadline = Duration::from_secs(2);
        let first = with_deadline(deadline).await;
        let second = with_deadline(deadline).await;
        let third = with_deadline(deadline).await;
        let fourth = with_deadline(deadline).await;
        let (silent, broken_off, idle, upload) = tokio::join!(
            read_to_end(first, ""),
            read_to_end(second, "GET /livez HTTP/1.1\r\nHost: "),
            read_to_end(third, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"),
            read_to_end(
                fourth,
                "GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1"
            ),
        );
        assert_eq!((silent.as_str(), broken_off.as_str()), ("", ""));
        assert!(idle.starts_with("HTTP/1.1 200 "), "{idle}");
        assert!(upload.starts_with("HTTP/1.1 200 "), "{upload}");
    }

    #[tokio::test]
    async fn a_method_that_is_not_allowed_is_told_which_are() {
        let request = "POST /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        let answer = read_to_end(with_deadline(PATIENCE).await, request)
            .await
            .to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 405 "), "{answer}");
        assert!(answer.contains("\r\nallow: get, head\r\n"), "{answer}");
    }
}
