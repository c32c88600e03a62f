//! The path of a URL, encoded normally and without dot segments (RFC 3986 section 5.2.4).
//!
//! Invariant: a normal path starts with a slash and has no `.` or `..` segment, encoded or not. An encoded slash
//! stays encoded: it separates nothing here. It does not know what the path leads to.

use super::UrlError;
use super::encoding::{self, Component};
use std::borrow::Cow;

/// Borrows a path that is normal already. Climbing above the root is refused rather than cut off: no honest client
/// asks.
pub(super) fn normalise(path: &str) -> Result<Cow<'_, str>, UrlError> {
    if !path.starts_with('/') {
        return Err(UrlError::RelativePath);
    }
    if is_plain(path) {
        return Ok(Cow::Borrowed(path));
    }
    let encoded = encoding::normalise(path, Component::Path)?;
    if encoded
        .split('/')
        .any(|segment| segment == "." || segment == "..")
    {
        return resolved(&encoded).map(Cow::Owned);
    }
    Ok(encoded)
}

/// Nothing encoded and no segment that starts with a dot: one scan finds most paths normal.
fn is_plain(path: &str) -> bool {
    let mut needs = 0;
    let mut dot_first = false;
    let mut previous = 0;
    for byte in path.bytes() {
        needs |= Component::Path.need(byte);
        dot_first |= previous == b'/' && byte == b'.';
        previous = byte;
    }
    needs == 0 && !dot_first
}

fn resolved(path: &str) -> Result<String, UrlError> {
    let mut resolved = Vec::new();
    for segment in path[1..].split('/') {
        match segment {
            "." => {}
            ".." => drop(resolved.pop().ok_or(UrlError::AboveRoot)?),
            segment => resolved.push(segment),
        }
    }
    let mut text = String::with_capacity(path.len());
    for segment in &resolved {
        text.push('/');
        text.push_str(segment);
    }
    if resolved.is_empty() || path.ends_with("/.") || path.ends_with("/..") {
        text.push('/');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(path: &str) -> Result<String, UrlError> {
        normalise(path).map(Cow::into_owned)
    }

    #[test]
    fn dot_segments_are_resolved_also_when_encoded() {
        for (path, expected) in [
            ("/", "/"),
            ("/.", "/"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b/%2e", "/b/"),
            ("/a/b/c/./../../g", "/a/g"),
            ("/a//../b", "/a/b"),
        ] {
            assert_eq!(normal(path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn climbing_above_the_root_is_refused() {
        for path in [
            "/..",
            "/../a",
            "/a/../..",
            "/%2e%2e/etc/passwd",
            "/a/../../b",
            "/.%2E",
        ] {
            assert_eq!(normal(path), Err(UrlError::AboveRoot), "{path}");
        }
    }

    #[test]
    fn names_that_only_start_with_dots_are_names() {
        for path in ["/.well-known/a", "/...", "/..a", "/a/..;/b", "/a./b.."] {
            assert_eq!(normal(path).as_deref(), Ok(path));
        }
    }

    #[test]
    fn a_normal_path_is_borrowed_also_when_it_holds_encoded_bytes_and_leading_dots() {
        for path in [
            "/",
            "//a//b/",
            "/a/b-1.jpg",
            "/a%20b/%E2%82%AC",
            "/a%2Fb",
            "/%252e",
            "/.well-known/a",
            "/...",
            "/..a",
        ] {
            assert!(
                matches!(normalise(path), Ok(Cow::Borrowed(same)) if same == path),
                "{path}"
            );
        }
        for path in ["/a%2fb", "/%41", "/a/./b", "/a/%2E"] {
            assert!(matches!(normalise(path), Ok(Cow::Owned(_))), "{path}");
        }
    }

    #[test]
    fn empty_segments_and_encoded_slashes_stay() {
        assert_eq!(normal("//a//b/").as_deref(), Ok("//a//b/"));
        assert_eq!(normal("/a%2fb").as_deref(), Ok("/a%2Fb"));
        assert_eq!(normal("/a/..%2f..%2fb").as_deref(), Ok("/a/..%2F..%2Fb"));
    }

    #[test]
    fn encoding_has_one_form() {
        assert_eq!(normal("/%41%7e%2d%3a").as_deref(), Ok("/A~-%3A"));
        assert_eq!(normal("/%e2%82%ac").as_deref(), Ok("/%E2%82%AC"));
        assert_eq!(normal("/\u{20ac}|[\"?").as_deref(), Ok("/%E2%82%AC%7C%5B%22%3F"));
        assert_eq!(normal("/%252e%252e/a").as_deref(), Ok("/%252e%252e/a"));
        assert_eq!(normal("/a:b@c!$&'()*+,;=").as_deref(), Ok("/a:b@c!$&'()*+,;="));
    }

    #[test]
    fn what_no_honest_path_holds_is_refused_by_its_fault() {
        for (path, error) in [
            ("", UrlError::RelativePath),
            ("a", UrlError::RelativePath),
            ("*", UrlError::RelativePath),
            ("/a\0", UrlError::Control),
            ("/a%00", UrlError::Control),
            ("/a\n", UrlError::Control),
            ("/a%0d%0aX: y", UrlError::Control),
            ("/a\u{7f}", UrlError::Control),
            ("/a%7f", UrlError::Control),
            ("/a b", UrlError::Delimiter),
            ("/a#b", UrlError::Delimiter),
            ("/a\\b", UrlError::Backslash),
            ("/..%5c..%5cb", UrlError::Backslash),
            ("/%", UrlError::PercentEncoding),
            ("/%4", UrlError::PercentEncoding),
            ("/%4g", UrlError::PercentEncoding),
            ("/%zz", UrlError::PercentEncoding),
            ("/%+1", UrlError::PercentEncoding),
            ("/%\u{20ac}", UrlError::PercentEncoding),
        ] {
            assert_eq!(normal(path), Err(error), "{path:?}");
        }
    }
}
