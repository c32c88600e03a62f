//! `aquatint purge`: one order to a running edge, and its receipt.
//!
//! Only writes the order and reads the receipt; what an order may be is the edge's to say.

use super::CommandError;
use super::client::{Admin, NoAnswer, Request, Response};
use crate::http::entity_tag::EntityTag;
use clap::Args;
use http::HeaderValue;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATH: &str = "/api/v1/purge";

/// Where the key is looked for without `--key-file`.
const KEY_VARIABLE: &str = "AQUATINT_KEY";

/// More than an edge waits for its log by default.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Args, Debug)]
pub(super) struct Purge {
    /// URLs, each with all its variants, versions and queries; with /* at its end, all below it.
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// What the origin marked with this tag.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// A path and all below it, such as shop.example/products.
    #[arg(long = "prefix", value_name = "PREFIX")]
    prefixes: Vec<String>,
    /// Everything of a host.
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// Everything.
    #[arg(long)]
    all: bool,
    /// Have it revalidated: what the origin confirms with a 304 stays.
    #[arg(long)]
    soft: bool,
    /// Only the query that each URL names.
    #[arg(long)]
    exact: bool,
    /// Tell what a purge would hit, and purge nothing.
    #[arg(long)]
    dry_run: bool,
    /// The entity tag that the origin's answers have from now on; others are not stored.
    #[arg(long, value_name = "ETAG", value_parser = entity_tag)]
    min_etag: Option<String>,
    /// The edge's admin listener.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    admin: Admin,
    /// A file with the key; without it the key is taken from AQUATINT_KEY.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Of several orders with this key one is carried out.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Print the edge's answer as it is.
    #[arg(long)]
    json: bool,
}

/// How an order ended that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Or, for a dry run, nothing had to be.
    Applied,
    Pending,
}

pub(super) fn run(purge: &Purge, output: &mut impl Write) -> Result<End, CommandError> {
    let order = purge.order()?.to_string();
    let key = key(purge.key_file.as_deref())?;
    let authorization = format!("Bearer {key}");
    let mut headers = vec![
        ("Content-Type", "application/json"),
        ("Authorization", authorization.as_str()),
    ];
    if let Some(once) = &purge.idempotency_key {
        headers.push(("Idempotency-Key", visible("--idempotency-key", once)?));
    }
    let request = Request {
        path: PATH,
        headers,
        body: order.as_bytes(),
    };
    let answer = purge.admin.post(&request, PATIENCE);
    let answer = answer.map_err(|failed| purge.unanswered(failed))?;
    let told = purge.told(&answer);
    match &told {
        Err(CommandError::NoAdmin { .. }) => {}
        _ if purge.json => output.write_all(&answer.body)?,
        Ok((_, text)) => writeln!(output, "{text}")?,
        Err(_) => {}
    }
    told.map(|(end, _)| end)
}

impl Purge {
    fn order(&self) -> Result<Value, CommandError> {
        let mut order = Map::new();
        for (name, named) in [
            ("files", &self.urls),
            ("tags", &self.tags),
            ("prefixes", &self.prefixes),
            ("hosts", &self.hosts),
        ] {
            if !named.is_empty() {
                order.insert(name.into(), json!(named));
            }
        }
        if self.all {
            order.insert("purge_everything".into(), json!(true));
        }
        if order.is_empty() {
            let text = "name what to purge: URLs, --tag, --prefix, --host or --all";
            return Err(CommandError::Usage(text.into()));
        }
        for (name, is_on) in [
            ("soft", self.soft),
            ("exact", self.exact),
            ("dry_run", self.dry_run),
        ] {
            if is_on {
                order.insert(name.into(), json!(true));
            }
        }
        if let Some(tag) = &self.min_etag {
            order.insert("min_version".into(), json!({ "etag": tag }));
        }
        Ok(Value::Object(order))
    }

    fn unanswered(&self, failed: NoAnswer) -> CommandError {
        let admin = self.admin.to_string();
        match failed {
            NoAnswer::Unsent(cause) => CommandError::Unreachable { admin, cause },
            NoAnswer::Unheard(cause) => CommandError::Unheard { admin, cause },
        }
    }

