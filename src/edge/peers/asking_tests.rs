//! An engine that asks other nodes, over real connections: what they answer is what a test has them say.

use crate::base::clock;
use crate::base::digest::Digest;
use crate::base::epoch::{Epoch, Incarnation};
use crate::base::metrics::{
    FillFrom, HotCopyResult, KeyClass, Label, Metrics, PurgeWay, QuestionErrand, QuestionResult,
};
use crate::base::secret::Secret;
use crate::base::units::Span;
use crate::cluster::Cluster;
use crate::cluster::config::{Config, Role};
use crate::cluster::identity::Identity;
use crate::cluster::member::{Generation, Member, NodeId, State};
use crate::cluster::peers::{PeerError, Peers};
use crate::cluster::question::{self, Errand, Fields, Refusal};
use crate::cluster::view::View;
use crate::edge::interim;
use crate::key::{KeyName, Scheme};
use crate::purge::Purges;
use crate::purge::follow::{Fetch, Fetched, Settings, SnapshotParts, Voter, VoterError};
use crate::purge::order::{Minimum, Mode, Order, PurgeId};
use crate::purge::receipt::Receipt;
use crate::purge::{Holder, OrderError};
use crate::scope::Scope;
use crate::serve::body::Body;
use crate::serve::copies::{Copies, InCluster};
use crate::serve::route::Routes;
use crate::serve::variants::Watermarks;
use crate::serve::{Answer, AskedBy, Engine, Neighbours, Request};
use crate::store::Store;
use crate::trace::Trace;
use crate::upstream::{Bodiless, Origin};
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use h2::Reason;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &str = "aqc_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const IMAGE: &[u8] = b"0123456789";
const OF_ORIGIN: &[u8] = b"of the origin";

