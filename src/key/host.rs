//! The host of a URL: a name or an address, lower-case, without the scheme's own port.
//!
//! Invariant: what is pushed holds nothing but letters, digits, `-`, `_`, `.` and, for an IPv6 address or a port,
//! `[`, `]` and `:`. Internationalised names are taken as they come, encoded. It does not know which hosts exist.

use super::{Scheme, UrlError};
use std::fmt::Write;
use std::net::Ipv6Addr;

/// The longest name of the DNS.
const HOST_BYTES_MAX: usize = 253;

/// Appends the normalised `host`, which may carry a port.
pub(super) fn push(text: &mut String, host: &str, scheme: Scheme) -> Result<(), UrlError> {
    let (name, port) = split_port(host)?;
    match name.strip_prefix('[') {
        Some(address) => push_address(text, address)?,
        None => push_name(text, name)?,
    }
    let own = port.filter(|port| *port != scheme.default_port());
    if let Some(port) = own {
        write!(text, ":{port}").expect("writing to a String does not fail");
    }
    Ok(())
}

fn push_name(text: &mut String, name: &str) -> Result<(), UrlError> {
    if !is_name(name) {
        return Err(UrlError::Host);
    }
    let start = text.len();
    text.push_str(name);
    text[start..].make_ascii_lowercase();
    Ok(())
}

fn push_address(text: &mut String, bracketed: &str) -> Result<(), UrlError> {
    let address = bracketed.strip_suffix(']').ok_or(UrlError::Host)?;
    let address: Ipv6Addr = address.parse().map_err(|_| UrlError::Host)?;
    write!(text, "[{address}]").expect("writing to a String does not fail");
    Ok(())
}

/// A trailing dot is another name for the same host, and may be another one at the origin: it stays.
fn is_name(name: &str) -> bool {
    let mut valid = !name.is_empty() && name.len() <= HOST_BYTES_MAX;
    let mut previous = b'.';
    for byte in name.bytes() {
        valid &=
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (byte == b'.' && previous != b'.');
        previous = byte;
    }
    valid
}

/// An empty port is none (RFC 3986 section 6.2.3).
fn split_port(host: &str) -> Result<(&str, Option<u16>), UrlError> {
    let Some(colon) = host.bytes().rposition(|byte| matches!(byte, b':' | b']')) else {
        return Ok((host, None));
    };
    if host.as_bytes()[colon] == b']' {
        return Ok((host, None));
    }
    Ok((&host[..colon], port(&host[colon + 1..])?))
}

fn port(digits: &str) -> Result<Option<u16>, UrlError> {
    if digits.is_empty() {
        return Ok(None);
    }
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse() {
        Ok(port) if is_number && port != 0 => Ok(Some(port)),
        _ => Err(UrlError::Port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(host: &str) -> Result<String, UrlError> {
        let mut text = String::new();
        push(&mut text, host, Scheme::Http).map(|()| text)
    }

    #[test]
    fn names_are_lower_case_and_the_schemes_own_port_is_left_out() {
        for (host, expected) in [
            ("Shop.EXAMPLE", "shop.example"),
            ("shop.example:80", "shop.example"),
            ("shop.example:0080", "shop.example"),
            ("shop.example:", "shop.example"),
            ("shop.example:443", "shop.example:443"),
            ("shop.example:08080", "shop.example:8080"),
            ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
            ("my_shop.example.", "my_shop.example."),
            ("192.0.2.1:8080", "192.0.2.1:8080"),
        ] {
            assert_eq!(normal(host).as_deref(), Ok(expected), "{host}");
        }
        let mut text = String::new();
        push(&mut text, "shop.example:443", Scheme::Https).unwrap();
        assert_eq!(text, "shop.example");
    }

    #[test]
    fn an_ipv6_address_has_one_spelling() {
        for host in ["[2001:DB8::1]", "[2001:db8:0:0:0:0:0:1]:80", "[2001:0db8::0001]:"] {
            assert_eq!(normal(host).as_deref(), Ok("[2001:db8::1]"), "{host}");
        }
        assert_eq!(normal("[::1]:8080").as_deref(), Ok("[::1]:8080"));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = "a".repeat(HOST_BYTES_MAX + 1);
        for host in [
            "",
            ":80",
            "a b",
            "a/b",
            "a@b",
            "user@a:80",
            "a,b",
            "a..b",
            ".a",
            "a%41",
            "m\u{fc}nchen",
            "a\0",
            "a\\b",
            "[::1",
            "::1",
            "[::1]x",
            "[::1%25lo]",
            "[v1.a]",
            "[]",
            "a]",
            "a?b",
            "a#b",
            "*",
            &long,
        ] {
            assert_eq!(normal(host), Err(UrlError::Host), "{host:?}");
        }
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for host in [
            "a:0",
            "a:65536",
            "a:+80",
            "a:-1",
            "a:80a",
            "[::1]:x",
            "a:99999999999999999999",
        ] {
            assert_eq!(normal(host), Err(UrlError::Port), "{host:?}");
        }
    }
}