    /// What became of it, and what people are told. Any web server answers 200: what only an edge says is asked for.
    fn told(&self, answer: &Response) -> Result<(End, String), CommandError> {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let is_receipt = |state: &str| body["state"] == state && !text(&body["purge_id"]).is_empty();
        match answer.status {
            200 if self.dry_run && body["dry_run"] == true => Ok((End::Applied, dry_run(&body))),
            200 if !self.dry_run && is_receipt("applied") => Ok((End::Applied, applied(&body))),
            202 if !self.dry_run && is_receipt("pending") => Ok((End::Pending, pending(&body))),
            status @ 100..400 => Err(CommandError::NoAdmin {
                admin: self.admin.to_string(),
                status,
            }),
            status => Err(refused(status, &body)),
        }
    }
}

/// As the origin sends it: quotes that belong to it are easily lost on a command line.
fn entity_tag(text: &str) -> Result<String, String> {
    let tag = quoted(text);
    let value = HeaderValue::from_str(&tag).map_err(|_| "it is no text of a header")?;
    match EntityTag::parse(&value) {
        Some(entity_tag) if !entity_tag.is_empty() => Ok(tag),
        _ => Err("an entity tag is needed, such as v7 or W/\"v7\"".into()),
    }
}

fn quoted(tag: &str) -> String {
    match tag.ends_with('"') {
        true => tag.to_owned(),
        false => format!("\"{tag}\""),
    }
}

fn key(file: Option<&Path>) -> Result<String, CommandError> {
    let text = match file {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|cause| CommandError::Usage(format!("--key-file {}: {cause}", file.display())))?,
        None => std::env::var(KEY_VARIABLE).unwrap_or_default(),
    };
    key_of(&text)
}

fn key_of(text: &str) -> Result<String, CommandError> {
    let key = text.trim();
    let wrong = match key {
        "" => format!("a key is needed: in {KEY_VARIABLE}, or in a file that --key-file names"),
        key if key.bytes().all(|byte| byte.is_ascii_graphic()) => return Ok(key.to_owned()),
        _ => "the key is not one line of visible characters".into(),
    };
    Err(CommandError::Usage(wrong))
}

fn visible<'a>(flag: &str, text: &'a str) -> Result<&'a str, CommandError> {
    match text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(text),
        false => Err(CommandError::Usage(format!("{flag}: visible characters only"))),
    }
}

fn dry_run(body: &Value) -> String {
    let Value::Object(counts) = body else {
        return String::new();
    };
    let count = |name: &str| counts.get(name).and_then(Value::as_u64).unwrap_or(0);
    let (objects, bytes) = (count("objects"), count("bytes"));
    let objects = counted(objects, "object");
    format!("a purge would hit {objects} of {bytes} bytes; nothing was purged")
}

