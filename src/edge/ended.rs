//! A request that has been answered, as metrics, log and trace tell it.
//!
//! Invariant: every request is told exactly once. It does not know how it was answered.

use super::access_log::{Line, Parameters, Transforms};
use super::respond::Facts;
use super::server::{Edge, client};
use crate::base::clock::Timestamp;
use crate::base::metrics::{Label, Outcome, StatusClass};
use crate::http::trace_context::TraceId;
use crate::serve::route::Route;
use crate::trace::{Span, attribute};
use http::{HeaderValue, StatusCode, Version, header};
use pingora_core::protocols::http::ServerSession;
use std::net::IpAddr;
use std::time::Duration;

pub(super) struct Ended {
    pub(super) received_at: Timestamp,
    pub(super) id: HeaderValue,
    pub(super) outcome: Outcome,
    pub(super) status: StatusCode,
    /// Of the body, as sent.
    pub(super) bytes: u64,
    /// From the request's header to the answer's; `None` where that was never sent.
    pub(super) first_byte: Option<Duration>,
    /// From the request's header to the answer's end; `None` where that header never came whole.
    pub(super) duration: Option<Duration>,
    pub(super) facts: Facts,
    /// `None`: it is not recorded.
    pub(super) trace_id: Option<TraceId>,
}

impl Edge {
    pub(super) fn tell(&self, session: &ServerSession, ended: &Ended) {
        self.count(ended);
        self.log(session, ended);
    }

    pub(super) fn count(&self, ended: &Ended) {
        let of_route = match &ended.facts.route {
            Some(route) => &route.metrics,
            None => self.metrics.of_no_route(),
        };
        of_route.requests[(ended.outcome, StatusClass::of(ended.status.as_u16()))].inc();
        if let Some(reason) = ended.facts.rejected {
            self.metrics.rejected_requests[reason].inc();
        }
        of_route.response_body_bytes[ended.outcome].inc_by(ended.bytes);
        if let Some(duration) = ended.duration {
            self.metrics.request_duration[ended.outcome].observe(duration.as_secs_f64());
        }
        if let Some(first_byte) = ended.first_byte {
            self.metrics.request_first_byte[ended.outcome].observe(first_byte.as_secs_f64());
        }
    }

    pub(super) fn log(&self, session: &ServerSession, ended: &Ended) {
        if !self.log.is_wanted() {
            return;
        }
        let header = session.req_header();
        let sent = |name| header.headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
        let host = match sent(header::HOST) {
            b"" => header.uri.host().unwrap_or("").as_bytes(),
            host => host,
        };
        self.log.record(&Line {
            version: header.version,
            method: header.method.as_str().as_bytes(),
            host,
            target: header.raw_path(),
            referrer: sent(header::REFERER),
            user_agent: sent(header::USER_AGENT),
            ..ended.line(client(session))
        });
    }

    /// A request whose header never came whole: nothing of it is told.
    pub(super) fn log_unread(&self, session: &ServerSession, ended: &Ended) {
        if self.log.is_wanted() {
            self.log.record(&ended.line(client(session)));
        }
    }
}

impl Ended {
    /// What does not stand in the request's header.
    fn line(&self, client: Option<IpAddr>) -> Line<'_> {
        let route = self.facts.route.as_deref();
        Line {
            time: self.received_at,
            client,
            version: Version::HTTP_11,
            method: b"",
            host: b"",
            target: b"",
            status: self.status.as_u16(),
            bytes: self.bytes,
            outcome: self.outcome,
            duration: self.duration.unwrap_or_default(),
            first_byte: self.first_byte,
            age: self.facts.age,
            origin_time: self.facts.origin_time,
            route: route.map_or(b"", |route| route.name.as_bytes()),
            request_id: self.id.as_bytes(),
            referrer: b"",
            user_agent: b"",
            trace_id: self.trace_id.map(|id| *id.as_bytes()),
            // What was refused may have been something else than what its name says.
            parameters: route
                .filter(|_| self.outcome != Outcome::Refused)
                .map_or(Parameters::NONE, parameters),
        }
    }
}

fn parameters(route: &Route) -> Parameters<'_> {
    let version = route.query.version_parameter.as_deref();
    Parameters {
        transforms: match route.transform {
            Some(_) => Transforms::Taken,
            None => Transforms::Left,
        },
        version: version.unwrap_or_default().as_bytes(),
    }
}

impl Ended {
    /// Ends the root of the request's trace.
    pub(super) fn tell_trace(&self, session: &ServerSession, mut root: Span) {
        let header = session.req_header();
        let host = header
            .headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .or(header.uri.host())
            .unwrap_or_default();
        root.word(attribute::HTTP_REQUEST_METHOD, attribute::method(&header.method));
        root.text(attribute::URL_PATH, header.uri.path());
        root.text(attribute::SERVER_ADDRESS, attribute::host_and_port(host).0);
        root.number(attribute::HTTP_RESPONSE_STATUS_CODE, self.status.as_u16().into());
        root.word(attribute::OUTCOME, self.outcome.name());
        root.text(attribute::REQUEST_ID, self.id.to_str().unwrap_or_default());
        if let Some(route) = &self.facts.route {
            root.text(attribute::ROUTE, &route.name);
        }
        if self.status.is_server_error() {
            root.fail(self.status);
        }
    }
}
