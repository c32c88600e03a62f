//! The service, driven by a client as any language has one: over TLS, with a program's certificate and a key.

use super::*;
use crate::base::digest::Digest;
use crate::base::metrics::Metrics;
use crate::base::secret::Secret;
use crate::cluster::Cluster;
use crate::cluster::config::{Config, Role};
use crate::cluster::identity::{Identity, ProgramCertificate};
use crate::cluster::member::{Generation, Member, NodeId, State as MemberState};
use crate::cluster::peers::Peers;
use crate::cluster::question::LogPosition;
use crate::cluster::secret::ClusterSecret;
use crate::cluster::view::View;
use crate::edge::peers::PeerServer;
use crate::edge::purging::Orderer;
use crate::purge::config::{Key, Permission};
use crate::purge::keys::KeyHash;
use crate::serve::Neighbours;
use crate::serve::copies::Copies;
use crate::serve::route::Routes;
use crate::serve::variants::Watermarks;
use crate::store::Store;
use crate::trace::Tracer;
use crate::upstream::Origin;
use crate::wire::Field;
use crate::wire::cache_client::CacheClient;
use crate::wire::get_response::Part;
use crate::wire::log_client::LogClient;
use crate::wire::put_request::{Open, Part as Putting};
use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::stream;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::watch as channel;
use tokio::time::timeout;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity as Shown};

const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &str = "aqc_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const IMAGE: &[u8] = b"\x89PNG\r\n\x1a\nof an origin";

struct World {
    address: SocketAddr,
    channel: Channel,
    purges: Purges,
    files: tempfile::TempDir,
    _stop: channel::Sender<bool>,
}

fn key(text: &str, scopes: &[Permission]) -> Key {
    Key {
        hash: KeyHash::of(text),
        scopes: scopes.to_vec(),
    }
}

fn config() -> Config {
    Config {
        secret: Some(Secret::new(SECRET.into())),
        ..Config::default()
    }
}

/// One node, before a directory with one image.
async fn world() -> World {
    world_with(None, None).await
}

/// A node that owns nothing, where there is another that does, and follows the same log.
async fn world_beside(owner: &World) -> World {
    world_with(Some(owner.address), Some(owner.purges.clone())).await
}

async fn world_with(owner: Option<SocketAddr>, log: Option<Purges>) -> World {
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("a.png"), IMAGE).unwrap();
    let metrics = Arc::new(Metrics::new());
    let mut purge = crate::purge::config::Config {
        watched_scopes_max: 2,
        ..Default::default()
    };
    let all = [Permission::Cache, Permission::Url];
    purge.keys.insert("app".into(), key("aqk_app", &all));
    purge
        .keys
        .insert("reader".into(), key("aqk_reader", &[Permission::Cache]));
    purge
        .keys
        .insert("shop".into(), key("aqk_shop", &[Permission::All]));
    let purges = match log {
        Some(log) => log,
        None => Purges::open(&purge, None, "node", metrics.clone()).await.unwrap(),
    };
    let neighbours = owner.map(|owner| neighbours(owner, &purges, &metrics));
    let engine = engine(files.path(), &purges, neighbours, &metrics).await;
    let orderer = Orderer::new(&purge, purges.clone(), engine.clone(), metrics.clone());
    let settings = Settings::new(&Default::default(), Arc::new(orderer));
    let process = Process {
        engine,
        settings: Arc::new(ArcSwap::from_pointee(settings)),
        lifecycle: Arc::default(),
        purges: purges.clone(),
        metrics: metrics.clone(),
        tracer: Tracer::default(),
        requests: TaskTracker::new(),
    };
    let identity = Identity::open(&config(), &NodeId::new("node")).unwrap();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let (stop, stopped) = channel::channel(false);
    tokio::spawn(PeerServer::new(&config(), &identity, process).serve(socket, stopped));
    World {
        address,
        channel: channel_to(address).await,
        purges,
        files,
        _stop: stop,
    }
}

fn neighbours(owner: SocketAddr, purges: &Purges, metrics: &Arc<Metrics>) -> Neighbours {
    let member = |id: &str, weight, address| Member {
        id: NodeId::new(id),
        generation: Generation(1),
        address,
        zone: "".into(),
        pool: "default".into(),
        weight,
        roles: [Role::Edge, Role::Cache].into(),
        state: MemberState::Up,
        load: 0,
        version: "".into(),
    };
    let nowhere = ([127, 0, 0, 1], 1).into();
    let members = [member("node", 0, nowhere), member("owner", 100, owner)].map(Arc::new);
    let identity = Identity::open(&config(), &NodeId::new("node")).unwrap();
    let peers = Peers::new(&config(), &identity, metrics.clone());
    let view = View::new(1, NodeId::new("node"), &members);
    Neighbours::new(Cluster::fixed(view, peers), purges.clone(), &config())
}