fn applied(body: &Value) -> String {
    let what = match body["duplicate"] == true {
        true => "purged by an earlier order",
        false => "purged",
    };
    let nodes = counted(body["nodes"].as_array().map_or(0, Vec::len) as u64, "node");
    let (index, id, at) = (
        &body["index"],
        text(&body["purge_id"]),
        text(&body["committed_at"]),
    );
    format!("{what}: index {index}, purge {id}, committed at {at}, applied on {nodes}")
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn pending(body: &Value) -> String {
    let id = text(&body["purge_id"]);
    format!(
        "pending: purge {id} is not known to be committed; GET /api/v1/purges/{id} tells what becomes of it"
    )
}

fn refused(status: u16, body: &Value) -> CommandError {
    let error = &body["error"];
    let message = match text(&error["message"]) {
        "" => "the answer says no more",
        message => message,
    };
    CommandError::Refused {
        status,
        message: message.to_owned(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        purge: Purge,
    }

    fn purge(arguments: &[&str]) -> Purge {
        let arguments = ["purge"].iter().chain(arguments);
        Line::try_parse_from(arguments)
            .unwrap_or_else(|error| panic!("{error}"))
            .purge
    }

    #[test]
    fn every_flag_becomes_the_field_of_its_meaning() {
        let all = purge(&[
            "https://a/1",
            "https://a/2",
            "--tag",
            "x",
            "--tag",
            "y",
            "--prefix",
            "a/p",
            "--host",
            "b",
            "--all",
            "--soft",
            "--exact",
            "--dry-run",
            "--min-etag",
            "v7",
        ]);
        let expected = json!({
            "files": ["https://a/1", "https://a/2"], "tags": ["x", "y"], "prefixes": ["a/p"], "hosts": ["b"],
            "purge_everything": true, "soft": true, "exact": true, "dry_run": true,
            "min_version": {"etag": "\"v7\""},
        });
        assert_eq!(all.order().unwrap(), expected);
        assert_eq!(purge(&["--tag", "x"]).order().unwrap(), json!({"tags": ["x"]}));
        assert!(matches!(purge(&["--soft"]).order(), Err(CommandError::Usage(_))));
    }

    #[test]
    fn an_entity_tag_keeps_the_quotes_it_has() {
        assert_eq!(
            [quoted("v7"), quoted("\"v7\""), quoted("W/\"v7\"")],
            ["\"v7\"", "\"v7\"", "W/\"v7\""]
        );
    }

    fn told_to(arguments: &[&str], status: u16, body: &str) -> Result<(End, String), CommandError> {
        purge(arguments).told(&Response {
            status,
            body: body.into(),
        })
    }

    fn told(status: u16, body: &Value) -> Result<(End, String), String> {
        let told = told_to(&["--all"], status, &body.to_string());
        told.map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_no_receipt_is_no_success_however_it_is_answered() {
        for (status, body) in [
            (200, ""),
            (200, "<html>It works</html>"),
            (200, "{}"),
            (200, "[]"),
            (200, "null"),
            (200, r#"{"state": "applied"}"#),
            (200, r#"{"state": "applied", "purge_id": ""}"#),
            (200, r#"{"state": "applied", "purge_id": 7}"#),
            (200, r#"{"state": "pending", "purge_id": "0190"}"#),
            (200, r#"{"dry_run": true, "objects": 0, "bytes": 0}"#),
            (202, "{}"),
            (204, ""),
            (302, ""),
        ] {
            let told = told_to(&["--all"], status, body);
            let Err(error @ CommandError::NoAdmin { .. }) = told else {
                panic!("{status} {body}: {told:?}");
            };
            assert!(error.to_string().contains("this is no admin listener"), "{error}");
            assert_eq!(crate::cli::fail(&error), 5);
        }
        let receipt = r#"{"state": "applied", "purge_id": "0190"}"#;
        let told = told_to(&["--all", "--dry-run"], 200, receipt);
        assert!(matches!(told, Err(CommandError::NoAdmin { .. })), "{told:?}");
    }

    #[test]
    fn people_are_told_what_became_of_it() {
        let receipt = json!({
            "purge_id": "0190", "index": 7, "committed_at": "2026-01-01T00:00:00.000Z", "nodes": [{}],
            "state": "applied", "duplicate": false,
        });
        let (end, text) = told(200, &receipt).unwrap();
        let expected =
            "purged: index 7, purge 0190, committed at 2026-01-01T00:00:00.000Z, applied on 1 node";
        assert_eq!((end, text.as_str()), (End::Applied, expected));
        let (end, text) = told(202, &json!({"purge_id": "0190", "state": "pending"})).unwrap();
        assert_eq!(end, End::Pending);
        assert!(text.starts_with("pending: purge 0190 "), "{text}");
        let estimate = r#"{"dry_run": true, "objects": 2, "bytes": 9}"#;
        let (_, text) = told_to(&["--all", "--dry-run"], 200, estimate).unwrap();
        assert_eq!(text, "a purge would hit 2 objects of 9 bytes; nothing was purged");
        let error = told(
            422,
            &json!({"error": {"code": "no_route", "message": "no route covers it"}}),
        );
        assert_eq!(
            error.unwrap_err(),
            "aquatint: refused with 422: no route covers it"
        );
        assert!(told(404, &Value::Null).unwrap_err().contains("404"));
    }

    #[test]
    fn an_entity_tag_that_is_empty_or_malformed_is_wrong_usage() {
        for wrong in ["", "\"", "\"\"", "W/\"\"", "a\"b\"", "a b", "a\nb"] {
            let line = Line::try_parse_from(["purge", "http://a/b", "--min-etag", wrong]);
            assert!(line.is_err(), "{wrong:?}");
        }
    }

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
        for (text, found) in [
            ("aqk_1\n", Some("aqk_1")),
            ("", None),
            ("a\r\nb: c", None),
            ("\u{e9}", None),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(key(Some(&file)).ok().as_deref(), found, "{text:?}");
        }
        assert!(matches!(
            key(Some(Path::new("/nowhere/key"))),
            Err(CommandError::Usage(_))
        ));
    }
}
