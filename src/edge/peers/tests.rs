//! The cluster listener on loopback, and the client that nodes ask each other with: real engines over origins that a test scripts.

use super::*;
use crate::base::epoch::{Incarnation, PurgeIndex};
use crate::base::metrics::{PurgeWay, QuestionErrand, QuestionResult};
use crate::base::secret::Secret;
use crate::base::units::Span;
use crate::cluster::identity::anonymous;
use crate::cluster::member::{Generation, Member, NodeId, State};
use crate::cluster::peers::{PeerBody, PeerError, Peers};
use crate::cluster::question::{self, Errand, Failure, Fields, LogPosition, Refusal};
use crate::edge::purging::Orderer;
use crate::edge::settings::Settings;
use crate::key::KeyName;
use crate::purge::Purges;
use crate::purge::order::{Minimum, Mode, Order};
use crate::scope::{Scope, Tags};
use crate::serve::route::Routes;
use crate::serve::variants::Watermarks;
use crate::store::Store;
use crate::upstream::Origin;
use arc_swap::ArcSwap;
use http::{HeaderMap, Method, StatusCode, header};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &str = "aqc_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const ANOTHER: &str = "aqc_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA";
const BODY: &[u8] = b"0123456789";
const LARGE_BYTES: u64 = 96 << 20;
/// May be stored; more than a few of them together are more than a system's buffers hold.
const PICTURE_BYTES: usize = 4 << 20;

/// Answers by path; what is slow waits until it is let go.
struct Scripted {
    address: SocketAddr,
    seen: watch::Sender<Vec<String>>,
    let_go: watch::Sender<bool>,
    /// Of the large body.
    written: Arc<AtomicU64>,
}

impl Scripted {
    async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = Arc::new(Scripted {
            address: listener.local_addr().unwrap(),
            seen: watch::Sender::new(Vec::new()),
            let_go: watch::Sender::new(false),
            written: Arc::default(),
        });
        let serving = origin.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let origin = serving.clone();
                tokio::spawn(async move { origin.answer(stream).await });
            }
        });
        origin
    }

    /// One request for each connection.
    async fn answer(&self, stream: TcpStream) -> Option<()> {
        let mut stream = BufReader::new(stream);
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            stream
                .read_line(&mut request)
                .await
                .ok()
                .filter(|read| *read > 0)?;
        }
        self.seen.send_modify(|seen| seen.push(request.clone()));
        let path = request.split(' ').nth(1)?.to_owned();
        let is_head = request.starts_with("HEAD");
        let say = async |stream: &mut BufReader<TcpStream>, header: &str, body: &[u8]| {
            let header = format!("HTTP/1.1 {header}\r\nConnection: close\r\n\r\n");
            stream.write_all(header.as_bytes()).await.ok()?;
            match is_head {
                true => Some(()),
                false => stream.write_all(body).await.ok(),
            }
        };
        match path.as_str() {
            "/slow" => {
                self.let_go.subscribe().wait_for(|gone| *gone).await.ok()?;
                say(&mut stream, "200 OK\r\nContent-Length: 10", BODY).await
            }
            "/cut" => say(&mut stream, "200 OK\r\nContent-Length: 100", BODY).await,
            "/stalls" => {
                say(
                    &mut stream,
                    "200 OK\r\nContent-Length: 100\r\nCache-Control: no-store",
                    BODY,
                )
                .await?;
                self.let_go.subscribe().wait_for(|gone| *gone).await.ok()?;
                Some(())
            }
            "/large" => {
                let header = format!("200 OK\r\nContent-Length: {LARGE_BYTES}\r\nCache-Control: no-store");
                say(&mut stream, &header, &[]).await?;
                let chunk = vec![7; 64 << 10];
                for _ in 0..LARGE_BYTES / chunk.len() as u64 {
                    stream.write_all(&chunk).await.ok()?;
                    self.written.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                }
                stream.flush().await.ok()
            }
            path if path.starts_with("/picture") => {
                let header =
                    format!("200 OK\r\nContent-Length: {PICTURE_BYTES}\r\nCache-Control: max-age=60");
                say(&mut stream, &header, &vec![7; PICTURE_BYTES]).await
            }
            "/unframed" => say(&mut stream, "200 OK\r\nCache-Control: max-age=60", BODY).await,
            "/error" => say(&mut stream, "hello", &[]).await,
            "/private" => {
                let header = "200 OK\r\nContent-Length: 10\r\nSet-Cookie: a=b\r\nCache-Control: private";
                say(&mut stream, header, BODY).await
            }
            _ => {
                let header = "200 OK\r\nContent-Length: 10\r\nCache-Control: max-age=60\r\nAge: 7\r\n\
                    ETag: \"x\"\r\nContent-Type: image/png\r\nSurrogate-Key: sale\r\nAquatint-Failure: forged";
                say(&mut stream, header, BODY).await
            }
        }
    }

    fn requests(&self) -> usize {
        self.seen.borrow().len()
    }
}

