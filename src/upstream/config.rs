//! Where images come from and how patient the edge is with that place.

use super::place;
use crate::base::breaker::Policy;
use crate::base::problem::Problems;
use crate::base::units::{ByteSize, Span};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One origin: exactly one of `url`, `addresses` and `directory` says where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `http://host[:port][/base]` or `https://..`: one address, its scheme and a base path put before every request's.
    pub url: Option<String>,
    /// Several addresses of one origin.
    pub addresses: Vec<Address>,
    /// A directory of files.
    pub directory: Option<PathBuf>,
    pub tls: Tls,
    pub http: HttpVersion,
    /// The Host the origin sees.
    pub host: Host,
    pub connect_deadline: Span,
    /// From the request's last byte to the response's header.
    pub first_byte_deadline: Span,
    /// How long a request that expects a 100 waits for it before its body is sent all the same.
    pub expect_wait: Span,
    /// From one part of the body to the next.
    pub read_deadline: Span,
    /// All waiting of the whole exchange, connecting to last byte. The time that whoever reads the body takes between
    /// its parts does not count, so that a slow client's download is not cut; that a request's body takes does.
    pub total_deadline: Span,
    /// Attempts after the first, only for a connection that died before the origin can have seen the request.
    pub retries: u32,
    /// Requests under way at once; beyond it they are refused.
    pub concurrency_max: usize,
    /// Idle connections kept for reuse.
    pub idle_connections_max: usize,
    pub idle_connection_lifetime: Span,
    /// Bytes of a response's header.
    pub header_bytes_max: ByteSize,
    pub breaker: Breaker,
    pub health: Health,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// `host:port`.
    pub address: String,
    /// Share of requests, relative to the other addresses.
    #[serde(default = "one")]
    pub weight: u32,
}

fn one() -> u32 {
    1
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Speak TLS to `addresses`; a `url` says so by its scheme.
    pub enabled: bool,
    /// A PEM file of trusted roots instead of the system's.
    pub ca: Option<PathBuf>,
    /// The name the certificate must carry, where it is not the address's.
    pub server_name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HttpVersion {
    /// HTTP/2 where TLS negotiates it, HTTP/1.1 otherwise.
    #[serde(rename = "auto")]
    Auto,
    #[serde(rename = "1.1")]
    Http1,
    /// HTTP/2, in clear text too.
    #[serde(rename = "2")]
    Http2,
}

/// The Host header of a request to the origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Host {
    /// The origin's own name.
    Origin,
    /// What the client asked for.
    Client,
    /// A fixed name.
    #[serde(untagged)]
    Fixed(String),
}

/// Stops asking an address that keeps failing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// Failures in a row that open it; 0 never does.
    pub failures: u32,
    /// How long it stays open before one request tries again.
    pub open_for: Span,
}

impl Breaker {
    pub(super) fn policy(&self) -> Policy {
        Policy {
            failures: self.failures,
            open_for: self.open_for.get(),
        }
    }
}

/// Asks every address for a path now and then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// Without it no address is probed.
    pub path: Option<String>,
    pub interval: Span,
    /// Failed probes in a row that take an address out.
    pub failures: u32,
    /// Passed probes in a row that bring it back.
    pub passes: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker {
            failures: 10,
            open_for: Span::secs(5),
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Health {
            path: None,
            interval: Span::secs(5),
            failures: 3,
            passes: 2,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            url: None,
            addresses: Vec::new(),
            directory: None,
            tls: Tls::default(),
            http: HttpVersion::Auto,
            host: Host::Origin,
            connect_deadline: Span::secs(3),
            first_byte_deadline: Span::secs(15),
            expect_wait: Span::secs(1),
            read_deadline: Span::secs(15),
            total_deadline: Span::secs(120),
            retries: 2,
            concurrency_max: 256,
            idle_connections_max: 128,
            idle_connection_lifetime: Span::secs(60),
            header_bytes_max: ByteSize::kib(64),
            breaker: Breaker::default(),
            health: Health::default(),
        }
    }
}

