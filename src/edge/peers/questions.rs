//! A question of another node, from its header to its answer.
//!
//! Invariant: it is answered by a node that knows every purge that the other knows, or refused; nothing that nodes alone say to
//! each other reaches an origin. Questions are counted apart from clients' requests, which the edge that has asked counts and
//! logs. It does not know connections.

use super::Process;
use super::answer::unserved;
use super::body::{Closing, UnderWay, body_of};
use crate::base::clock;
use crate::base::metrics::Raised;
use crate::cluster::config::Config;
use crate::cluster::hot::Temperature;
use crate::cluster::peers::label;
use crate::cluster::question::{self, Errand, Fields, Refusal};
use crate::edge::guard::Incoming;
use crate::edge::interim;
use crate::edge::lifecycle::Phase;
use crate::edge::request_id::request_id;
use crate::edge::respond::{Asked, Manner, Reply};
use crate::key::Scheme;
use crate::serve::{Answer, AskedBy, Request};
use crate::trace::{Span, attribute};
use crate::upstream::Bodiless;
use http::request::Parts;
use http::uri::Uri;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header};
use std::time::Duration;
use tonic::body::Body;

pub(super) struct Questions {
    process: Process,
    log_patience: Duration,
}

/// A question that is taken up.
struct Taken {
    fields: Fields,
    method: Method,
    uri: Uri,
    version: Version,
    scheme: Scheme,
    /// End-to-end, and of nodes nothing.
    headers: HeaderMap,
    id: HeaderValue,
}

impl Questions {
    pub(super) fn new(config: &Config, process: Process) -> Self {
        Questions {
            process,
            log_patience: config.log_patience.get(),
        }
    }

    pub(super) async fn answer(&self, question: Parts) -> Response<Body> {
        let under_way = UnderWay {
            _token: self.process.requests.token(),
            _raised: Raised::by(&self.process.metrics.cluster_peer_requests_in_flight, 1),
        };
        let mut root = self.process.tracer.begin(&question.headers);
        let answered = match self.take_up(question).await {
            Ok(taken) => self.reply(taken, &mut root).await,
            Err(refusal) => Err(refusal),
        };
        match answered {
            Ok(reply) => respond(reply, under_way),
            Err(refusal) => {
                root.fail(refusal);
                refused(refusal)
            }
        }
    }

    async fn take_up(&self, question: Parts) -> Result<Taken, Refusal> {
        let fields = Fields::read(&question.headers)?;
        let taken = Taken::of(question, fields).ok_or(Refusal::Malformed)?;
        if self.process.lifecycle.phase() == Phase::Draining {
            return Err(Refusal::Leaving);
        }
        let engine = &self.process.engine;
        // Who asks need not wait for what no lease will follow; and it may have run out meanwhile.
        self.has_lease()?;
        engine.catch_up(fields.position, self.log_patience).await?;
        self.has_lease()?;
        self.process.metrics.cluster_answers[label(fields.errand)].inc();
        Ok(taken)
    }

    fn has_lease(&self) -> Result<(), Refusal> {
        match self.process.purges.may_serve() {
            true => Ok(()),
            false => Err(Refusal::Behind),
        }
    }

    async fn reply(&self, taken: Taken, root: &mut Span) -> Result<Reply, Refusal> {
        let settings = self.process.settings.load_full();
        let manner = settings.manner_for(taken.fields.errand);
        let trace = root.trace();
        let incoming = taken.incoming(&trace);
        let reply = match settings.guard_of_peers.admit(&incoming) {
            Ok(request) => self.serve(&request, &taken, manner).await,
            Err(_) => Err(Refusal::Malformed),
        };
        taken.tell(&reply, root);
        reply.map(|reply| self.with_heat(reply, &taken.fields))
    }

    /// Who passes on clients' requests for a hot key is told so.
    fn with_heat(&self, mut reply: Reply, fields: &Fields) -> Reply {
        let copies = self.process.engine.copies();
        if fields.errand == Errand::Relay
            && let Temperature::Hot(_) = copies.temperature(&fields.key)
        {
            let hot = HeaderValue::from_static("1");
            reply.headers.insert(question::HOT, hot);
        }
        reply
    }

    async fn serve(&self, request: &Request<'_>, taken: &Taken, manner: &Manner) -> Result<Reply, Refusal> {
        let asked = Asked {
            method: request.method,
            headers: request.headers,
        };
        let engine = &self.process.engine;
        let answer = match engine.serve_at_once(request) {
            Ok(Some(served)) => return Ok(manner.reply(&asked, served)),
            // Nobody hears the hints.
            Ok(None) => engine.serve(request, &interim::channel().0).await,
            Err(error) => Err(error),
        };
        let served = match answer {
            Ok(Answer::Served(served)) => Ok(served),
            Ok(Answer::Pass(pass)) => engine.pass(pass, Bodiless).await,
            Err(error) => Err(error),
        };
        match served {
            Ok(served) => Ok(manner.reply(&asked, served)),
            Err(error) => unserved(manner, taken.fields.errand, &error),
        }
    }
}

impl Taken {
    /// `None`: it is no question for an image.
    fn of(question: Parts, fields: Fields) -> Option<Taken> {
        let Parts {
            method,
            uri,
            version,
            mut headers,
            ..
        } = question;
        let scheme = match uri.scheme_str()? {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        // The guard takes it from the authority.
        headers.remove(header::HOST);
        question::strip(&mut headers);
        let is_read = matches!(method, Method::GET | Method::HEAD);
        is_read.then(|| Taken {
            id: request_id(&headers),
            fields,
            method,
            uri,
            version,
            scheme,
            headers,
        })
    }

    fn incoming<'a>(&'a self, trace: &'a crate::trace::Trace) -> Incoming<'a> {
        let target = self.uri.path_and_query().map_or("/", |target| target.as_str());
        Incoming {
            method: &self.method,
            version: self.version,
            target: target.as_bytes(),
            authority: self.uri.authority().map(|authority| authority.as_str()),
            headers: &self.headers,
            scheme: self.scheme,
            client: Some(self.fields.client),
            id: &self.id,
            trace,
            received_at: clock::now(),
            asked_by: AskedBy::Peer {
                errand: self.fields.errand,
                key: self.fields.key,
            },
        }
    }

    fn tell(&self, reply: &Result<Reply, Refusal>, root: &mut Span) {
        root.word(attribute::HTTP_REQUEST_METHOD, attribute::method(&self.method));
        root.text(attribute::URL_PATH, self.uri.path());
        root.text(attribute::SERVER_ADDRESS, self.uri.host().unwrap_or_default());
        root.text(attribute::REQUEST_ID, self.id.to_str().unwrap_or_default());
        if let Ok(reply) = reply {
            root.number(attribute::HTTP_RESPONSE_STATUS_CODE, reply.status.as_u16().into());
        }
    }
}

fn respond(reply: Reply, under_way: UnderWay) -> Response<Body> {
    let Reply {
        status,
        headers,
        payload,
        ..
    } = reply;
    let closing = match status {
        StatusCode::OK => Closing::Digest,
        // The digest is the whole's.
        _ => Closing::Nothing,
    };
    let mut response = Response::new(body_of(payload, closing, under_way));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn refused(refusal: Refusal) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = refusal.status();
    refusal.write(response.headers_mut());
    response
}