/// A node that answers, and one that asks.
struct World {
    origin: Arc<Scripted>,
    engine: Arc<Engine>,
    purges: Purges,
    lifecycle: Arc<Lifecycle>,
    requests: TaskTracker,
    metrics: Arc<Metrics>,
    member: Member,
    peers: Peers,
    asker: Arc<Metrics>,
    stop: watch::Sender<bool>,
}

fn config(secret: &str) -> Config {
    Config {
        secret: Some(Secret::new(secret.into())),
        first_byte_deadline: Span::secs(30),
        read_deadline: Span::secs(30),
        connect_deadline: Span::secs(30),
        ..Config::default()
    }
}

fn identity(secret: &str) -> Identity {
    Identity::open(&config(secret), &NodeId::new("node")).unwrap()
}

fn member(address: SocketAddr) -> Member {
    Member {
        id: NodeId::new("answers"),
        generation: Generation(1),
        address,
        zone: "".into(),
        pool: "default".into(),
        weight: 100,
        roles: Default::default(),
        state: State::Up,
        load: 0,
        version: "".into(),
    }
}

async fn world() -> World {
    world_with(|_| {}).await
}

/// `change` is for the one that asks.
async fn world_with(change: impl FnOnce(&mut Config)) -> World {
    let origin = Scripted::start().await;
    let metrics = Arc::new(Metrics::new());
    let purge = crate::purge::config::Config {
        minimum_patience: Span::millis(1),
        ..Default::default()
    };
    let purges = Purges::open(&purge, None, "answers", metrics.clone()).await;
    let purges = purges.unwrap();
    let engine = engine(&origin, &purges, &metrics).await;
    let edge = crate::edge::config::Config::default();
    let orderer = Orderer::new(&purge, purges.clone(), engine.clone(), metrics.clone());
    let settings = Settings::new(&edge, Arc::new(orderer));
    let (lifecycle, requests) = (Arc::<Lifecycle>::default(), TaskTracker::new());
    let process = Process {
        engine: engine.clone(),
        purges: purges.clone(),
        settings: Arc::new(ArcSwap::from_pointee(settings)),
        lifecycle: lifecycle.clone(),
        metrics: metrics.clone(),
        tracer: Tracer::open(&Default::default(), metrics.clone()).unwrap(),
        requests: requests.clone(),
    };
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let member = member(socket.local_addr().unwrap());
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(PeerServer::new(&config(SECRET), &identity(SECRET), process).serve(socket, stopped));
    let mut asking = config(SECRET);
    change(&mut asking);
    let asker = Arc::new(Metrics::new());
    World {
        peers: Peers::new(&asking, &identity(SECRET), asker.clone()),
        origin,
        engine,
        purges,
        lifecycle,
        requests,
        metrics,
        member,
        asker,
        stop,
    }
}

async fn engine(origin: &Scripted, purges: &Purges, metrics: &Arc<Metrics>) -> Arc<Engine> {
    let serve = crate::serve::config::Config::default();
    let upstream = crate::upstream::config::Config {
        url: Some(format!("http://{}", origin.address)),
        retries: 0,
        ..Default::default()
    };
    let opened = Origin::open("origin", &upstream, metrics).unwrap();
    let origins = HashMap::from([("origin".to_owned(), Arc::new(opened))]);
    let mut route = crate::serve::config::Route {
        host: "shop.example".into(),
        path: "/".into(),
        origin: "origin".into(),
        content_types: vec!["*".into()],
        ..Default::default()
    };
    route.ttl.browser = Some(Span::secs(5));
    let watermarks = Watermarks::open(&serve.watermarks, &serve.transform.limits).unwrap();
    let routes = Routes::compile(&[route], &origins, &HashMap::new(), metrics).unwrap();
    let store = Store::open(&Default::default(), purges.incarnation(), metrics.clone()).await;
    let (store, purges) = (store.unwrap(), purges.clone());
    let name = "answers";
    let engine = Engine::new(&serve, routes, store, purges, &watermarks, name, metrics.clone());
    Arc::new(engine)
}

