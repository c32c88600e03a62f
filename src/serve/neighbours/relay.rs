//! A client's request that another node answers in this one's place: its answer goes on as it is.
//!
//! Invariant: what a client hears is what the owner would have told it; when none of the owners answers, this node does. An
//! answer that breaks off is one: nobody else is asked. It does not know what owners do.

use super::fill::{FromPeer, length};
use super::{Elsewhere, Lease, Neighbours};
use crate::base::clock;
use crate::base::metrics::{ForwardResult, Outcome};
use crate::cluster::load::Underway;
use crate::cluster::peers::{PeerBody, PeerError};
use crate::cluster::question::{self, Errand};
use crate::http::cache_status::{CacheStatus, Collapsed, Stored, Why};
use crate::http::hop::{X_REQUEST_ID, strip_hop_by_hop};
use crate::http::trace_context;
use crate::serve::body::Body;
use crate::serve::copies::Home;
use crate::serve::route::Versioning;
use crate::serve::served::{Head, PassedHead, Served};
use crate::serve::trip::Trip;
use crate::serve::{AskedBy, Engine, ServeError};
use crate::upstream::{Framing, OriginBody, OriginError};
use http::{Request, Response};

impl Engine {
    /// The answer of another node; `None` where this one is to serve.
    ///
    /// # Errors
    /// When the answer broke off before anything of it came.
    pub(in crate::serve) async fn relayed(
        &self,
        trip: &Trip<'_>,
        lease: Lease,
    ) -> Result<Option<Served>, ServeError> {
        let Some((neighbours, elsewhere, question)) = self.relay(trip, lease) else {
            return Ok(None);
        };
        let (began, copies) = (clock::monotonic(), &self.fills.copies);
        for position in &elsewhere.order {
            let owner = elsewhere.view.ring.member(*position);
            let under_way = elsewhere.view.loads.begin(*position);
            match neighbours.cluster.peers().ask(owner, question.clone()).await {
                Ok(answer) => {
                    if answer.headers().contains_key(question::HOT) {
                        copies.heard_hot(&Home::by(trip.target.key.name(), trip.route));
                    }
                    self.metrics.cluster_forwards[elsewhere.result(*position)].inc();
                    return Ok(Some(Served {
                        origin_time: Some(clock::monotonic() - began),
                        ..trip.of_peer(answer, under_way)
                    }));
                }
                // The next would have the origin cut another body short.
                Err(PeerError::BrokenOff(reason)) => {
                    let reason = reason.into();
                    return Err(OriginError::Reset { reason }.into());
                }
                Err(error) => neighbours.tell(owner, &error),
            }
        }
        self.metrics.cluster_forwards[ForwardResult::Local].inc();
        Ok(None)
    }

    /// Who is to be asked, and what.
    fn relay(&self, trip: &Trip<'_>, lease: Lease) -> Option<(&Neighbours, Elsewhere, Request<()>)> {
        let neighbours = self.fills.neighbours.as_ref()?;
        let is_here = lease == Lease::Held && self.fills.copies.is_hot(&trip.target.key.name());
        if trip.request.asked_by != AskedBy::Client || is_here {
            return None;
        }
        let elsewhere = neighbours.elsewhere(trip, lease)?;
        let question = trip.question_to_owner(neighbours)?;
        Some((neighbours, elsewhere, question))
    }
}

impl Trip<'_> {
    /// As the client has asked.
    fn question_to_owner(&self, neighbours: &Neighbours) -> Option<Request<()>> {
        let request = self.request;
        let mut headers = self.headers.clone().into_owned();
        strip_hop_by_hop(&mut headers);
        headers.insert(X_REQUEST_ID, request.id.clone());
        trace_context::pass_on(&mut headers);
        neighbours.address(
            &mut headers,
            Errand::Relay,
            request.client,
            self.target.key.name(),
        );
        let query = request.query.map_or(String::new(), |query| format!("?{query}"));
        let url = format!(
            "{}://{}{}{query}",
            request.scheme.name(),
            request.host,
            request.path
        );
        let question = Request::builder().method(request.method.clone()).uri(url);
        let mut question = question.body(()).ok()?;
        *question.headers_mut() = headers;
        Some(question)
    }

    fn of_peer(&self, answer: Response<PeerBody>, under_way: Underway) -> Served {
        let (parts, body) = answer.into_parts();
        let mut headers = parts.headers;
        question::strip(&mut headers);
        let status = parts.status;
        Served {
            outcome: Outcome::Peer,
            cache_status: CacheStatus::Forward {
                why: Why::UriMiss,
                status: Some(status.as_u16()),
                stored: Stored::No,
                collapsed: Collapsed::No,
                ttl: None,
                detail: Some("peer"),
            },
            age: None,
            origin_time: None,
            head: Head::Relayed(PassedHead {
                status,
                length: length(&headers),
                headers,
            }),
            body: Body::Origin(OriginBody::from_elsewhere(
                FromPeer::counted(body, under_way),
                Framing::Framed,
            )),
            route: self.route.clone(),
            versioning: Versioning::Plain,
            rendition: None,
        }
    }
}
