//! Who may use the API for operators: whoever is on this machine, and whoever has a key of the scope `admin`.
//!
//! Invariant: pure. No page in a browser is let in: neither one that sends a request across sites, nor one whose name was
//! made to lead here (DNS rebinding). Who comes by a proxy that says so in one of four headers is not on this machine,
//! wherever the proxy is. A proxy on this machine that adds none of them can not be told from the machine itself, and who
//! comes by it is let in. It does not know what is asked.

use crate::edge::purging::Credential;
use http::{HeaderMap, HeaderName, header};
use std::net::{IpAddr, Ipv6Addr};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// By which a request shows that somebody passed it on.
static OF_PROXIES: [HeaderName; 4] = [
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
];

/// Who asks.
pub(super) struct Visitor<'a> {
    /// `None`: not known.
    pub(super) peer: Option<IpAddr>,
    pub(super) headers: &'a HeaderMap,
    /// Of a target in absolute form.
    pub(super) authority: Option<&'a str>,
    pub(super) credential: Credential<'a>,
}

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("no page in a browser may use this API")]
    Browser,
    #[error("without a key this API is asked by an address or as localhost, and by no other name")]
    Name,
    #[error(
        "from elsewhere than this machine a key of the scope admin is needed: Authorization: Bearer aqk_.."
    )]
    KeyNeeded,
    #[error("the key is none of purge.keys")]
    UnknownKey,
    #[error("the key lacks the scope admin")]
    NotAllowed,
}

/// Refuses what a browser sends for a page.
pub(super) fn check_page(headers: &HeaderMap) -> Result<(), Denied> {
    let sites = headers.get_all(SEC_FETCH_SITE);
    let is_own = |site: &http::HeaderValue| matches!(site.as_bytes(), b"none" | b"same-origin");
    match !headers.contains_key(header::ORIGIN) && sites.iter().all(is_own) {
        true => Ok(()),
        false => Err(Denied::Browser),
    }
}

impl Visitor<'_> {
    pub(super) fn check(&self) -> Result<(), Denied> {
        check_page(self.headers)?;
        match self.credential {
            Credential::Known(caller) if caller.may_administer() => Ok(()),
            Credential::Unknown => Err(Denied::UnknownKey),
            // A key for purges takes nothing from who may come without one.
            Credential::Known(_) if !self.is_here() => Err(Denied::NotAllowed),
            Credential::Absent if !self.is_here() => Err(Denied::KeyNeeded),
            Credential::Known(_) | Credential::Absent if !self.names_an_address() => Err(Denied::Name),
            Credential::Known(_) | Credential::Absent => Ok(()),
        }
    }

    fn is_here(&self) -> bool {
        let is_passed_on = OF_PROXIES.iter().any(|name| self.headers.contains_key(name));
        let is_loopback = |peer: IpAddr| peer.to_canonical().is_loopback();
        !is_passed_on && self.peer.is_some_and(is_loopback)
    }

    fn names_an_address(&self) -> bool {
        let mut hosts = self.headers.get_all(header::HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok());
        host.is_some_and(is_address) && hosts.next().is_none() && self.authority.is_none_or(is_address)
    }
}

/// Whether `host`, with or without a port, is no name but an address, or this machine's own name for itself.
fn is_address(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let bracketed = rest.split_once(']');
        return bracketed.is_some_and(|(inside, port)| inside.parse::<Ipv6Addr>().is_ok() && is_port(port));
    }
    let (name, port) = host.find(':').map_or((host, ""), |at| host.split_at(at));
    let is_here = name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::Ipv4Addr>().is_ok();
    is_here && is_port(port)
}