impl World {
    fn question(&self, errand: Errand, path: &str) -> Request<()> {
        self.question_of(errand, path, self.engine.log_position())
    }

    fn question_of(&self, errand: Errand, path: &str, position: LogPosition) -> Request<()> {
        let url = format!("https://shop.example{path}");
        let mut question = Request::get(&url).body(()).unwrap();
        let fields = Fields {
            errand,
            position,
            client: [192, 0, 2, 7].into(),
            key: KeyName::of(&url),
        };
        fields.write(question.headers_mut());
        question
    }

    async fn ask(&self, question: Request<()>) -> Result<Response<PeerBody>, PeerError> {
        let asked = self.peers.ask(&self.member, question);
        timeout(PATIENCE, asked).await.expect("there is a deadline")
    }

    async fn answer(&self, question: Request<()>) -> (http::response::Parts, Vec<u8>) {
        let (parts, mut body) = self.ask(question).await.unwrap().into_parts();
        (parts, whole(&mut body).await.unwrap())
    }

    async fn refusal(&self, question: Request<()>) -> Refusal {
        match self.ask(question).await {
            Err(PeerError::Refused(refusal)) => refusal,
            Err(error) => panic!("{error}"),
            Ok(answer) => panic!("{}", answer.status()),
        }
    }

    fn questions(&self, errand: QuestionErrand, result: QuestionResult) -> u64 {
        self.asker.cluster_questions[(errand, result)].get()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

async fn whole(body: &mut PeerBody) -> Result<Vec<u8>, PeerError> {
    let mut bytes = Vec::new();
    while let Some(more) = timeout(PATIENCE, body.next())
        .await
        .expect("there is a deadline")?
    {
        bytes.extend_from_slice(&more);
    }
    Ok(bytes)
}

async fn until(condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, met).await.expect("the condition comes true");
}

#[tokio::test]
async fn a_relay_is_answered_as_a_client_is_and_signed_by_who_passes_it_on() {
    let world = world().await;
    let (parts, body) = world.answer(world.question(Errand::Relay, "/a.png?x=1")).await;
    assert_eq!((parts.status, &body[..]), (StatusCode::OK, BODY));
    assert_eq!(parts.headers[header::CONTENT_LENGTH], "10");
    assert!(parts.headers.contains_key("cache-status"));
    assert_eq!(parts.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert!(!parts.headers.contains_key(header::VIA));
    assert!(
        parts.headers[header::CACHE_CONTROL]
            .to_str()
            .unwrap()
            .contains("max-age")
    );
    for name in [question::STAMP, question::AGE, question::FAILURE] {
        assert!(!parts.headers.contains_key(&name), "{name}");
    }
    let seen = world.origin.seen.borrow()[0].to_ascii_lowercase();
    assert!(seen.starts_with("get /a.png?x=1 http/1.1\r\n"), "{seen}");
    assert!(seen.contains("x-forwarded-for: 192.0.2.7\r\n"), "{seen}");
    assert!(seen.contains("x-forwarded-proto: https\r\n"), "{seen}");
    assert!(!seen.contains("aquatint-"), "nodes alone say that: {seen}");
    assert!(!seen.contains("user-agent"), "none was sent: {seen}");
}

#[tokio::test]
async fn a_fill_is_answered_as_an_origin_does_with_its_stamp_and_age() {
    let world = world().await;
    for requests in [1, 1] {
        let (parts, body) = world.answer(world.question(Errand::Fill, "/a.png")).await;
        assert_eq!((parts.status, &body[..]), (StatusCode::OK, BODY));
        assert_eq!(parts.headers[header::CACHE_CONTROL], "max-age=60");
        assert_eq!(parts.headers[header::ETAG], "\"x\"");
        for name in [
            "cache-status",
            "via",
            "x-content-type-options",
            "aquatint-failure",
            "surrogate-key",
        ] {
            assert!(!parts.headers.contains_key(name), "{name}");
        }
        let stamp = question::stamp(&parts.headers).unwrap();
        assert_eq!(stamp.epoch, world.purges.epoch());
        assert_eq!(stamp.tags, Tags::from_names(vec![Scope::tag("sale").name()]));
        let age = question::age(&parts.headers).unwrap();
        assert!(age >= Duration::from_secs(7), "{age:?}");
        let seconds: u64 = parts.headers[header::AGE].to_str().unwrap().parse().unwrap();
        assert!(Duration::from_secs(seconds) >= age, "{seconds} {age:?}");
        assert_eq!(world.origin.requests(), requests);
    }
    assert_eq!(world.questions(QuestionErrand::Fill, QuestionResult::Answered), 2);
    assert_eq!(world.metrics.cluster_answers[QuestionErrand::Fill].get(), 2);
    assert_eq!(world.metrics.requests_in_flight.get(), 0);
}

#[tokio::test]
async fn what_is_older_than_a_purge_has_told_is_said_to_be_with_its_stamp() {
    let world = world().await;
    let too_old = |parts: &http::response::Parts| parts.headers.get("aquatint-too-old").cloned();
    let (parts, _) = world.answer(world.question(Errand::Fill, "/b.png")).await;
    assert_eq!(too_old(&parts), None);
    let minimum = Minimum::EntityTag("\"y\"".into());
    let told = order(Scope::exact("shop.example", "/a.png"), Some(minimum));
    world.purges.submit(told).await.unwrap();
    for requests in [2, 3] {
        let (parts, body) = world.answer(world.question(Errand::Fill, "/a.png")).await;
        assert_eq!((parts.status, &body[..]), (StatusCode::OK, BODY));
        assert_eq!(too_old(&parts), Some("1".parse().unwrap()));
        let stamp = question::stamp(&parts.headers).unwrap();
        assert_eq!(stamp.epoch, world.purges.epoch());
        assert_eq!(world.origin.requests(), requests, "it was stored");
    }
    let (parts, _) = world.answer(world.question(Errand::Relay, "/a.png")).await;
    assert_eq!(too_old(&parts), None, "a client hears nothing of it");
}

#[tokio::test]
async fn conditions_ranges_and_head_are_answered_to_nodes_too() {
    let world = world().await;
    world.answer(world.question(Errand::Fill, "/a.png")).await;
    for errand in [Errand::Relay, Errand::Fill] {
        let mut head = world.question(errand, "/a.png");
        *head.method_mut() = Method::HEAD;
        let (parts, body) = world.answer(head).await;
        assert_eq!((parts.status, body.len()), (StatusCode::OK, 0));
        assert_eq!(parts.headers[header::CONTENT_LENGTH], "10");

        let mut conditional = world.question(errand, "/a.png");
        conditional
            .headers_mut()
            .insert(header::IF_NONE_MATCH, "\"x\"".parse().unwrap());
        let (parts, body) = world.answer(conditional).await;
        assert_eq!((parts.status, body.len()), (StatusCode::NOT_MODIFIED, 0));
        assert_eq!(
            parts.headers.contains_key(question::STAMP),
            errand == Errand::Fill
        );

        let mut range = world.question(errand, "/a.png");
        range
            .headers_mut()
            .insert(header::RANGE, "bytes=2-4".parse().unwrap());
        let (parts, body) = world.answer(range).await;
        assert_eq!(
            (parts.status, &body[..]),
            (StatusCode::PARTIAL_CONTENT, &b"234"[..])
        );
        assert_eq!(parts.headers[header::CONTENT_RANGE], "bytes 2-4/10");

        let mut ranges = world.question(errand, "/a.png");
        ranges
            .headers_mut()
            .insert(header::RANGE, "bytes=0-1,8-9".parse().unwrap());
        let (parts, body) = world.answer(ranges).await;
        assert_eq!(parts.status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(parts.headers[header::CONTENT_LENGTH], body.len().to_string());
    }
    assert_eq!(world.origin.requests(), 1);
}

#[tokio::test]
async fn what_is_one_clients_alone_goes_to_the_one_who_asked() {
    let world = world().await;
    let (parts, body) = world.answer(world.question(Errand::Fill, "/private")).await;
    assert_eq!(
        (&body[..], &parts.headers[header::SET_COOKIE]),
        (BODY, &"a=b".parse().unwrap())
    );
}

#[tokio::test]
async fn that_only_a_close_tells_where_a_body_ends_is_told_who_asks_in_the_origins_place() {
    let world = world().await;
    let (parts, body) = world.answer(world.question(Errand::Fill, "/unframed")).await;
    assert_eq!((&body[..], question::is_unframed(&parts.headers)), (BODY, true));
    let (parts, _) = world.answer(world.question(Errand::Fill, "/a.png")).await;
    assert!(!question::is_unframed(&parts.headers));
}

#[tokio::test]
async fn an_origins_failure_is_told_apart_from_the_nodes() {
    let world = world().await;
    for errand in [Errand::Relay, Errand::Fill] {
        let (parts, _) = world.answer(world.question(errand, "/error")).await;
        assert_eq!(parts.status, StatusCode::BAD_GATEWAY);
        assert_eq!(Failure::of(&parts.headers), Some(Failure::Unusable));
    }
    let mut unroutable = world.question(Errand::Fill, "/a.png");
    *unroutable.uri_mut() = "https://elsewhere.example/a.png".parse().unwrap();
    assert_eq!(world.refusal(unroutable.clone()).await, Refusal::Unroutable);
    Fields {
        errand: Errand::Relay,
        ..Fields::read(unroutable.headers()).unwrap()
    }
    .write(unroutable.headers_mut());
    let (parts, _) = world.answer(unroutable).await;
    assert_eq!(
        (parts.status, Failure::of(&parts.headers)),
        (StatusCode::NOT_FOUND, None)
    );
}

#[tokio::test]
async fn a_node_that_does_not_know_what_the_other_knows_refuses() {
    let world = world_with(|_| {}).await;
    let own = world.engine.log_position();
    let foreign = LogPosition {
        incarnation: Incarnation::from_bytes([1; 16]),
        ..own
    };
    let question = world.question_of(Errand::Fill, "/a.png", foreign);
    assert_eq!(world.refusal(question).await, Refusal::Incarnation);
    let ahead = LogPosition {
        applied: PurgeIndex::from_number(own.applied.number() + 1),
        ..own
    };
    let question = world.question_of(Errand::Relay, "/a.png", ahead);
    assert_eq!(world.refusal(question).await, Refusal::Behind);
    assert_eq!(world.origin.requests(), 0);
    assert_eq!(world.questions(QuestionErrand::Relay, QuestionResult::Refused), 1);
}

#[tokio::test]
async fn a_node_that_drains_or_has_retired_refuses() {
    let world = world().await;
    world.engine.retire();
    let question = world.question(Errand::Relay, "/a.png");
    assert_eq!(world.refusal(question).await, Refusal::Leaving);
    let world = self::world().await;
    world.lifecycle.drain();
    let question = world.question(Errand::Relay, "/a.png");
    assert_eq!(world.refusal(question).await, Refusal::Leaving);
}

#[tokio::test]
async fn what_is_no_question_for_an_image_is_refused() {
    let world = world().await;
    let mut posted = world.question(Errand::Relay, "/a.png");
    *posted.method_mut() = Method::POST;
    assert_eq!(world.refusal(posted).await, Refusal::Malformed);
    let mut unknown = world.question(Errand::Relay, "/a.png");
    unknown.headers_mut().insert(question::PROTOCOL, 7.into());
    assert_eq!(world.refusal(unknown).await, Refusal::Protocol);
    let mut misdirected = world.question(Errand::Relay, "/a.png");
    *misdirected.uri_mut() = "https://shop.example/b.png".parse().unwrap();
    assert_eq!(world.refusal(misdirected).await, Refusal::Unroutable);
    let unsaid = Request::get("https://shop.example/a.png").body(()).unwrap();
    assert_eq!(world.refusal(unsaid).await, Refusal::Malformed);
}

#[tokio::test]
async fn another_secret_leads_nowhere_from_either_side() {
    let world = world().await;
    let stranger = Peers::new(&config(ANOTHER), &identity(ANOTHER), world.asker.clone());
    let asked = stranger.ask(&world.member, world.question(Errand::Relay, "/a.png"));
    let error = asked.await.map(|answer| answer.status()).unwrap_err();
    assert!(matches!(error, PeerError::Unreachable(_)), "{error}");
    until(|| world.metrics.cluster_handshakes_failed.get() >= 1).await;
    assert_eq!(
        world.questions(QuestionErrand::Relay, QuestionResult::Unreachable),
        1
    );
}

#[tokio::test]
async fn who_shows_no_certificate_is_not_heard() {
    let world = world().await;
    let connector = tokio_rustls::TlsConnector::from(anonymous(&config(SECRET)));
    let stream = TcpStream::connect(world.member.address).await.unwrap();
    let connected = connector.connect(identity(SECRET).server_name(), stream).await;
    if let Ok(mut tls) = connected {
        let mut heard = Vec::new();
        let read = timeout(PATIENCE, tls.read_to_end(&mut heard)).await.unwrap();
        assert!(read.is_err() || heard.is_empty(), "{heard:?}");
    }
    until(|| world.metrics.cluster_handshakes_failed.get() == 1).await;
}

#[tokio::test]
async fn strangers_who_only_wait_keep_no_node_out() {
    let world = world_with(|config| {
        config.handshakes_max = 4;
        config.handshake_deadline = Span::secs(3600);
    })
    .await;
    let mut strangers = Vec::new();
    for _ in 0..20 {
        strangers.push(TcpStream::connect(world.member.address).await.unwrap());
    }
    let answer = world.ask(world.question(Errand::Relay, "/a.png")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    until(|| world.metrics.cluster_handshakes_failed.get() >= 16).await;
}

#[tokio::test]
async fn a_body_that_was_cut_short_is_an_error_and_stays_one() {
    let world = world_with(|config| config.breaker_failures = 1).await;
    for errand in [Errand::Relay, Errand::Fill] {
        match world.ask(world.question(errand, "/cut")).await {
            // The stream was reset before the header had left.
            Err(error) => assert!(matches!(error, PeerError::BrokenOff(_)), "{error}"),
            Ok(answer) => {
                let mut body = answer.into_body();
                for _ in 0..2 {
                    let error = whole(&mut body).await.unwrap_err();
                    assert!(matches!(error, PeerError::BrokenOff(_)), "{error}");
                }
            }
        }
    }
    assert_eq!(
        world.questions(QuestionErrand::Fill, QuestionResult::BrokenOff),
        1
    );
    assert_eq!(world.peers.in_flight(&world.member.id), 0);
    let answered = world.ask(world.question(Errand::Fill, "/a.png")).await;
    assert!(answered.is_ok(), "the peer is not to blame");
}

#[tokio::test]
async fn a_peer_that_does_not_answer_meets_the_deadline() {
    let world = world_with(|config| config.first_byte_deadline = Span::millis(50)).await;
    let error = world
        .ask(world.question(Errand::Relay, "/slow"))
        .await
        .map(drop)
        .unwrap_err();
    assert!(matches!(error, PeerError::Deadline), "{error}");
    assert_eq!(
        world.questions(QuestionErrand::Relay, QuestionResult::Deadline),
        1
    );
}

#[tokio::test]
async fn a_body_that_stands_still_meets_the_deadline() {
    let world = world_with(|config| config.read_deadline = Span::millis(200)).await;
    let (_, mut body) = world
        .ask(world.question(Errand::Relay, "/stalls"))
        .await
        .unwrap()
        .into_parts();
    let error = whole(&mut body).await.unwrap_err();
    assert!(matches!(error, PeerError::Deadline), "{error}");
}

#[tokio::test]
async fn a_peer_that_keeps_failing_is_left_alone_until_it_answers() {
    let world = world_with(|config| {
        config.breaker_failures = 2;
        config.breaker_open_for = Span::secs(1);
    })
    .await;
    let (leads, there) = watch::channel(false);
    let door = door_before(world.member.address, there).await;
    let asked = async || {
        let question = world.question(Errand::Relay, "/a.png");
        let member = member(door);
        let asked = world.peers.ask(&member, question);
        timeout(PATIENCE, asked).await.unwrap().map(drop)
    };
    for _ in 0..2 {
        assert!(matches!(asked().await, Err(PeerError::Unreachable(_))));
    }
    assert!(matches!(asked().await, Err(PeerError::BreakerOpen)));
    leads.send_replace(true);
    let healed = async {
        while asked().await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, healed).await.unwrap();
    assert!(asked().await.is_ok());
}

/// Connections to it come to `address`, or to nothing while it does not lead there.
async fn door_before(address: SocketAddr, leads: watch::Receiver<bool>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let door = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut outside, _) = listener.accept().await.unwrap();
            if *leads.borrow() {
                let mut inside = TcpStream::connect(address).await.unwrap();
                tokio::spawn(async move {
                    // Either side may go.
                    tokio::io::copy_bidirectional(&mut outside, &mut inside)
                        .await
                        .ok();
                });
            }
        }
    });
    door
}