async fn engine(
    files: &std::path::Path,
    purges: &Purges,
    neighbours: Option<Neighbours>,
    metrics: &Arc<Metrics>,
) -> Arc<Engine> {
    let upstream = crate::upstream::config::Config {
        directory: Some(files.into()),
        ..Default::default()
    };
    let origin = Origin::open("files", &upstream, metrics).unwrap();
    let origins = HashMap::from([("files".to_owned(), Arc::new(origin))]);
    let mut route = crate::serve::config::Route {
        host: "shop.example".into(),
        origin: "files".into(),
        object_bytes_max: crate::base::units::ByteSize::kib(64),
        ..Default::default()
    };
    route.ttl.default = Some(crate::base::units::Span::secs(3600));
    let serve = crate::serve::config::Config::default();
    let watermarks = Watermarks::open(&serve.watermarks, &serve.transform.limits).unwrap();
    let routes = Routes::compile(&[route], &origins, &HashMap::new(), metrics).unwrap();
    let store = Store::open(&Default::default(), purges.incarnation(), metrics.clone()).await;
    let engine = Engine::new(
        &serve,
        routes,
        store.unwrap(),
        purges.clone(),
        &watermarks,
        "node",
        metrics.clone(),
    );
    Arc::new(match neighbours {
        None => engine,
        Some(neighbours) => engine.in_cluster(neighbours, Copies::none()),
    })
}

/// As a program has it: with what `aquatint key --client-certificate` prints, and nothing else.
async fn channel_to(address: SocketAddr) -> Channel {
    let secret = ClusterSecret::parse(SECRET).unwrap();
    let shown = ProgramCertificate::new(&secret, "app").unwrap();
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&shown.authority))
        .identity(Shown::from_pem(&shown.certificate, shown.key.expose()))
        .domain_name("node.aquatint.internal");
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
    endpoint.tls_config(tls).unwrap().connect().await.unwrap()
}

