//! Purges as a shop orders them: by signed webhook, by the API, and by `PURGE`.
//!
//! Invariant: only a receipt with status 200 that says `applied` is taken for an acknowledgement. It does not know what is
//! acknowledged by it.

use crate::random::Random;
use crate::wire::{Answer, Connection, Request};
use crate::world::{Scope, World, host, tag};
use aquatint::base::clock;
use serde_json::{Value, json};
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// A key, and the hash that the edge's configuration has of it.
pub(crate) const KEY: &str = "chaos-key-of-the-checker-0123456789abcdef";
pub(crate) const WEBHOOK_SECRET: &str = "whsec_Y2hlY2tlci1vZi10aGUtcHVyZ2UtZ3VhcmFudGVl";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Soft,
    Hard,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Webhook,
    Api,
    /// The method `PURGE`, for a single URL.
    Method,
}

#[derive(Debug)]
pub(crate) struct Purge {
    pub(crate) number: u64,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) mode: Mode,
    pub(crate) way: Way,
    /// The order as JSON; for `PURGE`, what it would be.
    order: Value,
    /// Under which repeated attempts are one.
    id: String,
}

/// Where a node listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) edge: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// What came of an order.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The receipt.
    Applied(String),
    /// Answered, and no acknowledgement.
    Refused(String),
    /// No answer: it may have been carried out.
    Lost(String),
}

impl Way {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Way::Webhook => "webhook",
            Way::Api => "api",
            Way::Method => "PURGE",
        }
    }
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Soft => "soft",
            Mode::Hard => "hard",
        }
    }
}

impl Scope {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Scope::Url(_) => "url",
            Scope::Exact(_) => "exact",
            Scope::Prefix { .. } => "prefix",
            Scope::Tag(_) => "tag",
            Scope::Host(_) => "host",
            Scope::All => "all",
        }
    }
}

impl fmt::Display for Purge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Purge {
            number,
            mode,
            way,
            order,
            id,
            ..
        } = self;
        write!(
            f,
            "{number} ({} by {}, id {id}: {order})",
            mode.name(),
            way.name()
        )
    }
}

impl Purge {
    /// `scopes` are all of one kind.
    pub(crate) fn new(
        world: &World,
        number: u64,
        scopes: Vec<Scope>,
        mode: Mode,
        way: Way,
        random: &mut Random,
    ) -> Purge {
        Purge {
            order: order(world, &scopes, mode, random),
            id: format!("msg_{:016x}_{number}", random.number()),
            number,
            scopes,
            mode,
            way,
        }
    }

    /// One attempt.
    pub(crate) fn submit(&self, world: &World, node: &Node) -> Outcome {
        let (address, request) = match self.way {
            Way::Webhook => (node.edge, self.webhook()),
            Way::Api => (node.admin, self.api_call()),
            Way::Method => (node.edge, self.method(world)),
        };
        match asked(address, &request) {
            Ok(answer) => judged(&answer),
            Err(error) => Outcome::Lost(error.to_string()),
        }
    }

    fn webhook(&self) -> Request {
        let now = clock::now().as_secs();
        let at = humantime::format_rfc3339_seconds(clock::now().as_system_time()).to_string();
        let body = json!({"type": "purge", "timestamp": at, "data": self.order}).to_string();
        let signer = standardwebhooks::Webhook::new(WEBHOOK_SECRET).expect("the secret is base64");
        let signature = signer.sign(&self.id, now as i64, body.as_bytes());
        Request::new("POST", &host(0), "/.aquatint/webhooks/purge")
            .with("content-type", "application/json")
            .with("webhook-id", &*self.id)
            .with("webhook-timestamp", now.to_string())
            .with(
                "webhook-signature",
                signature.expect("id, time and body can be signed"),
            )
            .with_body(body)
    }

    fn api_call(&self) -> Request {
        Request::new("POST", "admin.test", "/api/v1/purge")
            .with("content-type", "application/json")
            .with("authorization", format!("Bearer {KEY}"))
            .with("idempotency-key", &*self.id)
            .with_body(self.order.to_string())
    }

    fn method(&self, world: &World) -> Request {
        let Some(Scope::Url(url)) = self.scopes.first() else {
            panic!("PURGE is for a URL: {self}");
        };
        let url = &world.urls[*url];
        let request =
            Request::new("PURGE", &url.host, &url.target).with("authorization", format!("Bearer {KEY}"));
        match self.mode {
            Mode::Hard => request,
            Mode::Soft => request.with("fastly-soft-purge", "1"),
        }
    }
}

fn asked(address: SocketAddr, request: &Request) -> io::Result<Answer> {
    Connection::open(address)?.ask(request)
}

fn judged(answer: &Answer) -> Outcome {
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let receipt: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match (answer.status, receipt["state"].as_str()) {
        (200, Some("applied")) => Outcome::Applied(text),
        (status, _) => Outcome::Refused(format!("{status} {text}")),
    }
}

fn order(world: &World, scopes: &[Scope], mode: Mode, random: &mut Random) -> Value {
    let texts: Vec<String> = scopes.iter().map(|scope| text(world, scope, random)).collect();
    let mut order = match scopes[0] {
        Scope::Url(_) => json!({"files": texts}),
        Scope::Exact(_) => json!({"files": texts, "exact": true}),
        Scope::Prefix { .. } => json!({"prefixes": texts}),
        Scope::Tag(_) => json!({"tags": texts}),
        Scope::Host(_) => json!({"hosts": texts}),
        Scope::All => json!({"purge_everything": true}),
    };
    if mode == Mode::Soft {
        order["soft"] = true.into();
    }
    order
}

/// Spelled in one of the ways that mean the same.
fn text(world: &World, scope: &Scope, random: &mut Random) -> String {
    match *scope {
        Scope::Url(url) | Scope::Exact(url) => {
            let url = &world.urls[url];
            let scheme = random.pick(&["http", "https"]);
            format!("{scheme}://{}{}", url.host, url.target)
        }
        Scope::Prefix {
            host: of,
            directory,
            subdirectory,
        } => {
            let end = subdirectory.map_or(String::new(), |of| format!("/e{of}"));
            let slash = random.pick(&["", "/"]);
            format!("{}/d{directory}{end}{slash}", host(of))
        }
        Scope::Tag(of) if random.permille(500) => tag(of).to_uppercase(),
        Scope::Tag(of) => tag(of),
        Scope::Host(of) => host(of),
        Scope::All => String::new(),
    }
}