/// What a node answers, whatever it is asked.
#[derive(Clone)]
enum Script {
    Image(Said),
    Refuses,
    Resets,
    /// Amid the body.
    Cuts,
    /// Waits at this path; elsewhere it is an image.
    WaitsAt(&'static str),
}

/// Beside the image.
#[derive(Clone, Default)]
struct Said {
    fields: Vec<(HeaderName, String)>,
    trailer: Option<String>,
}

/// A node that is all script.
struct Peer {
    address: SocketAddr,
    /// By which purges its images are known.
    epoch: Epoch,
    script: Mutex<Script>,
    asked: AtomicUsize,
    heard: Mutex<Vec<HeaderMap>>,
    waiting: Mutex<Vec<SendResponse<Bytes>>>,
}

impl Peer {
    async fn start(script: Script, epoch: Epoch) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = Arc::new(Peer {
            address: listener.local_addr().unwrap(),
            epoch,
            script: Mutex::new(script),
            asked: AtomicUsize::new(0),
            heard: Mutex::default(),
            waiting: Mutex::default(),
        });
        let serving = peer.clone();
        let acceptor = TlsAcceptor::from(identity("peer").server());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().serve(acceptor.clone(), stream));
            }
        });
        peer
    }

    async fn serve(self: Arc<Self>, acceptor: TlsAcceptor, stream: TcpStream) {
        let Ok(tls) = acceptor.accept(stream).await else {
            return;
        };
        let mut connection = h2::server::handshake(tls).await.unwrap();
        while let Some(Ok((question, respond))) = connection.accept().await {
            let path = question.uri().path().to_owned();
            self.heard.lock().push(question.into_parts().0.headers);
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.answer(&path, respond);
        }
    }

    fn answer(&self, path: &str, mut respond: SendResponse<Bytes>) {
        let script = self.script.lock().clone();
        match script {
            Script::Image(said) => send(&mut respond, &self.stamped(said)),
            Script::Refuses => {
                let mut refused = Response::new(());
                *refused.status_mut() = StatusCode::MISDIRECTED_REQUEST;
                Refusal::Behind.write(refused.headers_mut());
                respond.send_response(refused, true).unwrap();
            }
            Script::Resets => respond.send_reset(Reason::INTERNAL_ERROR),
            Script::Cuts => {
                let mut body = respond
                    .send_response(header(&self.stamped(Said::of_length(100))), false)
                    .unwrap();
                body.send_data(IMAGE.into(), false).unwrap();
                body.send_reset(Reason::INTERNAL_ERROR);
            }
            Script::WaitsAt(slow) if path == slow => self.waiting.lock().push(respond),
            Script::WaitsAt(_) => send(&mut respond, &self.stamped(Said::of_length(IMAGE.len()))),
        }
    }

    fn stamped(&self, said: Said) -> Said {
        said.with("aquatint-stamp", self.epoch.number())
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Said {
    fn of_length(length: usize) -> Self {
        Said::default().with("content-length", length)
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.fields
            .push((HeaderName::from_static(name), value.to_string()));
        self
    }
}

fn header(said: &Said) -> Response<()> {
    let mut response = Response::new(());
    let fixed = [("content-type", "image/png"), ("cache-control", "max-age=60")];
    let headers = response.headers_mut();
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in &said.fields {
        headers.insert(name, value.parse().unwrap());
    }
    response
}

fn send(respond: &mut SendResponse<Bytes>, said: &Said) {
    let mut body = respond.send_response(header(said), false).unwrap();
    let (first, second) = IMAGE.split_at(4);
    body.send_data(first.into(), false).unwrap();
    body.send_data(second.into(), said.trailer.is_none()).unwrap();
    if let Some(trailer) = &said.trailer {
        let mut trailers = HeaderMap::new();
        trailers.insert(question::DIGEST, trailer.parse().unwrap());
        body.send_trailers(trailers).unwrap();
    }
}

/// The log of purges, out of reach.
struct Silence;

#[async_trait]
impl Voter for Silence {
    async fn fetch(&self, _: Fetch) -> Result<Fetched, VoterError> {
        Err(VoterError::Unreachable("silence".into()))
    }

    async fn snapshot(&self) -> Result<SnapshotParts, VoterError> {
        Err(VoterError::Unreachable("silence".into()))
    }

    async fn release(&self, _: &Holder) -> Result<(), VoterError> {
        Err(VoterError::Unreachable("silence".into()))
    }

    async fn submit(&self, _: Order) -> Result<Receipt, OrderError> {
        Err(OrderError::Unreachable("silence".into()))
    }

    async fn receipt(&self, _: &PurgeId) -> Result<Option<Receipt>, VoterError> {
        Err(VoterError::Unreachable("silence".into()))
    }
}

/// A node, and the others.
struct World {
    engine: Engine,
    purges: Purges,
    metrics: Arc<Metrics>,
    config: Config,
    peers: Vec<Arc<Peer>>,
    _files: tempfile::TempDir,
}

fn config() -> Config {
    Config {
        secret: Some(Secret::new(SECRET.into())),
        first_byte_deadline: Span::secs(30),
        read_deadline: Span::secs(30),
        ..Config::default()
    }
}

fn identity(node: &str) -> Identity {
    Identity::open(&config(), &NodeId::new(node)).unwrap()
}

fn member(id: &str, weight: u32, address: SocketAddr) -> Arc<Member> {
    Arc::new(Member {
        id: NodeId::new(id),
        generation: Generation(1),
        address,
        zone: "".into(),
        pool: "default".into(),
        weight,
        roles: [Role::Edge, Role::Cache].into(),
        state: State::Up,
        load: 0,
        version: "".into(),
    })
}

async fn leased(metrics: &Arc<Metrics>) -> Purges {
    let purge = Default::default();
    let purges = Purges::open(&purge, None, "node", metrics.clone());
    purges.await.unwrap()
}

async fn lapsed(metrics: &Arc<Metrics>) -> Purges {
    let settings = Settings {
        lease: Duration::from_secs(5),
        cache: None,
    };
    let known = Some(Incarnation::from_bytes([1; 16]));
    let (purge, voter) = (Default::default(), Arc::new(Silence));
    let purges = Purges::follow(&purge, settings, "node", voter, known, metrics.clone());
    purges.await.unwrap()
}

impl World {
    /// A node of this weight beside a peer for each script.
    async fn new(weight: u32, scripts: &[Script]) -> Self {
        let metrics = Arc::new(Metrics::new());
        let purges = leased(&metrics).await;
        World::with(config(), weight, scripts, purges, metrics).await
    }

    async fn with(
        config: Config,
        weight: u32,
        scripts: &[Script],
        purges: Purges,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (mut peers, mut members) = (Vec::new(), Vec::new());
        for (number, script) in scripts.iter().enumerate() {
            let peer = Peer::start(script.clone(), purges.epoch()).await;
            members.push(member(&format!("a{number}"), 100, peer.address));
            peers.push(peer);
        }
        members.push(member("node", weight, ([127, 0, 0, 1], 1).into()));
        let connections = Peers::new(&config, &identity("node"), metrics.clone());
        let cluster = Cluster::fixed(View::new(1, NodeId::new("node"), &members), connections);
        let cache = Default::default();
        let store = Store::open(&cache, purges.incarnation(), metrics.clone());
        let store = store.await.unwrap();
        let network = Arc::new(InCluster::new(cluster.clone(), &config));
        let copies = Copies::start(&config, network, store.clone(), purges.clone(), metrics.clone());
        let files = tempfile::tempdir().unwrap();
        for number in 0..IMAGES {
            std::fs::write(files.path().join(format!("{number}.png")), OF_ORIGIN).unwrap();
        }
        let neighbours = Neighbours::new(cluster, purges.clone(), &config);
        let engine = engine(files.path(), store, &purges, &metrics);
        World {
            engine: engine.in_cluster(neighbours, copies),
            purges,
            metrics,
            config,
            peers,
            _files: files,
        }
    }

    /// What a client gets.
    async fn get(&self, number: usize) -> Got {
        self.ask(number, AskedBy::Client).await
    }

    /// What another node gets that passes a client's request on: a miss of it is a fill.
    async fn fill(&self, number: usize) -> Got {
        self.fill_with(number, &HeaderMap::new()).await
    }

    async fn fill_with(&self, number: usize, headers: &HeaderMap) -> Got {
        let asked_by = AskedBy::Peer {
            errand: Errand::Relay,
            key: KeyName::of(&format!("https://shop.example/{number}.png")),
        };
        self.ask_with(number, asked_by, headers).await
    }

    /// What as many get as wait for one flight, whose question is answered when all wait.
    async fn fill_at_once(&self, count: usize, said: &Said) -> Vec<Got> {
        let coalesced = || self.metrics.coalesced_requests.get();
        let (asked, waited) = (self.asked(), coalesced());
        let all = join_all((0..count).map(|_| self.fill(0)));
        let answer = async {
            until(|| self.asked() > asked && coalesced() - waited == count as u64 - 1).await;
            let mut respond = self.peers[0].waiting.lock().pop().unwrap();
            send(&mut respond, said);
        };
        tokio::join!(all, answer).0
    }

    async fn purge(&self, number: usize, minimum: Option<Minimum>) {
        let order = Order {
            scopes: vec![Scope::exact("shop.example", &format!("/{number}.png"))],
            mode: Mode::Hard,
            minimum,
            once: None,
            way: PurgeWay::Api,
            by: "test".into(),
        };
        self.purges.submit(order).await.unwrap();
    }

    async fn ask(&self, number: usize, asked_by: AskedBy) -> Got {
        self.ask_with(number, asked_by, &HeaderMap::new()).await
    }

    async fn ask_with(&self, number: usize, asked_by: AskedBy, headers: &HeaderMap) -> Got {
        let asked = timeout(PATIENCE, self.serve(number, asked_by, headers));
        asked.await.expect("there is a deadline")
    }

    async fn serve(&self, number: usize, asked_by: AskedBy, headers: &HeaderMap) -> Got {
        let (trace, path) = (Trace::default(), format!("/{number}.png"));
        let request = Request {
            method: &Method::GET,
            version: Version::HTTP_11,
            scheme: Scheme::Https,
            host: "shop.example",
            path: &path,
            query: None,
            headers,
            client: [192, 0, 2, 7].into(),
            id: &HeaderValue::from_static("id"),
            trace: &trace,
            received_at: clock::now(),
            asked_by,
        };
        let served = match self.engine.serve(&request, &interim::channel().0).await {
            Ok(Answer::Served(served)) => Ok(served),
            Ok(Answer::Pass(pass)) => self.engine.pass(pass, Bodiless).await,
            Err(unserved) => Err(unserved),
        };
        match served {
            Ok(served) => read(served.body).await,
            Err(unserved) => Err((Vec::new(), unserved.error.to_string())),
        }
    }

    fn asked(&self) -> usize {
        self.peers.iter().map(|peer| peer.asked()).sum()
    }

    fn of_origin(&self) -> u64 {
        let of = |class| self.metrics.cluster_fills[(FillFrom::Origin, class)].get();
        KeyClass::ALL.iter().copied().map(of).sum()
    }

    fn hot_copies(&self, result: HotCopyResult) -> u64 {
        self.metrics.cluster_hot_copies[result].get()
    }
}

/// All bytes, or those before the error.
type Got = Result<Vec<u8>, (Vec<u8>, String)>;

const IMAGES: usize = 20;

async fn read(mut body: Body) -> Got {
    let mut bytes = Vec::new();
    loop {
        match body.read_at(bytes.len() as u64, u64::MAX).await {
            Ok(Some(more)) => bytes.extend_from_slice(&more),
            Ok(None) => return Ok(bytes),
            Err(error) => return Err((bytes, error.to_string())),
        }
    }
}

fn engine(files: &std::path::Path, store: Store, purges: &Purges, metrics: &Arc<Metrics>) -> Engine {
    let upstream = crate::upstream::config::Config {
        directory: Some(files.into()),
        ..Default::default()
    };
    let origin = Origin::open("files", &upstream, metrics).unwrap();
    let origins = HashMap::from([("files".to_owned(), Arc::new(origin))]);
    let route = crate::serve::config::Route {
        host: "shop.example".into(),
        path: "/".into(),
        origin: "files".into(),
        ..Default::default()
    };
    let serve = crate::serve::config::Config::default();
    let watermarks = Watermarks::open(&serve.watermarks, &serve.transform.limits).unwrap();
    let routes = Routes::compile(&[route], &origins, &HashMap::new(), metrics).unwrap();
    let purges = purges.clone();
    Engine::new(
        &serve,
        routes,
        store,
        purges,
        &watermarks,
        "node",
        metrics.clone(),
    )
}

async fn until(condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, met).await.expect("it comes to that");
}

