//! What of a request may be shown: by a log, by the live log, by what is busiest.
//!
//! Invariant: beside `query: all`, no value of a query parameter is shown that this edge gives no meaning, and nothing
//! that looks like one; no user or password of a URL is. The log's only way to a line's target, host and referrer.

use super::config::ShownQuery;
use super::line::{Line, Parameters, REFERRER_BYTES_MAX, Transforms};
use crate::spec;

/// Longer names and values are hidden: a token may stand in a name's place.
const PARAMETER_BYTES_MAX: usize = 32;
const VALUE_BYTES_MAX: usize = 64;

/// A line, and of its texts what may be shown.
pub(super) struct Shown<'a> {
    pub(super) line: &'a Line<'a>,
    pub(super) host: &'a [u8],
    pub(super) path: &'a [u8],
    pub(super) query: &'a [u8],
    pub(super) referrer: &'a [u8],
    /// Of the referrer: whose pages ask. Empty where it is none of a page.
    pub(super) referrer_host: &'a [u8],
}

impl<'a> Shown<'a> {
    /// `query` is where the shown query is written to.
    pub(super) fn of(line: &'a Line<'a>, shown: ShownQuery, query: &'a mut Vec<u8>) -> Self {
        let (path, sent) = path_and_query(line.target);
        query.clear();
        match shown {
            ShownQuery::None => {}
            ShownQuery::All => query.extend_from_slice(sent),
            ShownQuery::Known => show_known(query, sent, &line.parameters),
        }
        let (referrer, referrer_host) = referrer(line.referrer);
        Shown {
            line,
            host: after_user(line.host),
            path,
            query,
            referrer,
            referrer_host,
        }
    }
}

/// Of any target there is: `/a?b`, `http://user@host/a?b`, `host:443`, `*`.
fn path_and_query(target: &[u8]) -> (&[u8], &[u8]) {
    let target = until(target, |byte| byte == b'#');
    let start = if target.starts_with(b"/") {
        0
    } else {
        start_of_path(target)
    };
    let rest = &target[start..];
    let path = until(rest, |byte| byte == b'?');
    let query = rest.get(path.len() + 1..).unwrap_or_default();
    (path, query)
}

/// Where what has an authority has its path; what has no scheme has at most a user to be passed over.
fn start_of_path(target: &[u8]) -> usize {
    match colon_of_scheme(target) {
        Some(colon) => colon + 3 + authority(&target[colon + 3..]).len(),
        None => authority(target).len() - after_user(authority(target)).len(),
    }
}

fn show_known(shown: &mut Vec<u8>, query: &[u8], known: &Parameters<'_>) {
    for (position, parameter) in query.split(|byte| *byte == b'&').enumerate() {
        if query.is_empty() {
            return;
        }
        if position > 0 {
            shown.push(b'&');
        }
        let name = until(parameter, |byte| byte == b'=');
        match parameter.get(name.len() + 1..) {
            Some(value) if is_known(name, known) && is_plain(value, VALUE_BYTES_MAX) => {
                shown.extend_from_slice(parameter);
            }
            // What ends with its only `=` may be all value: a token in base64.
            Some(value) if value.iter().any(|byte| *byte != b'=') && is_plain(name, PARAMETER_BYTES_MAX) => {
                shown.extend_from_slice(name);
                shown.extend_from_slice(b"=*");
            }
            None if parameter.is_empty() => {}
            Some(_) | None => shown.push(b'*'),
        }
    }
}

fn is_known(name: &[u8], known: &Parameters<'_>) -> bool {
    let is_transform =
        || known.transforms == Transforms::Taken && str::from_utf8(name).is_ok_and(spec::is_parameter);
    !name.is_empty() && (name == known.version || is_transform())
}

/// Whether it can hold no further parameter by another separator or in another encoding.
fn is_plain(text: &[u8], bytes_max: usize) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.,:~*/[]".contains(byte);
    text.len() <= bytes_max && text.iter().all(plain)
}

