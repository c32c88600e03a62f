//! Where an HTTP origin is, as its configuration says it.
//!
//! Pure parsing. Invariant: every [`Site`] has a host and a port; an IPv6 host carries no brackets. Nothing is
//! resolved here.

use super::config::Config;
use super::error::OpenError;
use http::Uri;
use http::uri::Authority;

/// How the origin is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Clear,
    Tls,
}

/// Where one HTTP origin is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) transport: Transport,
    /// Put before every request's path: empty, or `/` and no `/` at its end.
    pub(super) base_path: String,
    pub(super) sites: Vec<Site>,
}

/// One address of an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) weight: u32,
}

impl Transport {
    fn default_port(self) -> u16 {
        match self {
            Transport::Clear => 80,
            Transport::Tls => 443,
        }
    }
}

impl Site {
    /// The authority as a Host header carries it: without the scheme's default port.
    pub(super) fn authority(&self, transport: Transport) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == transport.default_port() {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    fn of(authority: &Authority, default_port: Option<u16>) -> Option<Site> {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port_given = authority.as_str().len() > authority.host().len();
        let port = match authority.port_u16() {
            None if port_given => return None,
            port => port.or(default_port)?,
        };
        let usable = !host.is_empty() && port != 0 && !authority.as_str().contains('@');
        usable.then(|| Site {
            host: host.to_ascii_lowercase(),
            port,
            weight: 1,
        })
    }
}

/// Where the origin is that `config` describes by `url` or `addresses`.
pub(super) fn of(config: &Config) -> Result<Place, OpenError> {
    match (&config.url, config.addresses.is_empty()) {
        (Some(url), true) => parse_url(url),
        (None, false) => Ok(Place {
            transport: if config.tls.enabled {
                Transport::Tls
            } else {
                Transport::Clear
            },
            base_path: String::new(),
            sites: config
                .addresses
                .iter()
                .map(|address| {
                    Ok(Site {
                        weight: address.weight,
                        ..parse_address(&address.address)?
                    })
                })
                .collect::<Result<_, OpenError>>()?,
        }),
        _ => Err(OpenError::Place),
    }
}

pub(super) fn parse_address(text: &str) -> Result<Site, OpenError> {
    let site = text
        .parse::<Authority>()
        .ok()
        .and_then(|authority| Site::of(&authority, None));
    site.ok_or_else(|| OpenError::Address {
        value: text.into(),
        wanted: "host:port",
    })
}

/// Whether a certificate can carry this name.
pub(super) fn is_server_name(name: &str) -> bool {
    pingora_core::tls::ServerName::try_from(name).is_ok()
}

pub(super) fn parse_url(text: &str) -> Result<Place, OpenError> {
    let refused = || OpenError::Address {
        value: text.into(),
        wanted: "http://host[:port][/base]",
    };
    let uri: Uri = text.parse().map_err(|_| refused())?;
    let transport = match uri.scheme_str() {
        Some("http") => Transport::Clear,
        Some("https") => Transport::Tls,
        _ => return Err(refused()),
    };
    let site = uri
        .authority()
        .and_then(|authority| Site::of(authority, Some(transport.default_port())));
    if uri.query().is_some() || text.contains('#') {
        return Err(refused());
    }
    Ok(Place {
        transport,
        base_path: uri.path().trim_end_matches('/').to_string(),
        sites: vec![site.ok_or_else(refused)?],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(url: &str) -> String {
        let place = parse_url(url).unwrap();
        place.sites[0].authority(place.transport)
    }

    #[test]
    fn the_host_header_leaves_out_the_default_port_only() {
        assert_eq!(authority("http://Shop.example/a"), "shop.example");
        assert_eq!(authority("http://shop.example:80"), "shop.example");
        assert_eq!(authority("https://shop.example:80"), "shop.example:80");
        assert_eq!(authority("https://[2001:db8::1]:8443/"), "[2001:db8::1]:8443");
    }

    #[test]
    fn the_base_path_has_no_slash_at_its_end() {
        assert_eq!(parse_url("http://a").unwrap().base_path, "");
        assert_eq!(parse_url("http://a/").unwrap().base_path, "");
        assert_eq!(
            parse_url("http://a/images/raw/").unwrap().base_path,
            "/images/raw"
        );
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for url in [
            "",
            "shop.example",
            "ftp://a",
            "http://",
            "http://u:p@a",
            "http://a?x=1",
            "http://a/#f",
            "http://a:0",
        ] {
            assert!(parse_url(url).is_err(), "{url}");
        }
        for address in [
            "",
            "a",
            "a:",
            ":80",
            "a:99999",
            "a:0",
            "http://a:80",
            "u@a:80",
            "[::1]",
        ] {
            assert!(parse_address(address).is_err(), "{address}");
        }
        assert_eq!(
            parse_address("[::1]:81").unwrap(),
            Site {
                host: "::1".into(),
                port: 81,
                weight: 1
            }
        );
    }
}
