//! How a question of another node is answered: as the edge's own clients are, or as an origin answers a cache.
//!
//! Invariant: what an origin has answered, how it has failed, and that this node does not answer are told apart; of what nodes
//! alone say to each other nothing comes from an origin. It does not know how answers travel.

use crate::cluster::question::{self, Errand, Failure, Refusal};
use crate::edge::respond::{Manner, Reply};
use crate::serve::{FlightFailure, Head, ServeError, Served, Unserved};
use crate::upstream::OriginError;
use http::{HeaderMap, HeaderValue, StatusCode, header};

/// What no answer could be had for comes to, in another node's eyes.
enum Ending {
    /// It would be the same anywhere.
    Failed(Failure),
    /// Another node may do better.
    Refused(Refusal),
}

/// A served response, for a cache that takes it as the origin's: its age, by which purges it is known, and its body's digest
/// where that is known before the body is sent.
pub(in crate::edge) fn as_origin(served: &Served, headers: &mut HeaderMap) {
    question::strip(headers);
    if let Some(stamp) = served.head.stamp_for_others() {
        question::write_stamp(headers, stamp);
    }
    if served.head.is_too_old() {
        question::write_too_old(headers);
    }
    if served.head.is_unframed() {
        question::write_unframed(headers);
    }
    if let Head::Stored(entry) = &served.head {
        question::write_digest(headers, &entry.body.digest);
    }
    if let Some(age) = served.age {
        question::write_age(headers, age);
        // RFC 9111 section 4.2.3: it is never said to be younger than it is.
        let seconds = age.as_secs() + u64::from(age.subsec_nanos() > 0);
        headers.insert(header::AGE, HeaderValue::from(seconds));
    }
}

/// A request that no response could be had for.
pub(super) fn unserved(manner: &Manner, errand: Errand, unserved: &Unserved) -> Result<Reply, Refusal> {
    match (ending_of(&unserved.error), errand) {
        (Ending::Failed(failure), _) => {
            let mut reply = manner.refuse(unserved);
            failure.write(&mut reply.headers);
            Ok(reply)
        }
        // What is wrong with the request, or has no room, is told to the client as it is.
        (Ending::Refused(refusal), Errand::Relay)
            if refusal != Refusal::Gone && !matches!(unserved.error, ServeError::Misdirected) =>
        {
            Ok(manner.refuse(unserved))
        }
        (Ending::Refused(refusal), _) => Err(refusal),
    }
}

fn ending_of(error: &ServeError) -> Ending {
    use Ending::{Failed, Refused};
    match error {
        ServeError::Misdirected
        | ServeError::NoRoute
        | ServeError::Reserved
        | ServeError::Url(_)
        | ServeError::Spec(_)
        | ServeError::Variant(_) => Refused(Refusal::Unroutable),
        ServeError::OnlyIfCached => Refused(Refusal::Absent),
        ServeError::Overloaded(_) => Refused(Refusal::Overloaded),
        ServeError::Source(_) => Refused(Refusal::Gone),
        ServeError::Origin(error) => of_origin(error),
        ServeError::Flight(FlightFailure::Origin(error)) => of_origin(error),
        ServeError::Flight(FlightFailure::Deadline) => Failed(Failure::Late),
        ServeError::Flight(FlightFailure::Abandoned | FlightFailure::Overtaken | FlightFailure::PartGone) => {
            Refused(Refusal::Gone)
        }
    }
}

/// A request that could not be sent on is the request's fault.
fn of_origin(error: &OriginError) -> Ending {
    let status = error.status();
    if status.is_client_error() {
        return Ending::Refused(Refusal::Unroutable);
    }
    Ending::Failed(match status {
        _ if error.is_disconnection() => Failure::Disconnected,
        StatusCode::GATEWAY_TIMEOUT => Failure::Late,
        StatusCode::SERVICE_UNAVAILABLE => Failure::Busy,
        _ => Failure::Unusable,
    })
}