fn digest(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_a_peer_is_stored_when_its_digest_is_right_or_not_told() {
    let whole = || Said::of_length(IMAGE.len());
    let in_the_end = Said {
        trailer: Some(digest(IMAGE)),
        ..whole()
    };
    for said in [
        whole(),
        whole().with("aquatint-digest", digest(IMAGE)),
        Said::default().with("aquatint-digest", digest(IMAGE)),
        in_the_end,
    ] {
        let world = World::new(0, &[Script::Image(said)]).await;
        for _ in 0..2 {
            assert_eq!(world.fill(0).await.unwrap(), IMAGE);
        }
        assert_eq!((world.asked(), world.of_origin()), (1, 0), "it is stored");
        assert_eq!(world.metrics.cluster_corrupt_copies.get(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_a_peer_with_another_digest_is_never_stored_nor_whole() {
    let whole = || Said::of_length(IMAGE.len());
    let in_the_end = Said {
        trailer: Some(digest(b"0123456780")),
        ..whole()
    };
    for said in [
        whole().with("aquatint-digest", digest(b"0123456780")),
        whole().with("aquatint-digest", "none"),
        in_the_end,
    ] {
        let world = World::new(0, &[Script::Image(said)]).await;
        for asked in [1, 2] {
            let (bytes, error) = world.fill(0).await.unwrap_err();
            assert!(error.contains("another digest"), "{error}");
            assert!(bytes.len() < IMAGE.len(), "it looks whole");
            assert_eq!(world.asked(), asked, "it was stored");
        }
        assert_eq!(world.metrics.cluster_corrupt_copies.get(), 2);
        let broken = world.metrics.cluster_questions[(QuestionErrand::Fill, QuestionResult::BrokenOff)].get();
        assert_eq!((broken, world.of_origin()), (2, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_unknown_length_with_another_digest_has_no_end() {
    let said = Said::default().with("aquatint-digest", digest(b"0123456780"));
    let world = World::new(0, &[Script::Image(said)]).await;
    for asked in [1, 2] {
        let (_, error) = world.fill(0).await.unwrap_err();
        assert!(error.contains("another digest"), "{error}");
        assert_eq!(world.asked(), asked, "it was stored");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_was_cut_at_a_peer_is_the_answer_and_nobody_else_is_asked() {
    for script in [Script::Resets, Script::Cuts] {
        let world = World::new(0, &[script.clone(), script]).await;
        world.fill(0).await.unwrap_err();
        assert_eq!((world.asked(), world.of_origin()), (1, 0));
        world.get(1).await.unwrap_err();
        assert_eq!((world.asked(), world.of_origin()), (2, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_lease_has_others_answer_and_passes_on_what_none_does() {
    let metrics = Arc::new(Metrics::new());
    let purges = lapsed(&metrics).await;
    let image = || Script::Image(Said::of_length(IMAGE.len()));
    let world = World::with(config(), 100, &[image(), image()], purges, metrics).await;
    assert!(!world.purges.may_serve());
    for number in 0..IMAGES {
        assert_eq!(world.get(number).await.unwrap(), IMAGE, "{number}");
    }
    assert_eq!((world.asked(), world.of_origin()), (IMAGES, 0));
    *world.peers[0].script.lock() = Script::Refuses;
    for number in 0..IMAGES {
        assert_eq!(world.get(number).await.unwrap(), IMAGE, "{number}");
    }
    *world.peers[1].script.lock() = Script::Refuses;
    for number in 0..IMAGES {
        assert_eq!(world.get(number).await.unwrap(), OF_ORIGIN, "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_hot_image_is_counted_when_it_is_stored_or_can_not_be() {
    let hot = || Said::of_length(IMAGE.len()).with("aquatint-hot", 1);
    let world = World::new(0, &[Script::Image(hot())]).await;
    world.get(0).await.unwrap();
    world.get(1).await.unwrap();
    let counts = || [HotCopyResult::Stored, HotCopyResult::Failed].map(|result| world.hot_copies(result));
    assert_eq!(counts(), [0, 0], "they were only heard of");
    assert_eq!(world.get(0).await.unwrap(), IMAGE);
    assert_eq!(counts(), [1, 0]);
    *world.peers[0].script.lock() = Script::Resets;
    assert_eq!(world.get(0).await.unwrap(), IMAGE);
    world.get(1).await.unwrap_err();
    // A fill ends after who has asked for it.
    until(|| counts() == [1, 1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_finds_no_room_is_a_fill_and_no_request_to_the_origin() {
    let metrics = Arc::new(Metrics::new());
    let purges = leased(&metrics).await;
    let config = Config {
        relays_max: 1,
        requests_max: 1,
        ..config()
    };
    let world = World::with(config, 0, &[Script::WaitsAt("/0.png")], purges, metrics).await;
    let waits = world.get(0);
    let other = async {
        until(|| world.asked() == 1).await;
        world.get(1).await
    };
    let got = tokio::select! {
        got = other => got,
        got = waits => panic!("it should wait: {got:?}"),
    };
    assert_eq!(got.unwrap(), IMAGE);
    assert_eq!((world.asked(), world.of_origin()), (2, 0));
    let questions = |errand, result| world.metrics.cluster_questions[(errand, result)].get();
    assert_eq!(questions(QuestionErrand::Relay, QuestionResult::Busy), 1);
    assert_eq!(questions(QuestionErrand::Fill, QuestionResult::Answered), 1);
}

/// Asks a peer by itself, with a breaker that opens at the first failure.
struct Asker<'a> {
    world: &'a World,
    connections: Peers,
    peer: Arc<Member>,
}

impl<'a> Asker<'a> {
    fn new(world: &'a World, first_byte_deadline: Span) -> Self {
        let config = Config {
            first_byte_deadline,
            breaker_failures: 1,
            breaker_open_for: Span::secs(600),
            ..world.config.clone()
        };
        Asker {
            world,
            connections: Peers::new(&config, &identity("node"), world.metrics.clone()),
            peer: member("a0", 100, world.peers[0].address),
        }
    }

    /// An image, whole, or why there is none.
    async fn fill(&self, number: usize) -> Result<(), PeerError> {
        let url = format!("https://shop.example/{number}.png");
        let mut question = http::Request::get(&url).body(()).unwrap();
        let fields = Fields {
            errand: Errand::Fill,
            position: self.world.engine.log_position(),
            client: [192, 0, 2, 7].into(),
            key: KeyName::of(&url),
        };
        fields.write(question.headers_mut());
        let asked = timeout(PATIENCE, self.connections.ask(&self.peer, question));
        let mut body = asked.await.expect("there is a deadline")?.into_body();
        while body.next().await?.is_some() {}
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_answers_nothing_but_pings_is_left_alone() {
    let world = World::new(0, &[Script::WaitsAt("/0.png")]).await;
    let asker = Asker::new(&world, Span::secs(1));
    asker.fill(1).await.expect("that opens the connection");
    assert!(matches!(asker.fill(0).await, Err(PeerError::Deadline)));
    for number in [0, 1] {
        let left_alone = asker.fill(number).await;
        assert!(
            matches!(left_alone, Err(PeerError::BreakerOpen)),
            "{left_alone:?}"
        );
    }
    assert_eq!(world.asked(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_waits_for_an_origin_and_answers_others_meanwhile_is_asked_again() {
    let world = World::new(0, &[Script::WaitsAt("/0.png")]).await;
    let asker = Asker::new(&world, Span::secs(2));
    for _ in 0..2 {
        let others = async {
            loop {
                asker.fill(1).await.expect("it answers");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let late = tokio::select! {
            late = asker.fill(0) => late,
            () = others => unreachable!("they go on for ever"),
        };
        assert!(matches!(late, Err(PeerError::Deadline)), "{late:?}");
    }
    asker.fill(1).await.expect("it is asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_whose_end_only_a_close_tells_is_passed_on_and_kept_by_nobody() {
    let unframed = Said::default().with("aquatint-unframed", 1);
    let world = World::new(0, &[Script::Image(unframed)]).await;
    for asked in [1, 2] {
        assert_eq!(world.fill(0).await.unwrap(), IMAGE);
        assert_eq!((world.asked(), world.of_origin()), (asked, 0));
    }
}

/// A purge has told what the origin has, and the origin that the primary asks lags.
#[tokio::test(flavor = "multi_thread")]
async fn all_who_wait_get_what_the_primary_finds_too_old_and_nobody_keeps_it_or_asks_again() {
    // Who asks may have forgotten what the primary knows, or take it for outlived by a clock that is ahead.
    for minimum in [Some(Minimum::EntityTag("\"v7\"".into())), None] {
        let world = World::new(0, &[Script::WaitsAt("/0.png")]).await;
        world.purge(0, minimum.clone()).await;
        let too_old = Said::of_length(IMAGE.len())
            .with("etag", "\"v6\"")
            .with("aquatint-stamp", world.purges.epoch().number())
            .with("aquatint-too-old", 1);
        for asked in [1, 2] {
            for got in world.fill_at_once(20, &too_old).await {
                assert_eq!(got.unwrap(), IMAGE, "{minimum:?}");
            }
            assert_eq!((world.asked(), world.of_origin()), (asked, 0), "{minimum:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_for_all_demands_what_its_client_demands_and_puts_up_with_nothing_more() {
    let world = World::new(0, &[Script::Image(Said::of_length(IMAGE.len()))]).await;
    for (number, (name, said, expected)) in [
        ("cache-control", "max-stale", None),
        ("cache-control", "max-stale=600, x=1", None),
        ("cache-control", "max-stale=600, max-age=30", Some("max-age=30")),
        (
            "cache-control",
            "min-fresh=5, max-age=0",
            Some("max-age=0, min-fresh=5"),
        ),
        ("cache-control", "max-stale, no-cache", Some("no-cache")),
        ("pragma", "no-cache", Some("no-cache")),
    ]
    .into_iter()
    .enumerate()
    {
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), said.parse().unwrap())]);
        assert_eq!(world.fill_with(number, &headers).await.unwrap(), IMAGE);
        let heard = world.peers[0].heard.lock().pop().unwrap();
        let asked = heard.get("cache-control").map(|value| value.to_str().unwrap());
        assert_eq!((asked, heard.get("pragma")), (expected, None), "{said}");
    }
}
