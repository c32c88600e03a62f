//! What a route that makes variants says beside: which client hints it wants, and what an SVG may not do.
//!
//! Invariant: whatever a browser may take for an SVG, by any spelling of its type, runs nothing. It does not look at
//! bodies.

use crate::spec::Policy;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

const ACCEPT_CH: HeaderName = HeaderName::from_static("accept-ch");

/// An SVG runs no script and loads nothing, wherever it is opened.
const INERT: HeaderValue = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");

pub(super) fn advise(policy: &Policy, headers: &mut HeaderMap) {
    if let Some(hints) = policy.accept_ch() {
        headers.insert(ACCEPT_CH, hints.clone());
    }
    if may_be_vector(headers) {
        headers.append(CONTENT_SECURITY_POLICY, INERT);
    }
}

/// Of several types browsers take the last that they can read (<https://fetch.spec.whatwg.org/#content-type-header>).
fn may_be_vector(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CONTENT_TYPE).into_iter();
    let types = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    types.map(essence).any(is_xml)
}

/// Without its parameters.
fn essence(media_type: &[u8]) -> &[u8] {
    let end = media_type.iter().position(|byte| *byte == b';');
    media_type[..end.unwrap_or(media_type.len())].trim_ascii()
}

/// By [`essence`]. An SVG may be served as any XML (<https://mimesniff.spec.whatwg.org/#xml-mime-type>) and runs its
/// script all the same. XHTML is what HTML is: a page, and no image's type.
fn is_xml(media_type: &[u8]) -> bool {
    let is = |other: &str| media_type.eq_ignore_ascii_case(other.as_bytes());
    let ends_in = |end: &str| {
        let at = media_type.len().checked_sub(end.len());
        at.is_some_and(|at| media_type[at..].eq_ignore_ascii_case(end.as_bytes()))
    };
    let is_xml = ends_in("+xml") || ["image/svg", "text/xml", "application/xml"].into_iter().any(is);
    is_xml && !is("application/xhtml+xml")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::config::Transform;

    fn is_inert(types: &[&'static str]) -> bool {
        let policy = Policy::compile(&Transform::default(), &Default::default());
        let mut headers = HeaderMap::new();
        for media_type in types {
            headers.append(CONTENT_TYPE, HeaderValue::from_static(media_type));
        }
        advise(&policy, &mut headers);
        headers.contains_key(CONTENT_SECURITY_POLICY)
    }

    #[test]
    fn whatever_may_be_an_svg_is_inert() {
        for types in [
            &["image/svg+xml"][..],
            &["Image/SVG+XML"],
            &["IMAGE/SVG"],
            &[" image/svg+xml ; charset=utf-8"],
            &["text/xml"],
            &["application/XML;charset=utf-8"],
            &["image/x+xml"],
            &["image/png, image/svg+xml"],
            &["image/png", "image/svg+xml"],
        ] {
            assert!(is_inert(types), "{types:?}");
        }
    }

    #[test]
    fn other_types_are_left_alone() {
        for types in [
            &[][..],
            &["image/png"],
            &["image/svgz"],
            &["text/html"],
            &["application/xhtml+xml"],
            &["text/plain; x=image/svg+xml"],
            &["+xm"],
            &[""],
        ] {
            assert!(!is_inert(types), "{types:?}");
        }
    }
}
