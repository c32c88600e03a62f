//! An engine that asks other nodes, over real connections: what they answer is what a test has them say.

use crate::base::clock;
use crate::base::digest::Digest;
use crate::base::epoch::{Epoch, Incarnation};
use crate::base::metrics::{
    FillFrom, HotCopyResult, KeyClass, Label, Metrics, QuestionErrand, QuestionResult,
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
use crate::purge::order::{Order, PurgeId};
use crate::purge::receipt::Receipt;
use crate::purge::{Holder, OrderError};
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
    Waits,
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
        while let Some(Ok((_, respond))) = connection.accept().await {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.answer(respond);
        }
    }

    fn answer(&self, mut respond: SendResponse<Bytes>) {
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
            Script::Waits => self.waiting.lock().push(respond),
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
        World::with(weight, scripts, purges, metrics).await
    }

    async fn with(weight: u32, scripts: &[Script], purges: Purges, metrics: Arc<Metrics>) -> Self {
        let config = config();
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
        let asked_by = AskedBy::Peer {
            errand: Errand::Relay,
            key: KeyName::of(&format!("https://shop.example/{number}.png")),
        };
        self.ask(number, asked_by).await
    }

    async fn ask(&self, number: usize, asked_by: AskedBy) -> Got {
        let asked = timeout(PATIENCE, self.serve(number, asked_by));
        asked.await.expect("there is a deadline")
    }

    async fn serve(&self, number: usize, asked_by: AskedBy) -> Got {
        let (trace, headers, path) = (Trace::default(), HeaderMap::new(), format!("/{number}.png"));
        let request = Request {
            method: &Method::GET,
            version: Version::HTTP_11,
            scheme: Scheme::Https,
            host: "shop.example",
            path: &path,
            query: None,
            headers: &headers,
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
    let world = World::with(100, &[image(), image()], purges, metrics).await;
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
    let failed = async {
        while counts() != [1, 1] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, failed).await.expect("it is counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_lives_and_waits_for_an_origin_is_asked_again() {
    let world = World::new(0, &[Script::Waits]).await;
    let config = Config {
        first_byte_deadline: Span::millis(50),
        breaker_failures: 1,
        ..world.config.clone()
    };
    let connections = Peers::new(&config, &identity("node"), world.metrics.clone());
    let peer = member("a0", 100, world.peers[0].address);
    for asked in [1, 2, 3] {
        let mut waits = http::Request::get("https://shop.example/0.png").body(()).unwrap();
        let fields = Fields {
            errand: Errand::Fill,
            position: world.engine.log_position(),
            client: [192, 0, 2, 7].into(),
            key: KeyName::of("https://shop.example/0.png"),
        };
        fields.write(waits.headers_mut());
        let late = timeout(PATIENCE, connections.ask(&peer, waits)).await.unwrap();
        assert!(matches!(late, Err(PeerError::Deadline)));
        assert_eq!(world.asked(), asked);
    }
}