fn is_port(text: &str) -> bool {
    text.is_empty()
        || text
            .strip_prefix(':')
            .is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purge::caller::Caller;
    use crate::purge::config::{Config, Permission};
    use http::HeaderValue;

    const HERE: [&str; 4] = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"];
    const ELSEWHERE: [&str; 4] = ["10.0.0.1", "203.0.113.9", "fe80::1", "0.0.0.0"];

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        headers
    }

    fn caller(permissions: &[Permission]) -> Caller {
        Caller::new("ops", permissions, &Config::default())
    }

    fn check(peer: &str, lines: &[(&'static str, &str)], credential: Credential<'_>) -> Result<(), Denied> {
        let headers = headers(lines);
        let visitor = Visitor {
            peer: Some(peer.parse().unwrap()),
            headers: &headers,
            authority: None,
            credential,
        };
        visitor.check()
    }

    const BY_ADDRESS: (&str, &str) = ("host", "127.0.0.1:9090");

    #[test]
    fn without_a_key_only_who_is_on_this_machine_may() {
        for peer in HERE {
            assert_eq!(check(peer, &[BY_ADDRESS], Credential::Absent), Ok(()), "{peer}");
        }
        for peer in ELSEWHERE {
            let denied = check(peer, &[BY_ADDRESS], Credential::Absent);
            assert_eq!(denied, Err(Denied::KeyNeeded), "{peer}");
        }
        let unknown = Visitor {
            peer: None,
            headers: &headers(&[BY_ADDRESS]),
            authority: None,
            credential: Credential::Absent,
        };
        assert_eq!(unknown.check(), Err(Denied::KeyNeeded));
    }

    #[test]
    fn a_key_of_the_scope_admin_may_from_anywhere_and_by_any_name() {
        let admin = caller(&[Permission::Admin]);
        for peer in HERE.iter().chain(&ELSEWHERE) {
            let named = ("host", "edge-1.example");
            assert_eq!(check(peer, &[named], Credential::Known(&admin)), Ok(()), "{peer}");
        }
        for permissions in [&[Permission::All][..], &[Permission::Url, Permission::Tag]] {
            let purger = caller(permissions);
            let denied = check("10.0.0.1", &[BY_ADDRESS], Credential::Known(&purger));
            assert_eq!(denied, Err(Denied::NotAllowed), "{permissions:?}");
            assert_eq!(check("::1", &[BY_ADDRESS], Credential::Known(&purger)), Ok(()));
        }
    }

    #[test]
    fn a_key_that_nobody_knows_opens_nothing_even_here() {
        let denied = check("127.0.0.1", &[BY_ADDRESS], Credential::Unknown);
        assert_eq!(denied, Err(Denied::UnknownKey));
    }

    #[test]
    fn no_page_is_let_in_with_any_key() {
        let admin = caller(&[Permission::Admin]);
        for line in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1:9090"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            for credential in [Credential::Absent, Credential::Known(&admin)] {
                let denied = check("127.0.0.1", &[BY_ADDRESS, line], credential);
                assert_eq!(denied, Err(Denied::Browser), "{line:?}");
            }
        }
        for site in ["none", "same-origin"] {
            let lines = [BY_ADDRESS, ("sec-fetch-site", site)];
            assert_eq!(check("127.0.0.1", &lines, Credential::Absent), Ok(()), "{site}");
        }
        let lines = [
            BY_ADDRESS,
            ("sec-fetch-site", "none"),
            ("sec-fetch-site", "cross-site"),
        ];
        assert_eq!(
            check("127.0.0.1", &lines, Credential::Absent),
            Err(Denied::Browser)
        );
    }

    #[test]
    fn a_name_that_was_made_to_lead_here_does_not() {
        for host in [
            "evil.example",
            "evil.example:9090",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:x",
            "",
            "[::1",
            "[::1]9090",
            "[evil]",
            "0x7f.1",
        ] {
            let denied = check("127.0.0.1", &[("host", host)], Credential::Absent);
            assert_eq!(denied, Err(Denied::Name), "{host:?}");
        }
        for host in [
            "localhost",
            "LOCALHOST:9090",
            "127.0.0.1",
            "10.0.0.1:1",
            "[::1]",
            "[::1]:9090",
        ] {
            let admitted = check("127.0.0.1", &[("host", host)], Credential::Absent);
            assert_eq!(admitted, Ok(()), "{host}");
        }
        assert_eq!(check("127.0.0.1", &[], Credential::Absent), Err(Denied::Name));
        let twice = [BY_ADDRESS, ("host", "evil.example")];
        assert_eq!(check("127.0.0.1", &twice, Credential::Absent), Err(Denied::Name));
        let absolute = Visitor {
            peer: Some([127, 0, 0, 1].into()),
            headers: &headers(&[BY_ADDRESS]),
            authority: Some("evil.example"),
            credential: Credential::Absent,
        };
        assert_eq!(absolute.check(), Err(Denied::Name));
    }

    #[test]
    fn who_comes_by_a_proxy_is_not_here() {
        for line in [
            ("x-forwarded-for", "127.0.0.1"),
            ("forwarded", "for=127.0.0.1"),
            ("via", "1.1 proxy"),
            ("x-real-ip", "127.0.0.1"),
        ] {
            let denied = check("127.0.0.1", &[BY_ADDRESS, line], Credential::Absent);
            assert_eq!(denied, Err(Denied::KeyNeeded), "{line:?}");
        }
    }
}
