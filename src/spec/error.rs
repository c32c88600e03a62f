//! Why a URL's parameters are refused: the parameter, its value, and what is allowed.
//!
//! Invariant: the text tells a developer what to write instead, is one line, and is short however long the URL was.
//! It does not know statuses.

/// Characters of a parameter's name or value that are repeated to the one who sent it.
const SHOWN_MAX: usize = 60;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    #[error("{parameter}={value}: allowed is {allowed}; the request is refused")]
    Value {
        parameter: String,
        value: String,
        allowed: String,
    },
}

impl SpecError {
    pub(super) fn value(parameter: &str, value: &str, allowed: impl Into<String>) -> SpecError {
        SpecError::Value {
            parameter: shown(parameter),
            value: shown(value),
            allowed: allowed.into(),
        }
    }
}

/// What a client sent goes into answers and logs: control characters and those that turn text around are escaped.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for (at, character) in text.chars().enumerate() {
        if at == SHOWN_MAX {
            shown.push_str("...");
            break;
        }
        match character {
            '"' | '\'' => shown.push(character),
            other => shown.extend(other.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_is_one_short_line() {
        let error = SpecError::value("w", "1\r\nX: y\u{202e}\u{1b}", "1..8192");
        let expected = "w=1\\r\\nX: y\\u{202e}\\u{1b}: allowed is 1..8192; the request is refused";
        assert_eq!(error.to_string(), expected);
        let long = SpecError::value("w", &"9".repeat(10_000), "1..8192");
        assert!(long.to_string().len() < 200, "{long}");
    }
}