fn order(scope: Scope, minimum: Option<Minimum>) -> Order {
    Order {
        scopes: vec![scope],
        mode: Mode::Hard,
        minimum,
        once: None,
        way: PurgeWay::Api,
        by: "test".into(),
    }
}

#[tokio::test]
async fn a_question_that_is_ahead_is_answered_as_soon_as_its_purges_have_come() {
    let world = world().await;
    let own = world.engine.log_position();
    let ahead = LogPosition {
        applied: PurgeIndex::from_number(own.applied.number() + 1),
        ..own
    };
    let ordered = async {
        world
            .purges
            .submit(order(Scope::tag("sale"), None))
            .await
            .unwrap()
    };
    let (caught_up, _) = tokio::join!(world.engine.catch_up(ahead, PATIENCE), ordered);
    assert_eq!(caught_up, Ok(()));
}

#[tokio::test]
async fn a_body_is_followed_by_its_digest_and_is_led_by_it_once_stored() {
    let world = world().await;
    let named = crate::base::digest::Digest::of(BODY).to_string();
    let (parts, _) = world.answer(world.question(Errand::Fill, "/a.png")).await;
    assert!(!parts.headers.contains_key(question::DIGEST), "it was arriving");
    for errand in [Errand::Fill, Errand::Look] {
        let (parts, body) = world.answer(world.question(errand, "/a.png")).await;
        assert_eq!(parts.headers[question::DIGEST], named);
        assert_eq!(body, BODY);
    }
    let (parts, _) = world.answer(world.question(Errand::Relay, "/a.png")).await;
    assert!(!parts.headers.contains_key(question::DIGEST));
    let (headers, body, trailers) = raw(&world, world.question(Errand::Fill, "/b.png")).await;
    assert!(!headers.contains_key(question::DIGEST) && body == BODY);
    assert_eq!(trailers.unwrap()[question::DIGEST], named);
}

