//! Orders as they come over a session, on the admin listener and on the edge listener.
//!
//! Invariant: a body that is not wanted to its end is not waited for: pingora ends a connection that is answered before its
//! request has come whole. It does not know what is ordered.

use super::body::Sender;
use super::refusal::Refusal;
use super::{Done, Entrance, Orderer, Response};
use crate::base::metrics::{Label, Outcome};
use crate::edge::request_body::SessionBody;
use crate::edge::respond::{Manner, Reply};
use crate::trace::{Trace, attribute};
use http::{HeaderMap, Method};
use pingora_core::protocols::http::ServerSession;
use std::time::Duration;

/// Where orders are taken on the admin listener.
const ORDERS: &str = "/api/v1/purge";

/// Where what came of them can be asked for, followed by a purge's id.
pub(super) const RECEIPTS: &str = "/api/v1/purges/";

/// What is answered at these places.
const ORDERS_ALLOW: &str = "OPTIONS, POST";
const RECEIPTS_ALLOW: &str = "GET, HEAD, OPTIONS";

impl Orderer {
    /// Answers what the admin listener is asked about purges; `None`: it is something else. What is said while an order
    /// comes has to be taken within `write_deadline`.
    pub(crate) async fn answer_api(
        &self,
        session: &mut ServerSession,
        write_deadline: Duration,
    ) -> Option<Response> {
        let header = session.req_header();
        let (method, headers) = (header.method.clone(), header.headers.clone());
        let path = header.uri.path();
        if path == ORDERS {
            return Some(match method {
                Method::POST => self.answer_call(session, &headers, write_deadline).await,
                _ => not_posted(&method),
            });
        }
        let id = path.strip_prefix(RECEIPTS)?;
        let receipt = match method {
            Method::GET | Method::HEAD => self.receipt(&headers, id).await,
            Method::OPTIONS => return Some(Response::options(RECEIPTS_ALLOW)),
            _ => Err(Refusal::Method(RECEIPTS_ALLOW)),
        };
        Some(Response::of(&receipt).with_place(&receipt))
    }

    async fn answer_call(
        &self,
        session: &mut ServerSession,
        headers: &HeaderMap,
        write_deadline: Duration,
    ) -> Response {
        let mut root = self.tracer.begin(headers);
        let mut body = SessionBody::new(session, u64::MAX, write_deadline);
        let done = self.call(headers, &mut &mut body, &root.trace()).await;
        let response = Response::of(&done).with_place(&done);
        root.word(attribute::HTTP_REQUEST_METHOD, "POST");
        root.word(attribute::URL_PATH, ORDERS);
        root.number(
            attribute::HTTP_RESPONSE_STATUS_CODE,
            response.status.as_u16().into(),
        );
        root.word(attribute::OUTCOME, outcome(&done).name());
        response
    }

    /// Answers an order that came to the edge listener.
    pub(crate) async fn answer_edge(
        &self,
        session: &mut ServerSession,
        entrance: Entrance,
        manner: &Manner,
        write_deadline: Duration,
        trace: &Trace,
    ) -> Reply {
        let (method, headers) = (&session.req_header().method, session.req_header().headers.clone());
        let done = match entrance {
            Entrance::NotPosted => return not_posted(method).into_reply(Outcome::Refused, manner),
            Entrance::Method { url } => self.purge(&headers, &url, trace).await,
            Entrance::Webhook { client } => {
                let mut body = SessionBody::new(session, u64::MAX, write_deadline);
                let headers = &headers;
                self.deliver(Sender { client, headers }, &mut &mut body, trace)
                    .await
            }
        };
        Response::of(&done).into_reply(outcome(&done), manner)
    }
}

fn outcome(done: &Result<Done, Refusal>) -> Outcome {
    match done {
        Ok(_) => Outcome::Purge,
        Err(_) => Outcome::Refused,
    }
}

/// Where orders are posted.
fn not_posted(method: &Method) -> Response {
    match *method {
        Method::OPTIONS => Response::options(ORDERS_ALLOW),
        _ => Response::of(&Err(Refusal::Method(ORDERS_ALLOW))),
    }
}
