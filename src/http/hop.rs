//! Fields that end at this hop, and those by which a hop names itself.
//!
//! Invariant: nothing a client claims of its host or scheme reaches the origin, because neither claim is in the
//! cache key: `X-Forwarded-Proto`, `X-Forwarded-Host` and such parts of `Forwarded` are replaced, only the chain
//! of addresses is continued. It does not know connections.

use super::field;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Version};
use std::borrow::Cow;
use std::net::IpAddr;

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// RFC 9110 section 7.6.1, and what section 11.7 says of the next proxy only.
static HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-authentication-info"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Fields of a request by which origins and frameworks change their answer without saying `Vary`, and which are in no
/// cache key: those of the client's session, and those that put another URL, method, host or scheme in place of the
/// request's own. Of the last kind `X-Forwarded-Host` and `X-Forwarded-Proto` are not listed: [`forward_request`]
/// writes them anew.
pub static UNKEYED: [HeaderName; 18] = [
    header::COOKIE,
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-protocol"),
    HeaderName::from_static("x-forwarded-ssl"),
    HeaderName::from_static("x-scheme"),
    HeaderName::from_static("x-url-scheme"),
    HeaderName::from_static("front-end-https"),
    HeaderName::from_static("x-host"),
    HeaderName::from_static("x-original-host"),
    HeaderName::from_static("x-http-host-override"),
];

/// What a request is told to have passed.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding<'a> {
    pub client: IpAddr,
    /// The client's `Host`, with its port where it gave one.
    pub host: &'a str,
    pub scheme: &'a str,
    /// This server's pseudonym.
    pub via: &'a str,
    /// In which the client's request came.
    pub version: Version,
}

/// Takes out `Connection`, all it lists, and the other fields that are for one hop. `Host`, `Content-Length` and
/// `Cache-Control` stay though listed: no sender may list them (RFC 9110 section 7.6.1), and without them the
/// message would be another.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    for name in listed_in_connection(headers) {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The request as the next hop will see it, as far as the client can choose what it sees: without what `Connection`
/// lists. Borrows where that is only how to go on with the connection, as in nearly all requests.
pub fn end_to_end(headers: &HeaderMap) -> Cow<'_, HeaderMap> {
    let is_plain =
        |option: &[u8]| option.eq_ignore_ascii_case(b"keep-alive") || option.eq_ignore_ascii_case(b"close");
    if field::list(headers, header::CONNECTION).all(is_plain) {
        return Cow::Borrowed(headers);
    }
    let mut stripped = headers.clone();
    strip_hop_by_hop(&mut stripped);
    Cow::Owned(stripped)
}

fn listed_in_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    field::list(headers, header::CONNECTION)
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| ![header::HOST, header::CONTENT_LENGTH, header::CACHE_CONTROL].contains(name))
        .collect()
}

/// Conditions and ranges are one client's; what all get is asked for whole.
pub static ONLY_THIS_CLIENTS: [HeaderName; 6] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// Takes out of a request whose answer may be stored for everyone what [`stays_out_of_fills`].
///
/// `Accept`, `User-Agent`, `Referer`, `Origin` and the like stay as they came: an origin that answers by one of them
/// must say so in `Vary`. `Authorization` stays for the caller to judge.
pub fn strip_unkeyed(headers: &mut HeaderMap) {
    let unkeyed: Vec<_> = headers
        .keys()
        .filter(|name| stays_out_of_fills(name))
        .cloned()
        .collect();
    for name in unkeyed {
        headers.remove(name);
    }
}

/// Whether the origin never sees the field in what it is asked on behalf of everybody: [`UNKEYED`], what is only one
/// client's or one hop's, and names with `_`, which gateways like CGI and WSGI do not tell from `-`.
pub fn stays_out_of_fills(name: &HeaderName) -> bool {
    name.as_str().contains('_')
        || [&UNKEYED[..], &ONLY_THIS_CLIENTS, &HOP_BY_HOP]
            .iter()
            .any(|names| names.contains(name))
}