/// All that comes over the wire: header, body and trailers.
async fn raw(world: &World, question: Request<()>) -> (HeaderMap, Vec<u8>, Option<HeaderMap>) {
    let stream = TcpStream::connect(world.member.address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(identity(SECRET).client());
    let name = identity(SECRET).server_name();
    let tls = connector.connect(name, stream).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(tls).await.unwrap();
    tokio::spawn(connection);
    let (answer, _) = sender.send_request(question, true).unwrap();
    let (parts, mut body) = timeout(PATIENCE, answer).await.unwrap().unwrap().into_parts();
    let mut bytes = Vec::new();
    while let Some(data) = timeout(PATIENCE, body.data()).await.unwrap() {
        bytes.extend_from_slice(&data.unwrap());
    }
    let trailers = timeout(PATIENCE, body.trailers()).await.unwrap().unwrap();
    (parts.headers, bytes, trailers)
}

#[tokio::test]
async fn no_more_than_so_many_questions_are_under_way() {
    let world = world_with(|config| config.requests_max = 2).await;
    let id = &world.member.id;
    let slow = || world.ask(world.question(Errand::Fill, "/slow"));
    let (first, second) = (tokio::task::unconstrained(slow()), slow());
    let third = async {
        until(|| world.peers.in_flight(id) == 2).await;
        until(|| world.origin.requests() == 1).await;
        let refused = slow().await.map(drop);
        world.origin.let_go.send_replace(true);
        refused
    };
    let (first, second, third) = tokio::join!(first, second, third);
    assert!(matches!(third, Err(PeerError::Busy)));
    assert_eq!(world.peers.in_flight(id), 2, "their bodies are still to come");
    for answer in [first, second] {
        assert_eq!(whole(&mut answer.unwrap().into_body()).await.unwrap(), BODY);
    }
    assert_eq!(world.peers.in_flight(id), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_read_nothing_hold_up_no_other_question_to_the_node() {
    let world = world().await;
    let stored = world.question(Errand::Relay, "/picture");
    assert_eq!(world.answer(stored.clone()).await.1.len(), PICTURE_BYTES);
    let mut unread = Vec::new();
    for _ in 0..20 {
        unread.push(world.ask(stored.clone()).await.unwrap());
    }
    for errand in [Errand::Relay, Errand::Fill] {
        let path = format!("/picture?for={errand:?}");
        let (parts, body) = world.answer(world.question(errand, &path)).await;
        assert_eq!((parts.status, body.len()), (StatusCode::OK, PICTURE_BYTES));
    }
    for answer in unread {
        let body = whole(&mut answer.into_body()).await.unwrap();
        assert_eq!(body.len(), PICTURE_BYTES, "who waited gets all");
    }
}

#[tokio::test]
async fn clients_that_read_nothing_leave_room_for_fills() {
    let world = world_with(|config| {
        config.relays_max = 2;
        config.requests_max = 2;
    })
    .await;
    let relay = || world.ask(world.question(Errand::Relay, "/large"));
    let unread = [relay().await.unwrap(), relay().await.unwrap()];
    assert!(matches!(relay().await, Err(PeerError::Busy)));
    for errand in [Errand::Fill, Errand::Look] {
        let (_, body) = world.answer(world.question(errand, "/a.png")).await;
        assert_eq!(body, BODY);
    }
    drop(unread);
    assert!(relay().await.is_ok());
}

#[tokio::test]
async fn a_body_waits_for_its_reader_and_then_comes_whole() {
    let world = world().await;
    let (_, mut body) = world
        .ask(world.question(Errand::Relay, "/large"))
        .await
        .unwrap()
        .into_parts();
    let mut read = body.next().await.unwrap().unwrap().len() as u64;
    let written = || world.origin.written.load(Ordering::Relaxed);
    let mut before = 0;
    // However fast it is: it stands still long before its end.
    while written() != before {
        before = written();
        sleep(Duration::from_millis(200)).await;
    }
    assert!(before < LARGE_BYTES / 2, "{before} bytes were taken for nobody");
    while let Some(bytes) = timeout(PATIENCE, body.next()).await.unwrap().unwrap() {
        read += bytes.len() as u64;
    }
    assert_eq!(read, LARGE_BYTES);
}

#[tokio::test]
async fn who_goes_is_not_answered_any_further() {
    let world = world().await;
    let answer = world.ask(world.question(Errand::Relay, "/large")).await.unwrap();
    assert_eq!(world.requests.len(), 1);
    assert_eq!(world.metrics.cluster_peer_requests_in_flight.get(), 1);
    drop(answer);
    until(|| world.requests.is_empty()).await;
    assert_eq!(world.metrics.cluster_peer_requests_in_flight.get(), 0);
    assert_eq!(world.peers.in_flight(&world.member.id), 0);
}

#[tokio::test]
async fn a_peer_that_has_stopped_is_found_again_where_it_listens_next() {
    let world = world().await;
    world.answer(world.question(Errand::Relay, "/a.png")).await;
    world.stop.send_replace(true);
    let gone = async {
        while world.ask(world.question(Errand::Relay, "/a.png")).await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
    let next = self::world().await;
    let moved = Member {
        generation: Generation(2),
        address: next.member.address,
        ..world.member.clone()
    };
    let question = next.question(Errand::Relay, "/a.png");
    assert!(world.peers.ask(&moved, question.clone()).await.is_ok());
    world.peers.keep_only(&[]);
    assert!(
        world.peers.ask(&moved, question).await.is_ok(),
        "it is only forgotten"
    );
}

#[tokio::test]
async fn grpc_is_served_beside_questions_also_where_an_image_has_its_path() {
    let world = world().await;
    let mut channel = world.peers.channel(&world.member);
    let call = Request::post("/aquatint.v1.None/Such")
        .header(header::CONTENT_TYPE, "application/grpc")
        .body(Body::empty())
        .unwrap();
    std::future::poll_fn(|context| channel.poll_ready(context))
        .await
        .unwrap();
    let answer = timeout(PATIENCE, channel.call(call)).await.unwrap().unwrap();
    assert_eq!(answer.headers()["grpc-status"], "12", "unimplemented");
    let (parts, body) = world
        .answer(world.question(Errand::Relay, "/aquatint.v1.None/Such"))
        .await;
    assert_eq!((parts.status, &body[..]), (StatusCode::OK, BODY));
}
