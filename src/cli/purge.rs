//! `aquatint purge`: one order to a running edge, and its receipt.
//!
//! Only writes the order and reads the receipt; what an order may be is the edge's to say.

use super::CommandError;
use super::access::{Access, PATIENCE, counted, refused, text};
use super::client::{Method, Repeat, Request, Response};
use super::exit::Exit;
use crate::http::entity_tag::EntityTag;
use clap::Args;
use http::HeaderValue;
use serde_json::{Map, Value, json};
use std::io::Write;

const PATH: &str = "/api/v1/purge";

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
    #[command(flatten)]
    access: Access,
    /// Of several orders with this key one is carried out.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

pub(super) async fn run(purge: &Purge, output: &mut impl Write) -> Result<Exit, CommandError> {
    let order = purge.order()?.to_string();
    let mut client = purge.access.client_with_key()?;
    let mut headers = vec![("Content-Type", "application/json")];
    if let Some(once) = &purge.idempotency_key {
        headers.push(("Idempotency-Key", visible("--idempotency-key", once)?));
    }
    let request = Request {
        method: Method::Post,
        path: PATH,
        headers,
        body: order.as_bytes(),
        repeat: Repeat::Never,
    };
    let answer = client.ask(&request, PATIENCE).await;
    let answer = answer.map_err(|failed| purge.access.unanswered(failed))?;
    let told = purge.told(&answer);
    match &told {
        Err(CommandError::NoAdmin { .. }) => {}
        _ if purge.access.json => output.write_all(&answer.body)?,
        Ok((_, text)) => writeln!(output, "{text}")?,
        Err(_) => {}
    }
    told.map(|(exit, _)| exit)
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

    /// What became of it, and what people are told. Any web server answers 200: what only an edge says is asked for.
    fn told(&self, answer: &Response) -> Result<(Exit, String), CommandError> {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let is_receipt = |state: &str| body["state"] == state && !text(&body["purge_id"]).is_empty();
        match answer.status {
            200 if self.dry_run && body["dry_run"] == true => Ok((Exit::Done, dry_run(&body))),
            200 if !self.dry_run && is_receipt("applied") => Ok((Exit::Done, applied(&body))),
            202 if !self.dry_run && is_receipt("pending") => Ok((Exit::Pending, pending(&body))),
            status @ 100..400 => Err(CommandError::NoAdmin {
                admin: self.access.admin.to_string(),
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

fn pending(body: &Value) -> String {
    let id = text(&body["purge_id"]);
    format!(
        "pending: purge {id} is not known to be committed; GET /api/v1/purges/{id} tells what becomes of it"
    )
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

    fn told_to(arguments: &[&str], status: u16, body: &str) -> Result<(Exit, String), CommandError> {
        purge(arguments).told(&Response {
            status,
            retry_after_s: None,
            body: body.into(),
        })
    }

    fn told(status: u16, body: &Value) -> Result<(Exit, String), String> {
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
            assert_eq!(crate::cli::fail(&error).code(), 5);
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
        assert_eq!((end, text.as_str()), (Exit::Done, expected));
        let (end, text) = told(202, &json!({"purge_id": "0190", "state": "pending"})).unwrap();
        assert_eq!(end, Exit::Pending);
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
}
