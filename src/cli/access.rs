//! How commands come to a running edge: its address, the key, and what they make of its answers.
//!
//! Invariant: a key is read from a file or the environment, never from the command line, where others see it. What answers,
//! and is no edge, is told from one that refuses. It does not know what is asked.

use super::CommandError;
use super::client::{Admin, Client, NoAnswer, Response};
use clap::Args;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the key is looked for without `--key-file`.
const KEY_VARIABLE: &str = "AQUATINT_KEY";

/// More than an edge waits for its log by default.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Args, Debug)]
pub(super) struct Access {
    /// The edge's admin listener.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    pub(super) admin: Admin,
    /// A file with the key; without it the key is taken from AQUATINT_KEY.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Print the edge's answer as it is, in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl Access {
    /// A client with the key, where there is one: on the edge's own machine none is needed.
    pub(super) fn client(&self) -> Result<Client, CommandError> {
        let key = match read_key(self.key_file.as_deref())? {
            text if text.trim().is_empty() => None,
            text => Some(key_of(&text)?),
        };
        Ok(Client::new(self.admin.clone(), key.as_deref()))
    }

    /// A client with the key, which is needed.
    pub(super) fn client_with_key(&self) -> Result<Client, CommandError> {
        let key = key_of(&read_key(self.key_file.as_deref())?)?;
        Ok(Client::new(self.admin.clone(), Some(&key)))
    }

    pub(super) fn unanswered(&self, failed: NoAnswer) -> CommandError {
        unanswered(&self.admin, failed)
    }

    /// The JSON of an answer that does not refuse.
    pub(super) fn told(&self, answer: &Response, proof: &str) -> Result<Value, CommandError> {
        told(&self.admin, answer, proof)
    }
}

pub(super) fn unanswered(admin: &Admin, failed: NoAnswer) -> CommandError {
    let admin = admin.to_string();
    match failed {
        NoAnswer::Unsent(cause) => CommandError::Unreachable { admin, cause },
        NoAnswer::Unheard(cause) => CommandError::Unheard { admin, cause },
    }
}

/// The JSON of an answer that does not refuse. Any web server answers 200: of an edge it has the field `proof`.
pub(super) fn told(admin: &Admin, answer: &Response, proof: &str) -> Result<Value, CommandError> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match answer.status {
        200 if body.get(proof).is_some() => Ok(body),
        status @ 100..400 => Err(CommandError::NoAdmin {
            admin: admin.to_string(),
            status,
        }),
        status => Err(refused(status, &body)),
    }
}

/// With all that is wrong, where there are several things.
pub(super) fn refused(status: u16, body: &Value) -> CommandError {
    let error = &body["error"];
    let message = match text(&error["message"]) {
        "" => "the answer says no more",
        message => message,
    };
    let problems = error["problems"].as_array().into_iter().flatten();
    let problems: String = problems
        .map(|problem| format!("\n  {}", shown(text(problem))))
        .collect();
    CommandError::Refused {
        status,
        message: shown(message) + &problems,
    }
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What somebody else wrote, without what a terminal would obey, and what would hide or turn around the text near it.
pub(super) fn shown(text: &str) -> String {
    let harmless = |character: char| match character.is_control() || is_unseen(character) {
        true => char::REPLACEMENT_CHARACTER,
        false => character,
    };
    text.chars().map(harmless).collect()
}

/// Of no width, or a direction of writing, or a separator of lines.
const fn is_unseen(character: char) -> bool {
    matches!(
        character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}

pub(super) fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn read_key(file: Option<&Path>) -> Result<String, CommandError> {
    match file {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|cause| CommandError::Usage(format!("--key-file {}: {cause}", file.display())))
            .and_then(|text| match text.trim() {
                "" => Err(no_key()),
                _ => Ok(text),
            }),
        None => Ok(std::env::var(KEY_VARIABLE).unwrap_or_default()),
    }
}

fn key_of(text: &str) -> Result<String, CommandError> {
    match text.trim() {
        "" => Err(no_key()),
        key if key.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(key.to_owned()),
        _ => Err(CommandError::Usage(
            "the key is not one line of visible characters".into(),
        )),
    }
}

fn no_key() -> CommandError {
    CommandError::Usage(format!(
        "a key is needed: in {KEY_VARIABLE}, or in a file that --key-file names"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn without_a_key_one_is_asked_for() {
        for none in ["", " \n"] {
            let error = key_of(none).unwrap_err().to_string();
            assert!(error.contains("a key is needed: in AQUATINT_KEY"), "{error}");
        }
    }

    #[test]
    fn a_key_is_one_line_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let key = |file: &Path| read_key(Some(file)).and_then(|text| key_of(&text));
        for (text, found) in [
            ("aqk_1\n", Some("aqk_1")),
            ("", None),
            ("a\r\nb: c", None),
            ("\u{e9}", None),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(key(&file).ok().as_deref(), found, "{text:?}");
        }
        assert!(matches!(
            key(Path::new("/nowhere/key")),
            Err(CommandError::Usage(_))
        ));
    }

    #[test]
    fn a_refusal_is_told_with_all_that_is_wrong_and_nothing_a_terminal_obeys() {
        let body = json!({"error": {"message": "no\u{1b}[2J", "problems": ["a: 1", "b: 2"]}});
        let error = refused(422, &body).to_string();
        assert_eq!(error, "aquatint: refused with 422: no\u{fffd}[2J\n  a: 1\n  b: 2");
    }

    #[test]
    fn nothing_that_is_shown_hides_or_turns_around_what_stands_near_it() {
        for unseen in [
            '\u{200b}', '\u{200f}', '\u{2028}', '\u{202a}', '\u{202e}', '\u{2060}', '\u{2066}', '\u{2069}',
            '\u{206f}', '\u{feff}', '\u{7f}', '\u{9b}',
        ] {
            assert_eq!(shown(&format!("a{unseen}b")), "a\u{fffd}b", "{unseen:?}");
        }
        assert_eq!(shown("\u{e4} \u{5d0} \u{2026}"), "\u{e4} \u{5d0} \u{2026}");
    }

    #[test]
    fn what_is_no_edge_is_no_success() {
        let admin: Admin = "http://127.0.0.1:1".parse().unwrap();
        let answer = |status, body: &str| Response {
            status,
            retry_after_s: None,
            body: body.into(),
        };
        for (status, body) in [
            (200, "It works"),
            (200, "{}"),
            (204, ""),
            (302, "{\"samples\":1}"),
        ] {
            let told = told(&admin, &answer(status, body), "samples");
            assert!(
                matches!(told, Err(CommandError::NoAdmin { .. })),
                "{status} {body}"
            );
        }
        assert!(told(&admin, &answer(200, "{\"samples\":[]}"), "samples").is_ok());
        let refusal = told(&admin, &answer(403, ""), "samples");
        assert!(matches!(refusal, Err(CommandError::Refused { status: 403, .. })));
    }
}
