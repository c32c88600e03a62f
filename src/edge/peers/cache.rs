//! The gRPC service `Cache`: the cache for programs in whatever language.
//!
//! 1. a key is shown, of the scope `cache`, and a call takes one of the places there are;
//! 2. `Get` and `Head` are answered by the engine as a client's request is;
//! 3. `Put` hands a response in, which is judged and stored as an origin's ([`crate::serve::putting`]);
//! 4. `Delete` is an order of a purge, `Watch` tells of purges as they are applied.
//!
//! Invariant: no call does what a client, an origin or an order could not; each ends by its own deadline or the limit, and a body
//! that breaks off ends in an error. It does not know connections.

mod call;
mod get;
mod put;
mod watch;

use super::Process;
use super::incoming::Arrived;
use crate::base::epoch::PurgeIndex;
use crate::cluster::config::Calls;
use crate::edge::purging::{Credential, Done, Refused};
use crate::edge::settings::{InForce, Settings};
use crate::purge::Purges;
use crate::purge::receipt::State;
use crate::serve::Engine;
use crate::wire::cache_server::{Cache, CacheServer};
use crate::wire::{
    DeleteRequest, DeleteResponse, GetRequest, GetResponse, Header, PutRequest, PutResponse, WatchRequest,
    WatchResponse,
};
use call::Call;
use futures::stream::BoxStream;
use http::{HeaderMap, Method, StatusCode};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tonic::{Code, Extensions, Request, Response, Status, Streaming};

/// Where it is.
const PATH: &str = "/aquatint.v1.Cache/";

/// Answers programs.
#[derive(Clone)]
pub(super) struct CacheService(Arc<Inner>);

struct Inner {
    engine: Arc<Engine>,
    settings: InForce,
    limits: Calls,
    /// Every call under way holds a token of it, but for those of who watches.
    requests: TaskTracker,
    /// A permit for each call that may be under way.
    calls: Arc<Semaphore>,
    /// A permit for each who may watch.
    watchers: Arc<Semaphore>,
}

/// Whether a path is one of its calls.
pub(super) fn is_its(path: &str) -> bool {
    path.starts_with(PATH)
}

/// Who calls, for the origin to be told.
fn client(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get::<Arrived>()?.address
}

impl CacheService {
    pub(super) fn server(process: &Process, limits: &Calls) -> CacheServer<Self> {
        let service = CacheService(Arc::new(Inner {
            engine: process.engine.clone(),
            settings: process.settings.clone(),
            requests: process.requests.clone(),
            calls: Arc::new(Semaphore::new(limits.under_way_max)),
            watchers: Arc::new(Semaphore::new(limits.watchers_max)),
            limits: limits.clone(),
        }));
        let message_bytes_max = limits.message_bytes_max.as_usize();
        CacheServer::new(service).max_decoding_message_size(message_bytes_max)
    }

    /// Lets a call in that shows a key of the scope `cache`.
    fn admit(&self, headers: &HeaderMap, places: &Arc<Semaphore>) -> Result<Call, Status> {
        let call = self.begin(headers, places)?;
        may_use(&call.settings, headers)?;
        Ok(call)
    }

    fn begin(&self, headers: &HeaderMap, places: &Arc<Semaphore>) -> Result<Call, Status> {
        let inner = &self.0;
        let place = places.clone().try_acquire_owned();
        let place = place.map_err(|_| Status::resource_exhausted("as many calls as may be are under way"))?;
        let (settings, token) = (inner.settings.load_full(), inner.requests.token());
        Ok(Call::begin(
            headers,
            place,
            token,
            settings,
            inner.limits.deadline.get(),
        ))
    }

    fn purges(&self) -> Purges {
        self.0.engine.purges().clone()
    }
}

fn may_use(settings: &Settings, headers: &HeaderMap) -> Result<(), Status> {
    match settings.orderer.credential(headers) {
        Credential::Known(caller) if caller.may_use_cache() => Ok(()),
        Credential::Known(_) => Err(Status::permission_denied("the key lacks the scope cache")),
        Credential::Unknown => Err(Status::unauthenticated("the key is none of purge.keys")),
        Credential::Absent => Err(Status::unauthenticated(
            "a key is needed: authorization: Bearer aqk_..",
        )),
    }
}

#[tonic::async_trait]
impl Cache for CacheService {
    type GetStream = BoxStream<'static, Result<GetResponse, Status>>;
    type WatchStream = BoxStream<'static, Result<WatchResponse, Status>>;

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Self::GetStream>, Status> {
        let call = self.admit(request.metadata().as_ref(), &self.0.calls)?;
        let client = client(request.extensions());
        let answered = get::answer(&self.0.engine, &call, &Method::GET, client, request.into_inner());
        let reply = call.within(answered).await?;
        Ok(Response::new(get::streamed(reply, call)))
    }

    async fn head(&self, request: Request<GetRequest>) -> Result<Response<Header>, Status> {
        let call = self.admit(request.metadata().as_ref(), &self.0.calls)?;
        let client = client(request.extensions());
        let answered = get::answer(&self.0.engine, &call, &Method::HEAD, client, request.into_inner());
        let reply = call.within(answered).await?;
        Ok(Response::new(get::header_of(&reply)))
    }

    async fn put(&self, request: Request<Streaming<PutRequest>>) -> Result<Response<PutResponse>, Status> {
        let call = self.admit(request.metadata().as_ref(), &self.0.calls)?;
        let client = client(request.extensions());
        let (said, _, stream) = request.into_parts();
        let putting = put::put(&self.0.engine, &call, client, &said, stream);
        let digest = call.within(putting).await?;
        Ok(Response::new(PutResponse { digest }))
    }

    /// Whether the key may purge this, the order itself finds out.
    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        let headers: HeaderMap = request.metadata().as_ref().clone();
        let call = self.begin(&headers, &self.0.calls)?;
        let orderer = &call.settings.orderer;
        let url = request.into_inner().url;
        let ordering = async { orderer.purge_exact(&headers, &url).await.map_err(of_refused) };
        let index = index_of(call.within(ordering).await?)?;
        Ok(Response::new(DeleteResponse {
            index: index.number(),
        }))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let headers: &HeaderMap = request.metadata().as_ref();
        let call = self.admit(headers, &self.0.watchers)?.unending(headers);
        let from = PurgeIndex::from_number(request.into_inner().from);
        let watching = watch::from(self.purges(), from, call)?;
        Ok(Response::new(watching))
    }
}

/// Of a purge that is acknowledged.
fn index_of(done: Done) -> Result<PurgeIndex, Status> {
    match done {
        Done::Receipt(receipt) if receipt.state == State::Applied => receipt
            .index
            .ok_or_else(|| Status::internal("the receipt names no index")),
        Done::Receipt(receipt) => Err(Status::unavailable(format!(
            "the purge {} is not known to be applied everywhere; it may yet be",
            receipt.purge_id
        ))),
        Done::DryRun { .. } => Err(Status::internal("no dry run was asked for")),
    }
}

fn of_refused(refused: Refused) -> Status {
    Status::new(code_of(refused.status), refused.message)
}

/// The code for what HTTP has a status for.
fn code_of(status: StatusCode) -> Code {
    match status.as_u16() {
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 | 422 => Code::NotFound,
        409 => Code::Aborted,
        413 | 429 | 507 => Code::ResourceExhausted,
        501 => Code::Unimplemented,
        504 => Code::DeadlineExceeded,
        502 | 503 => Code::Unavailable,
        400..=499 => Code::InvalidArgument,
        _ => Code::Internal,
    }
}

#[cfg(test)]
#[path = "cache/tests.rs"]
mod tests;