/// Without its query, and its host.
fn referrer(sent: &[u8]) -> (&[u8], &[u8]) {
    let bare = until(sent, |byte| matches!(byte, b'?' | b'#'));
    let Some(colon) = colon_of_scheme(bare) else {
        return (after_user(bare), b"");
    };
    let authority = authority(&bare[colon + 3..]);
    let host = after_user(authority);
    let has_user = host.len() < authority.len();
    let may_be_cut = sent.len() >= REFERRER_BYTES_MAX && colon + 3 + authority.len() == sent.len();
    if has_user || may_be_cut {
        // What is left begins behind the user: a text of two parts would have to be copied.
        let start = colon + 3 + authority.len() - host.len();
        return if may_be_cut {
            (b"", b"")
        } else {
            (&bare[start..], host)
        };
    }
    (bare, host)
}

fn authority(text: &[u8]) -> &[u8] {
    until(text, |byte| matches!(byte, b'/' | b'?' | b'#'))
}

fn after_user(authority: &[u8]) -> &[u8] {
    let at = authority.iter().rposition(|byte| *byte == b'@');
    at.map_or(authority, |at| &authority[at + 1..])
}

fn until(text: &[u8], ends: impl Fn(u8) -> bool) -> &[u8] {
    let end = text.iter().position(|byte| ends(*byte));
    &text[..end.unwrap_or(text.len())]
}

/// Where the colon of `://` is, which no colon of a scheme stands before.
fn colon_of_scheme(text: &[u8]) -> Option<usize> {
    let colon = until(text, |byte| matches!(byte, b':' | b'/' | b'?' | b'#' | b'@')).len();
    text[colon..].starts_with(b"://").then_some(colon)
}

#[cfg(test)]
mod tests {
    use super::super::line::tests::line;
    use super::*;
    use proptest::prelude::*;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// Path and query.
    fn of(target: &str, shown: ShownQuery) -> (String, String) {
        let (line, mut query) = (line(target.as_bytes()), Vec::new());
        let shown = Shown::of(&line, shown, &mut query);
        (text(shown.path), text(shown.query))
    }

    fn known(target: &str) -> String {
        of(target, ShownQuery::Known).1
    }

    fn referred(referrer: &str) -> (String, String) {
        let line = Line {
            referrer: referrer.as_bytes(),
            ..line(b"/")
        };
        let mut query = Vec::new();
        let shown = Shown::of(&line, ShownQuery::All, &mut query);
        (text(shown.referrer), text(shown.referrer_host))
    }

    #[test]
    fn parameters_with_a_meaning_are_shown_and_of_others_the_name() {
        assert_eq!(known("/a.jpg?w=300&v=3&fm=webp"), "w=300&v=3&fm=webp");
        assert_eq!(known("/a.jpg?w=300&token=s3cret&v=3"), "w=300&token=*&v=3");
        assert_eq!(
            known("/a.jpg?X-Amz-Signature=ab12&sizes[]=s"),
            "X-Amz-Signature=*&sizes[]=*"
        );
        assert_eq!(known("/a.jpg"), "");
        assert_eq!(known("/a.jpg?"), "");
        assert_eq!(known("/a.jpg?&w=1&"), "&w=1&");
    }

    #[test]
    fn what_may_be_a_secret_in_a_names_place_is_hidden() {
        for hidden in [
            "s3cret",
            "c2VjcmV0",
            "c2VjcmV0=",
            "c2VjcmV0==",
            "token%3Ds3cret",
            "token%3Ds3cret=1",
            "=s3cret",
            "s3cret/with/a/path/that/is/longer/than/names=1",
            "w;token=s3cret",
        ] {
            let shown = known(&format!("/a.jpg?{hidden}"));
            assert!(
                !shown.contains("s3cret") && !shown.contains("c2Vj"),
                "{hidden} as {shown}"
            );
        }
    }