/// How many hops an OPTIONS may still take; `None` where it does not say (RFC 9110 section 7.6.2).
pub fn hops_left(method: &Method, headers: &HeaderMap) -> Option<u64> {
    let limit = field::only(headers, header::MAX_FORWARDS).filter(|_| *method == Method::OPTIONS)?;
    field::decimal(limit.as_bytes().trim_ascii())
}

/// Takes this hop off what an OPTIONS may still take.
pub fn count_hop(method: &Method, headers: &mut HeaderMap) {
    if let Some(left) = hops_left(method, headers) {
        headers.insert(header::MAX_FORWARDS, HeaderValue::from(left.saturating_sub(1)));
    }
}

/// Names this hop and its client to the origin: `Via`, `X-Forwarded-*` and `Forwarded` (RFC 7239).
pub fn forward_request(headers: &mut HeaderMap, forwarding: &Forwarding<'_>) {
    append_via(headers, forwarding.version, forwarding.via);
    let client = forwarding.client.to_canonical();
    append(headers, X_FORWARDED_FOR, &client.to_string());
    replace(headers, X_FORWARDED_PROTO, forwarding.scheme);
    replace(headers, X_FORWARDED_HOST, forwarding.host);
    if claims_host_or_scheme(headers) {
        headers.remove(header::FORWARDED);
    }
    append(headers, header::FORWARDED, &forwarded_element(client, forwarding));
}

/// Appends to `Via`; `version` is that of the message as it was received (RFC 9110 section 7.6.3).
pub fn append_via(headers: &mut HeaderMap, version: Version, name: &str) {
    let protocol = match version {
        Version::HTTP_09 => "0.9 ",
        Version::HTTP_10 => "1.0 ",
        Version::HTTP_2 => "2 ",
        Version::HTTP_3 => "3 ",
        _ => "1.1 ",
    };
    append(headers, header::VIA, &[protocol, name].concat());
}

/// Also within a quoted string: RFC 7239 section 4 allows to remove the field, so that one too many is no harm.
fn claims_host_or_scheme(headers: &HeaderMap) -> bool {
    headers.get_all(header::FORWARDED).iter().any(|line| {
        let line = line.as_bytes().to_ascii_lowercase();
        [&b"host"[..], b"proto"]
            .iter()
            .any(|claim| line.windows(claim.len()).any(|part| part == *claim))
    })
}

/// An IPv6 address is bracketed and quoted (RFC 7239 section 6), a host with a port quoted (section 4).
fn forwarded_element(client: IpAddr, forwarding: &Forwarding<'_>) -> String {
    let node = match client {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    };
    let host = token_or_quoted(forwarding.host);
    format!("for={node};host={host};proto={}", forwarding.scheme)
}