impl Config {
    pub fn validate(&self, problems: &mut Problems) {
        self.validate_place(problems);
        for (key, span) in [
            ("connect_deadline", self.connect_deadline),
            ("first_byte_deadline", self.first_byte_deadline),
            ("expect_wait", self.expect_wait),
            ("read_deadline", self.read_deadline),
            ("total_deadline", self.total_deadline),
            ("idle_connection_lifetime", self.idle_connection_lifetime),
            ("breaker.open_for", self.breaker.open_for),
            ("health.interval", self.health.interval),
        ] {
            problems.check(key, span, Span::millis(10)..=Span::days(1));
        }
        problems.check("retries", self.retries, 0..=10);
        problems.check("concurrency_max", self.concurrency_max, 1..=65_536);
        problems.check("idle_connections_max", self.idle_connections_max, 0..=65_536);
        problems.check(
            "header_bytes_max",
            self.header_bytes_max,
            ByteSize::kib(1)..=ByteSize::mib(1),
        );
        problems.check("health.failures", self.health.failures, 1..=1000);
        problems.check("health.passes", self.health.passes, 1..=1000);
    }

    fn validate_place(&self, problems: &mut Problems) {
        let places = [
            self.url.is_some(),
            !self.addresses.is_empty(),
            self.directory.is_some(),
        ];
        if places.iter().filter(|said| **said).count() != 1 {
            let said = if places.contains(&true) { "several" } else { "none" };
            problems.refuse("", said, "exactly one of url, addresses and directory");
        }
        self.validate_url(problems);
        for (index, address) in self.addresses.iter().enumerate() {
            problems.below(format!("addresses[{index}]"), |p| {
                p.check("weight", address.weight, 1..=1000);
                if place::parse_address(&address.address).is_err() {
                    p.refuse("address", &address.address, "host:port");
                }
            });
        }
        self.validate_names(problems);
    }

    fn validate_url(&self, problems: &mut Problems) {
        let Some(url) = &self.url else { return };
        match place::parse_url(url) {
            Err(_) => problems.refuse(
                "url",
                url,
                "http://host[:port][/base] or https://host[:port][/base]",
            ),
            Ok(place) if self.tls.enabled && place.transport == place::Transport::Clear => {
                problems.refuse("tls.enabled", true, "an https:// url, or addresses");
            }
            Ok(_) => {}
        }
    }

    fn validate_names(&self, problems: &mut Problems) {
        if let Host::Fixed(name) = &self.host
            && name.parse::<http::uri::Authority>().is_err()
        {
            problems.refuse("host", name, "origin, client or host[:port]");
        }
        if let Some(path) = &self.health.path
            && !path.starts_with('/')
        {
            problems.refuse("health.path", path, "a path that begins with /");
        }
        if let Some(name) = &self.tls.server_name
            && !place::is_server_name(name)
        {
            problems.refuse("tls.server_name", name, "a host name or an IP address");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: Config) -> Vec<String> {
        let mut problems = Problems::default();
        config.validate(&mut problems);
        problems
            .into_found()
            .into_iter()
            .map(|problem| problem.key)
            .collect()
    }

    #[test]
    fn a_default_origin_lacks_only_its_place() {
        assert_eq!(refused(Config::default()), [""]);
        let url = Some("http://localhost:9000/images".into());
        assert_eq!(
            refused(Config {
                url,
                ..Config::default()
            }),
            [""; 0]
        );
    }

    #[test]
    fn every_problem_of_a_place_is_named_at_once() {
        let config = Config {
            url: Some("ftp://a".into()),
            addresses: vec![Address {
                address: "a".into(),
                weight: 0,
            }],
            host: Host::Fixed("a b".into()),
            tls: Tls {
                server_name: Some(String::new()),
                ..Tls::default()
            },
            health: Health {
                path: Some("up".into()),
                ..Health::default()
            },
            ..Config::default()
        };
        let keys = [
            "",
            "url",
            "addresses[0].weight",
            "addresses[0].address",
            "host",
            "health.path",
            "tls.server_name",
        ];
        assert_eq!(refused(config), keys);
    }

    #[test]
    fn clear_text_is_not_what_tls_asks_for() {
        let config = Config {
            url: Some("http://a".into()),
            tls: Tls {
                enabled: true,
                ..Tls::default()
            },
            ..Config::default()
        };
        assert_eq!(refused(config), ["tls.enabled"]);
    }
}