    #[test]
    fn a_known_parameter_can_not_carry_another_one() {
        for (query, shown) in [
            ("w=1;token=s3cret", "w=*"),
            ("v=1%26token%3Ds3cret", "v=*"),
            ("v=token=s3cret", "v=*"),
            ("w=1#token=s3cret", "w=1"),
        ] {
            assert_eq!(known(&format!("/a.jpg?{query}")), shown);
        }
        let long = "s".repeat(VALUE_BYTES_MAX + 1);
        assert_eq!(known(&format!("/a.jpg?v={long}")), "v=*");
    }

    #[test]
    fn a_route_that_takes_no_transforms_gives_their_names_no_meaning() {
        let left = Line {
            parameters: Parameters::NONE,
            ..line(b"/a.jpg?h=abcdef&v=1")
        };
        let mut query = Vec::new();
        assert_eq!(
            text(Shown::of(&left, ShownQuery::Known, &mut query).query),
            "h=*&v=*"
        );
    }

    #[test]
    fn all_shows_the_query_as_it_came_and_none_shows_none() {
        let target = "/a.jpg?token=s3cret&x#fragment";
        assert_eq!(
            of(target, ShownQuery::All),
            ("/a.jpg".into(), "token=s3cret&x".into())
        );
        assert_eq!(of(target, ShownQuery::None), ("/a.jpg".into(), String::new()));
    }

    #[test]
    fn a_user_and_a_password_are_shown_of_no_target() {
        for (target, path) in [
            ("http://user:s3cret@shop.example/a.jpg?w=1", "/a.jpg"),
            ("http://user:s3cret@shop.example?w=1", ""),
            ("user:s3cret@shop.example:443", "shop.example:443"),
            ("*", "*"),
            ("", ""),
            ("//user@shop.example/a", "//user@shop.example/a"),
        ] {
            assert_eq!(of(target, ShownQuery::Known).0, path, "{target}");
        }
        let line = Line {
            host: b"user:s3cret@shop.example",
            ..line(b"/")
        };
        assert_eq!(
            Shown::of(&line, ShownQuery::All, &mut Vec::new()).host,
            b"shop.example"
        );
    }

    #[test]
    fn a_referrer_is_shown_without_query_user_and_password() {
        for (sent, shown, host) in [
            (
                "https://shop.example/shoes?token=s3cret",
                "https://shop.example/shoes",
                "shop.example",
            ),
            (
                "https://shop.example/#s3cret",
                "https://shop.example/",
                "shop.example",
            ),
            (
                "https://u:s3cret@shop.example:8443/a",
                "shop.example:8443/a",
                "shop.example:8443",
            ),
            (
                "https://shop.example?s3cret@x",
                "https://shop.example",
                "shop.example",
            ),
            ("about:blank", "about:blank", ""),
            ("u:s3cret@shop.example/a", "shop.example/a", ""),
            ("", "", ""),
        ] {
            assert_eq!(referred(sent), (shown.into(), host.into()), "{sent}");
        }
        let cut_within_a_password = format!("https://u:{}", "s".repeat(REFERRER_BYTES_MAX - 10));
        assert_eq!(referred(&cut_within_a_password), (String::new(), String::new()));
    }

    proptest! {
        #[test]
        fn a_value_without_a_meaning_is_never_shown(
            before in "[a-z0-9=&;?#%@/:]{0,12}", name in "[A-Za-z0-9._-]{0,12}", after in "[a-z0-9=&;?#%@/:]{0,12}",
        ) {
            prop_assume!(name != "v" && !spec::is_parameter(&name));
            let shown = known(&format!("/a.jpg?{before}&{name}=S3CRET{after}"));
            prop_assert!(!shown.contains("S3CRET"), "{}", shown);
        }

        #[test]
        fn no_target_and_no_referrer_breaks_it(sent in prop::collection::vec(any::<u8>(), 0..64)) {
            let line = Line { referrer: &sent, host: &sent, ..line(&sent) };
            Shown::of(&line, ShownQuery::Known, &mut Vec::new());
        }
    }
}