fn with_key<T>(message: T, key: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {key}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

fn url(path: &str) -> String {
    format!("http://shop.example{path}")
}

fn asking(path: &str, fields: &[(&str, &'static str)]) -> GetRequest {
    GetRequest {
        url: url(path),
        fields: fields.iter().map(|(name, value)| field(name, value)).collect(),
    }
}

fn field(name: &str, value: &'static str) -> Field {
    Field {
        name: name.into(),
        value: Bytes::from_static(value.as_bytes()),
    }
}

fn opening(path: &str, body: &[u8]) -> Open {
    Open {
        url: url(path),
        status: 200,
        fields: vec![
            field("content-type", "image/png"),
            field("cache-control", "max-age=600"),
        ],
        length: body.len() as u64,
        digest: Digest::of(body).as_bytes().to_vec().into(),
    }
}

/// In chunks of five bytes.
fn messages(open: Open, body: &[u8]) -> Vec<PutRequest> {
    let part = |part| PutRequest { part: Some(part) };
    let chunks = body
        .chunks(5)
        .map(|chunk| Putting::Chunk(Bytes::copy_from_slice(chunk)));
    [Putting::Open(open)]
        .into_iter()
        .chain(chunks)
        .map(part)
        .collect()
}

impl World {
    fn cache(&self) -> CacheClient<Channel> {
        CacheClient::new(self.channel.clone())
    }

    async fn get(&self, asking: GetRequest) -> Result<(Header, Vec<u8>), Status> {
        let mut stream = self.cache().get(with_key(asking, "aqk_app")).await?.into_inner();
        let (mut header, mut body) = (None, Vec::new());
        while let Some(message) = timeout(PATIENCE, stream.message()).await.unwrap()? {
            match message.part.unwrap() {
                Part::Header(told) => header = Some(told),
                Part::Chunk(chunk) => body.extend_from_slice(&chunk),
            }
        }
        Ok((header.unwrap(), body))
    }

    async fn put(&self, open: Open, body: &[u8]) -> Result<Bytes, Status> {
        let put = with_key(stream::iter(messages(open, body)), "aqk_app");
        let put = timeout(PATIENCE, self.cache().put(put)).await.unwrap()?;
        Ok(put.into_inner().digest)
    }

    async fn delete(&self, path: &str, key: &str) -> Result<u64, Status> {
        let delete = with_key(DeleteRequest { url: url(path) }, key);
        Ok(self.cache().delete(delete).await?.into_inner().index)
    }
}

fn value<'a>(header: &'a Header, name: &str) -> &'a str {
    let found = header.fields.iter().find(|field| field.name == name);
    found.map_or("", |field| std::str::from_utf8(&field.value).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_answered_as_to_a_client_conditions_and_ranges_too() {
    let world = world().await;
    let (header, body) = world.get(asking("/a.png", &[])).await.unwrap();
    assert_eq!((header.status, &body[..]), (200, IMAGE));
    assert!(
        value(&header, "cache-status").contains("fwd=uri-miss"),
        "{header:?}"
    );
    let (again, _) = world.get(asking("/a.png", &[])).await.unwrap();
    assert!(value(&again, "cache-status").contains("; hit"), "{again:?}");
    let (part, body) = world
        .get(asking("/a.png", &[("range", "bytes=1-3")]))
        .await
        .unwrap();
    assert_eq!((part.status, &body[..]), (206, &IMAGE[1..4]));
    let head = world
        .cache()
        .head(with_key(asking("/a.png", &[]), "aqk_app"))
        .await
        .unwrap();
    let length = IMAGE.len().to_string();
    assert_eq!(value(&head.into_inner(), "content-length"), length);
    let (missing, _) = world.get(asking("/none.png", &[])).await.unwrap();
    assert_eq!(missing.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_is_answered_until_it_is_deleted() {
    let world = world().await;
    let image = b"\x89PNG\r\n\x1a\nof a program";
    let digest = world.put(opening("/a.png", image), image).await.unwrap();
    assert_eq!(&digest[..], Digest::of(image).as_bytes());
    let (header, body) = world.get(asking("/a.png", &[])).await.unwrap();
    assert_eq!((header.status, &body[..]), (200, &image[..]));
    assert!(value(&header, "cache-status").contains("; hit"), "{header:?}");
    let index = world.delete("/a.png", "aqk_app").await.unwrap();
    assert!(index > 0);
    let (_, body) = world.get(asking("/a.png", &[])).await.unwrap();
    assert_eq!(body, IMAGE);
    drop(world.files);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_at_any_node_is_stored_by_the_keys_primary() {
    let owner = world().await;
    let other = world_beside(&owner).await;
    let image = b"\x89PNG\r\n\x1a\nof a program";
    let digest = other.put(opening("/put.png", image), image).await.unwrap();
    assert_eq!(&digest[..], Digest::of(image).as_bytes());
    let (header, body) = owner.get(asking("/put.png", &[])).await.unwrap();
    assert_eq!((header.status, &body[..]), (200, &image[..]));
    let wrong = Open {
        digest: vec![7; 32].into(),
        ..opening("/wrong.png", image)
    };
    let refused = other.put(wrong, image).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_wins_over_what_another_node_took_in_before_it() {
    let owner = world().await;
    let image = b"\x89PNG\r\n\x1a\nof a program";
    let put = async |position: &str| {
        let mut put = with_key(
            stream::iter(messages(opening("/put.png", image), image)),
            "aqk_app",
        );
        let said = put.metadata_mut();
        said.insert("aquatint-passed-on", "1".parse().unwrap());
        said.insert("aquatint-log", position.parse().unwrap());
        let put = timeout(PATIENCE, owner.cache().put(put)).await.unwrap();
        put.map(drop).map_err(|refused| refused.code())
    };
    let position = || LogPosition {
        incarnation: owner.purges.incarnation(),
        applied: owner.purges.applied(),
    };
    let before = position();
    owner.delete("/put.png", "aqk_app").await.unwrap();
    assert_eq!(put(&before.to_string()).await, Err(Code::Aborted));
    assert_eq!(put(&position().to_string()).await, Ok(()));
    assert_eq!(put("here").await, Err(Code::InvalidArgument));
    let elsewhere = world_with(Some(owner.address), None).await;
    let refused = elsewhere.put(opening("/put.png", image), image).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "of another log: {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_as_declared_is_not_stored() {
    let world = world().await;
    let image = b"\x89PNG\r\n\x1a\nof a program";
    let open = || opening("/put.png", image);
    let other_digest = Open {
        digest: vec![7; 32].into(),
        ..open()
    };
    let longer = Open {
        length: 1000,
        digest: Bytes::new(),
        ..open()
    };
    let shorter = Open {
        length: 3,
        digest: Bytes::new(),
        ..open()
    };
    let half_a_digest = Open {
        digest: vec![7; 16].into(),
        ..open()
    };
    let partial = Open {
        status: 206,
        ..open()
    };
    let variant = Open {
        url: url("/put.png?w=64"),
        ..open()
    };
    let nowhere = Open {
        url: "http://elsewhere.example/a.png".into(),
        ..open()
    };
    for (open, code) in [
        (other_digest, Code::InvalidArgument),
        (longer, Code::InvalidArgument),
        (shorter, Code::InvalidArgument),
        (half_a_digest, Code::InvalidArgument),
        (partial, Code::InvalidArgument),
        (variant, Code::InvalidArgument),
        (nowhere, Code::NotFound),
    ] {
        let refused = world.put(open.clone(), image).await.unwrap_err();
        assert_eq!(refused.code(), code, "{open:?}: {refused}");
    }
    let (header, _) = world.get(asking("/put.png", &[])).await.unwrap();
    assert_eq!(header.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_origin_could_not_have_stored_is_not_stored() {
    let world = world().await;
    let large = vec![1; 65 << 10];
    let text = |open: Open, name: &str, value: &'static str| Open {
        fields: open
            .fields
            .into_iter()
            .filter(|f| f.name != name)
            .chain([field(name, value)])
            .collect(),
        ..open
    };
    let open = || opening("/put.png", IMAGE);
    for (open, body) in [
        (opening("/put.png", &large), &large[..]),
        (text(open(), "content-type", "text/html"), IMAGE),
        (text(open(), "cache-control", "no-store"), IMAGE),
        (text(open(), "set-cookie", "a=b"), IMAGE),
    ] {
        let refused = world.put(open.clone(), body).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{open:?}: {refused}");
    }
    let varying = world.put(text(open(), "vary", "accept-language"), IMAGE).await;
    assert_eq!(varying.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn purges_are_told_from_an_index_on_and_what_is_gone_is_said_to_be() {
    let world = world().await;
    let watch = |from| with_key(WatchRequest { from }, "aqk_reader");
    let mut watching = world.cache().watch(watch(0)).await.unwrap().into_inner();
    let first = world.delete("/a.png", "aqk_app").await.unwrap();
    let told = timeout(PATIENCE, watching.message())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(
        (told.index, &told.scopes[..]),
        (first, &["exact url shop.example/a.png".to_owned()][..])
    );
    for path in ["/b.png", "/c.png"] {
        world.delete(path, "aqk_app").await.unwrap();
    }
    let gone = world.cache().watch(watch(first)).await.unwrap_err();
    assert_eq!(gone.code(), Code::OutOfRange, "{gone}");
    let mut later = world.cache().watch(watch(first + 1)).await.unwrap().into_inner();
    let told = timeout(PATIENCE, later.message())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(told.scopes, ["exact url shop.example/b.png"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_needs_a_key_of_its_scope_and_ends_by_its_deadline() {
    let world = world().await;
    let mut cache = world.cache();
    let code = |refused: Status| refused.code();
    let without = cache.head(Request::new(asking("/a.png", &[]))).await.unwrap_err();
    let unknown = cache
        .head(with_key(asking("/a.png", &[]), "aqk_x"))
        .await
        .unwrap_err();
    let purger = cache
        .head(with_key(asking("/a.png", &[]), "aqk_shop"))
        .await
        .unwrap_err();
    let codes = [without, unknown, purger].map(code);
    assert_eq!(
        codes,
        [
            Code::Unauthenticated,
            Code::Unauthenticated,
            Code::PermissionDenied
        ]
    );
    assert_eq!(
        world.delete("/a.png", "aqk_reader").await.map_err(code),
        Err(Code::PermissionDenied)
    );
    assert!(world.delete("/a.png", "aqk_shop").await.is_ok());
    // A body that never ends.
    let open = PutRequest {
        part: Some(Putting::Open(opening("/put.png", IMAGE))),
    };
    let endless = futures::StreamExt::chain(stream::iter([open]), stream::pending());
    let mut endless = with_key(endless, "aqk_app");
    endless.set_timeout(Duration::from_millis(300));
    let late = timeout(PATIENCE, cache.put(endless)).await.unwrap().unwrap_err();
    assert!(
        matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{late}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_no_node() {
    let world = world().await;
    let snapshot = crate::wire::SnapshotRequest::default();
    let refused = LogClient::new(world.channel.clone())
        .snapshot(snapshot)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
}