fn token_or_quoted(text: &str) -> String {
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_token_byte) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// One line for the whole list: not every reader joins several.
fn append(headers: &mut HeaderMap, name: HeaderName, member: &str) {
    let mut list = Vec::new();
    for line in headers.get_all(&name) {
        list.extend_from_slice(line.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(member.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&list) {
        headers.insert(name, value);
    }
}

/// The old value goes even when the new one can not be written.
fn replace(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    headers.remove(&name);
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9110 section 7.6.1: what this hop drops can not select an alternate.
    #[test]
    fn what_connection_lists_is_not_end_to_end() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static("de"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Keep-Alive"));
        assert!(matches!(end_to_end(&headers), Cow::Borrowed(_)));
        headers.append(
            header::CONNECTION,
            HeaderValue::from_static("close, accept-language"),
        );
        assert!(!end_to_end(&headers).contains_key(header::ACCEPT_LANGUAGE));
    }
    use proptest::prelude::*;

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        headers
    }

    fn forwarded(mut headers: HeaderMap, client: &str, host: &str) -> HeaderMap {
        let forwarding = Forwarding {
            client: client.parse().unwrap(),
            host,
            scheme: "https",
            via: "aquatint",
            version: Version::HTTP_11,
        };
        forward_request(&mut headers, &forwarding);
        headers
    }

    /// RFC 9110 section 7.6.1.
    #[test]
    fn connection_and_all_it_lists_are_taken_out() {
        let mut headers = map(&[
            ("connection", "close, X-Private"),
            ("connection", " x-other ,, not a token"),
            ("x-private", "1"),
            ("x-private", "2"),
            ("x-other", "3"),
            ("etag", "\"a\""),
        ]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&[("etag", "\"a\"")]));
    }

    /// RFC 9110 sections 7.6.1 and 11.7.
    #[test]
    fn fields_for_one_hop_are_taken_out_unlisted_and_others_stay() {
        let hop = [
            "keep-alive",
            "proxy-connection",
            "proxy-authenticate",
            "proxy-authorization",
            "proxy-authentication-info",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ];
        let mut headers = map(&hop.map(|name| (name, "x")));
        headers.extend(map(&[("proxy-status", "a"), ("www-authenticate", "Basic")]));
        strip_hop_by_hop(&mut headers);
        assert_eq!(
            headers,
            map(&[("proxy-status", "a"), ("www-authenticate", "Basic")])
        );
    }

    /// RFC 9110 section 7.6.1.
    #[test]
    fn what_makes_the_message_can_not_be_listed_away() {
        let kept = [
            ("host", "a"),
            ("content-length", "3"),
            ("cache-control", "no-store"),
        ];
        let mut headers = map(&kept);
        let listed = HeaderValue::from_static("host, Content-Length, cache-control");
        headers.insert(header::CONNECTION, listed);
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&kept));
    }

    /// RFC 9110 section 7.6.3, RFC 7239 section 4.
    #[test]
    fn a_request_names_this_hop_and_its_client() {
        let headers = forwarded(HeaderMap::new(), "192.0.2.1", "shop.example");
        let expected = map(&[
            ("via", "1.1 aquatint"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example"),
            ("forwarded", "for=192.0.2.1;host=shop.example;proto=https"),
        ]);
        assert_eq!(headers, expected);
    }

    /// RFC 7239 sections 4 and 6.
    #[test]
    fn ipv6_addresses_and_ports_are_quoted() {
        let headers = forwarded(HeaderMap::new(), "2001:db8::1", "shop.example:8080");
        let expected = r#"for="[2001:db8::1]";host="shop.example:8080";proto=https"#;
        assert_eq!(headers["forwarded"], expected);
        assert_eq!(headers["x-forwarded-for"], "2001:db8::1");
    }

    #[test]
    fn an_ipv4_address_in_an_ipv6_socket_is_an_ipv4_address() {
        let headers = forwarded(HeaderMap::new(), "::ffff:192.0.2.1", "a");
        assert_eq!(headers["x-forwarded-for"], "192.0.2.1");
    }

    /// RFC 9110 section 7.6.3, RFC 7239 section 4.
    #[test]
    fn the_chain_of_hops_and_addresses_is_continued_on_one_line() {
        let before = map(&[
            ("via", "1.0 fred"),
            ("x-forwarded-for", "203.0.113.1"),
            ("x-forwarded-for", "203.0.113.2"),
            ("forwarded", "for=203.0.113.1"),
        ]);
        let headers = forwarded(before, "192.0.2.1", "a");
        assert_eq!(headers["via"], "1.0 fred, 1.1 aquatint");
        assert_eq!(headers["x-forwarded-for"], "203.0.113.1, 203.0.113.2, 192.0.2.1");
        assert_eq!(
            headers["forwarded"],
            "for=203.0.113.1, for=192.0.2.1;host=a;proto=https"
        );
        assert_eq!(headers.get_all("x-forwarded-for").iter().count(), 1);
    }

    /// An origin that writes its links with a claimed host would poison the entry of everyone else.
    #[test]
    fn a_host_or_scheme_that_a_client_claims_does_not_reach_the_origin() {
        let claims = map(&[
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "gopher"),
            ("forwarded", "for=203.0.113.1;Host=evil.example"),
            ("forwarded", "for=203.0.113.2"),
        ]);
        let headers = forwarded(claims, "192.0.2.1", "shop.example");
        assert_eq!(headers["x-forwarded-host"], "shop.example");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(
            headers["forwarded"],
            "for=192.0.2.1;host=shop.example;proto=https"
        );
    }

    #[test]
    fn what_changes_an_answer_unsaid_is_taken_out_and_the_rest_stays() {
        let kept = [
            ("user-agent", "a"),
            ("accept", "image/*"),
            ("authorization", "Basic YTpi"),
            ("referer", "http://a/"),
            ("origin", "http://a"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-proto", "https"),
        ];
        let mut headers = map(&kept);
        for name in UNKEYED.iter().chain(&ONLY_THIS_CLIENTS).chain(&HOP_BY_HOP) {
            headers.append(name, HeaderValue::from_static("1"));
            headers.append(name, HeaderValue::from_static("2"));
        }
        strip_unkeyed(&mut headers);
        assert_eq!(headers, map(&kept));
    }

    #[test]
    fn underscores_do_not_hide_a_field_that_a_gateway_would_read() {
        let mut headers = map(&[
            ("x_original_url", "/admin"),
            ("x-rewrite_url", "/admin"),
            ("x_forwarded_host", "evil.example"),
            ("x_forwarded-proto", "gopher"),
            ("accept_language", "xx"),
            ("accept", "*/*"),
        ]);
        strip_unkeyed(&mut headers);
        assert_eq!(headers, map(&[("accept", "*/*")]));
    }

    /// RFC 9110 section 7.6.2.
    #[test]
    fn each_hop_of_an_options_is_counted_and_of_nothing_else() {
        for (method, said, left) in [
            (Method::OPTIONS, "3", Some("2")),
            (Method::OPTIONS, "0", Some("0")),
            (Method::OPTIONS, "x", Some("x")),
            (Method::GET, "3", Some("3")),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::MAX_FORWARDS, HeaderValue::from_static(said));
            count_hop(&method, &mut headers);
            let found = headers
                .get(header::MAX_FORWARDS)
                .map(|value| value.to_str().unwrap());
            assert_eq!(found, left, "{method} {said}");
        }
    }

    /// RFC 9110 section 7.6.3.
    #[test]
    fn via_tells_the_version_a_message_came_in() {
        for (version, expected) in [
            (Version::HTTP_10, "1.0 a"),
            (Version::HTTP_11, "1.1 a"),
            (Version::HTTP_2, "2 a"),
        ] {
            let mut headers = HeaderMap::new();
            append_via(&mut headers, version, "a");
            assert_eq!(headers["via"], expected);
        }
    }

    proptest! {
        /// RFC 7239 section 4.
        #[test]
        fn no_host_escapes_its_quotes(host in r"[ -\[\]-~]{0,30}") {
            let headers = forwarded(HeaderMap::new(), "192.0.2.1", &host);
            let element = headers["forwarded"].to_str().unwrap();
            let value = element.strip_prefix("for=192.0.2.1;host=").unwrap().strip_suffix(";proto=https").unwrap();
            let read = match value.strip_prefix('"') {
                Some(quoted) => quoted.strip_suffix('"').unwrap().replace("\\\"", "\""),
                None => value.to_owned(),
            };
            prop_assert_eq!(read, host);
        }

        #[test]
        fn no_bytes_in_connection_make_stripping_panic(line in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                headers.insert(header::CONNECTION, value);
            }
            strip_hop_by_hop(&mut headers);
            prop_assert!(headers.is_empty());
        }
    }
}
