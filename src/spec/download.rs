//! `Content-Disposition: attachment` with a name that a client chose (RFC 6266, RFC 8187).
//!
//! Invariant: whatever the name was, the field's value is one parameter list: no quote, line break, path or character
//! that hides the name's real end gets through. It does not know which formats names end in.

use super::Download;
use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Characters of a file name: most file systems end at 255 bytes.
const NAME_MAX: usize = 80;

/// All but the `attr-char` of RFC 8187 section 3.2.1.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

impl Download {
    pub(super) fn without_name() -> Download {
        Download(HeaderValue::from_static("attachment"))
    }

    pub(super) fn named(name: &str) -> Download {
        let name = sanitised(name);
        if name.is_empty() {
            return Download::without_name();
        }
        let plain: String = name.chars().map(|c| if c.is_ascii() { c } else { '_' }).collect();
        let mut field = format!("attachment; filename=\"{plain}\"");
        if plain != name {
            let encoded = utf8_percent_encode(&name, ENCODED);
            field.push_str(&format!("; filename*=UTF-8''{encoded}"));
        }
        // Printable ASCII only, so that it always is one.
        HeaderValue::try_from(field).map_or_else(|_| Download::without_name(), Download)
    }
}

/// A name that any file system takes, without the dots that would hide the file or climb.
fn sanitised(name: &str) -> String {
    let name: String = name.chars().take(NAME_MAX).map(tame).collect();
    name.trim_matches(['.', ' ']).to_owned()
}

fn tame(character: char) -> char {
    match character {
        // Path separators, what Windows forbids, what ends a quoted string, and what browsers decode.
        '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' | '%' => '_',
        // They turn the text around or join nothing: `exe.gpj` would read as `jpg.exe`.
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => '_',
        control if control.is_control() => '_',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn field(name: &str) -> String {
        Download::named(name).0.to_str().unwrap().to_owned()
    }

    #[test]
    fn names_are_tamed() {
        for (name, expected) in [
            ("a.jpg", "attachment; filename=\"a.jpg\""),
            ("my cat.jpg", "attachment; filename=\"my cat.jpg\""),
            ("..", "attachment"),
            ("../../etc/passwd", "attachment; filename=\"_.._etc_passwd\""),
            ("a\"; filename=b", "attachment; filename=\"a_; filename=b\""),
            ("a\r\nSet-Cookie: b", "attachment; filename=\"a__Set-Cookie_ b\""),
            ("a%22.jpg", "attachment; filename=\"a_22.jpg\""),
            (
                "K\u{e4}se \u{20ac}.jpg",
                "attachment; filename=\"K_se _.jpg\"; filename*=UTF-8''K%C3%A4se%20%E2%82%AC.jpg",
            ),
            ("gpj\u{202e}.exe", "attachment; filename=\"gpj_.exe\""),
        ] {
            assert_eq!(field(name), expected, "{name:?}");
        }
        assert!(field(&"\u{20ac}".repeat(10_000)).len() < 1_000);
    }

    proptest! {
        #[test]
        fn no_name_leaves_its_quotes(name in any::<String>()) {
            let field = field(&name);
            prop_assert!(field.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert!(matches!(field.matches('"').count(), 0 | 2));
            prop_assert!(!field.contains(['/', '\\']));
        }
    }
}
