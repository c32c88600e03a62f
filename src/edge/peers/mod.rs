//! The cluster listener: other nodes' questions, and gRPC, on one HTTP/2 server.
//!
//! 1. a connection proves that it is of this cluster ([`incoming`]), or is closed; a program reaches the service `Cache` alone;
//! 2. what says its errand is a question for an image ([`questions`]), all else is for a gRPC service ([`services`]);
//! 3. a question is answered by the engine, as the edge answers a client or as an origin would ([`answer`], [`body`]).
//!
//! Invariant: nothing is read from who has not proven to be of this cluster. It does not know who is in the cluster.

mod answer;
#[cfg(test)]
mod asking_tests;
mod body;
mod cache;
mod incoming;
mod log;
pub(crate) mod log_client;
mod log_words;
mod node;
mod questions;
mod services;
#[cfg(test)]
mod tests;
mod unproven;

pub(super) use answer::as_origin;

use super::lifecycle::Lifecycle;
use super::settings::InForce;
use crate::base::metrics::Metrics;
use crate::cluster::config::{Config, Windows};
use crate::cluster::identity::{Bearer, Identity};
use crate::cluster::question::ERRAND;
use crate::purge::Purges;
use crate::serve::Engine;
use crate::trace::Tracer;
use http::{Request, Response};
use incoming::{Arrived, Gate};
use questions::Questions;
use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::service::Routes;
use tonic::transport::Server;

/// What the listener needs of the rest of the process.
pub(crate) struct Process {
    pub(crate) engine: Arc<Engine>,
    pub(crate) purges: Purges,
    pub(crate) settings: InForce,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tracer: Tracer,
    /// Every question under way holds a token of it.
    pub(crate) requests: TaskTracker,
}

/// The server that other nodes talk to.
pub(crate) struct PeerServer {
    gate: Gate,
    front: Front,
    streams_max: u32,
    windows: Windows,
    header_bytes_max: u32,
    keepalive_interval: Duration,
    keepalive_deadline: Duration,
}

impl PeerServer {
    pub(crate) fn new(config: &Config, identity: &Identity, process: Process) -> Self {
        PeerServer {
            gate: Gate::new(config, identity, process.metrics.clone()),
            front: Front {
                services: services::of(config, &process),
                questions: Arc::new(Questions::new(config, process)),
            },
            streams_max: config.streams_max,
            windows: config.windows_of_questions(),
            header_bytes_max: u32::try_from(config.header_bytes_max.bytes()).unwrap_or(u32::MAX),
            keepalive_interval: config.keepalive_interval.get(),
            keepalive_deadline: config.keepalive_deadline.get(),
        }
    }

    /// Answers until `stop` says so, and then until what is under way has ended.
    pub(crate) async fn serve(self, socket: TcpListener, mut stop: watch::Receiver<bool>) {
        if let Err(error) = self.serve_until(socket, &mut stop).await {
            tracing::error!(%error, "the cluster listener has failed");
        }
    }

    async fn serve_until(self, socket: TcpListener, stop: &mut watch::Receiver<bool>) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let socket = tokio::net::TcpListener::from_std(socket)?;
        let server = Server::builder()
            .initial_stream_window_size(self.windows.stream)
            .initial_connection_window_size(self.windows.connection)
            .max_concurrent_streams(self.streams_max)
            .http2_max_header_list_size(self.header_bytes_max)
            .http2_keepalive_interval(Some(self.keepalive_interval))
            .http2_keepalive_timeout(Some(self.keepalive_deadline));
        let told = async {
            // Who is to tell has gone: that is an end, too.
            stop.wait_for(|stop| *stop).await.ok();
        };
        let incoming = self.gate.open(socket);
        let serving = server.serve_with_incoming_shutdown(self.front, incoming, told);
        serving.await.map_err(io::Error::other)
    }
}

/// Where a request goes.
#[derive(Clone)]
struct Front {
    services: Routes,
    questions: Arc<Questions>,
}

impl Service<Request<Body>> for Front {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.services, context)
    }

    /// By the field and not by the path: an image's may be that of a gRPC service.
    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_question = request.headers().contains_key(ERRAND);
        if !is_node(&request) && (is_question || !cache::is_its(request.uri().path())) {
            return Box::pin(async { Ok(for_nodes_alone()) });
        }
        if is_question {
            let questions = self.questions.clone();
            return Box::pin(async move { Ok(questions.answer(request.into_parts().0).await) });
        }
        Box::pin(self.services.call(request))
    }
}

fn is_node(request: &Request<Body>) -> bool {
    let arrived = request.extensions().get::<Arrived>();
    arrived.is_some_and(|arrived| arrived.bearer == Bearer::Node)
}

fn for_nodes_alone() -> Response<Body> {
    Status::permission_denied("the certificate is a program's, and this is for nodes").into_http()
}
