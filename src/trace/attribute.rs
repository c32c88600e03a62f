//! What spans say beside their time: every name that may stand in a trace.
//!
//! Invariant: none of these is ever given a query, a header's credentials or a body. Names are those of OpenTelemetry's
//! semantic conventions where it has one, and begin with `aquatint.` where it has none.

/// Longer texts are cut: a client chooses some of them.
const TEXT_BYTES_MAX: usize = 1024;

pub(crate) const HTTP_REQUEST_METHOD: &str = "http.request.method";
pub(crate) const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
/// As the client wrote it, without the query.
pub(crate) const URL_PATH: &str = "url.path";
/// Of the root, the host that was asked for; of an origin, where it is.
pub(crate) const SERVER_ADDRESS: &str = "server.address";
pub(crate) const SERVER_PORT: &str = "server.port";
/// As the metrics name the reason.
pub(crate) const ERROR_TYPE: &str = "error.type";

pub(crate) const OUTCOME: &str = "aquatint.outcome";
/// Host and path as configured.
pub(crate) const ROUTE: &str = "aquatint.route";
pub(crate) const REQUEST_ID: &str = "aquatint.request_id";
/// By its name in the configuration.
pub(crate) const ORIGIN: &str = "aquatint.origin";
/// `new` or `reused`.
pub(crate) const CONNECTION: &str = "aquatint.connection";
/// `memory`, `ssd` or `none`.
pub(crate) const TIER: &str = "aquatint.tier";
pub(crate) const BODY_BYTES: &str = "aquatint.body_bytes";
/// Of a purge, as in the metrics.
pub(crate) const WAY: &str = "aquatint.purge.way";
pub(crate) const SCOPES: &str = "aquatint.purge.scopes";

/// What is said of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Word(&'static str),
    Text(String),
    Number(i64),
}

impl Value {
    pub(super) fn of_text(text: &str) -> Value {
        Value::Text(text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned())
    }
}

/// Methods by name; what is none of these could be anything.
pub(crate) fn method(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "PURGE" => "PURGE",
        _ => "_OTHER",
    }
}

/// A host and its port, of what a Host header says. No user: a password may stand with it.
pub(crate) fn host_and_port(authority: &str) -> (&str, Option<u16>) {
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let Value::Text(cut) = Value::of_text(&"ä".repeat(TEXT_BYTES_MAX)) else {
            panic!("a text is a text");
        };
        assert_eq!(cut.len(), TEXT_BYTES_MAX);
        let Value::Text(cut) = Value::of_text(&format!("x{}", "ä".repeat(TEXT_BYTES_MAX))) else {
            panic!("a text is a text");
        };
        assert_eq!(cut.len(), TEXT_BYTES_MAX - 1);
    }

    #[test]
    fn a_port_is_told_from_a_host() {
        for (authority, expected) in [
            ("a.example:8080", ("a.example", Some(8080))),
            ("a.example", ("a.example", None)),
            ("[::1]:80", ("[::1]", Some(80))),
            ("[::1]", ("[::1]", None)),
            ("a.example:", ("a.example", None)),
            ("", ("", None)),
            ("me:hunter2@a.example:80", ("a.example", Some(80))),
            ("me:hun@ter2@[::1]", ("[::1]", None)),
            ("me:hunter2@", ("", None)),
        ] {
            assert_eq!(host_and_port(authority), expected, "{authority}");
        }
    }
}
