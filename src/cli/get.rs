//! `aquatint get URL`: how a running edge answers for an image, or how it would and why.
//!
//! Only asks and shows: what is decided, the edge says.

use super::CommandError;
use super::access::{Access, PATIENCE, counted, shown, text};
use super::client::{Method, Repeat, Request};
use super::exit::Exit;
use clap::Args;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::time::Duration;

/// An image may take as long as the edge lets it: `admin.warm_deadline`.
const IMAGE_PATIENCE: Duration = Duration::from_secs(300);

#[derive(Args, Debug)]
pub(super) struct Get {
    /// As a client would ask for it, such as https://shop.example/a.jpg?w=300.
    #[arg(value_name = "URL")]
    url: String,
    /// Tell what the edge would do and why, and do nothing.
    #[arg(long)]
    explain: bool,
    /// A header of the request, such as 'Accept: image/avif'.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The request's method, with --explain.
    #[arg(long, value_name = "METHOD", requires = "explain")]
    method: Option<String>,
    #[command(flatten)]
    access: Access,
}

fn header(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().into(), value.trim().into())),
        _ => Err("a header is a name, a colon and a value"),
    }
}

pub(super) async fn run(get: &Get, output: &mut impl Write) -> Result<Exit, CommandError> {
    let Get { access, explain, .. } = get;
    let body = get.body()?.to_string();
    let (path, proof, patience) = match explain {
        true => ("/api/v1/explain", "answer", PATIENCE),
        false => ("/api/v1/warm", "outcome", IMAGE_PATIENCE),
    };
    let request = Request {
        method: Method::Post,
        path,
        headers: vec![("Content-Type", "application/json")],
        body: body.as_bytes(),
        repeat: Repeat::Harmless,
    };
    let answer = access.client()?.ask(&request, patience).await;
    let answer = answer.map_err(|failed| access.unanswered(failed))?;
    let told = access.told(&answer, proof);
    if access.json && !matches!(told, Err(CommandError::NoAdmin { .. })) {
        output.write_all(&answer.body)?;
    }
    let told = told?;
    let text = match explain {
        true => explained(&told),
        false => fetched(&told),
    };
    if !access.json {
        output.write_all(text.as_bytes())?;
    }
    Ok(match *explain || went_well(&told) {
        true => Exit::Done,
        false => Exit::Failure,
    })
}

impl Get {
    fn body(&self) -> Result<Value, CommandError> {
        let mut headers = Map::new();
        for (name, value) in &self.headers {
            let before = headers.insert(name.to_ascii_lowercase(), json!(value));
            if before.is_some() {
                return Err(CommandError::Usage(format!(
                    "-H {name} is given twice: write its values into one, with commas between"
                )));
            }
        }
        let mut body = json!({ "url": self.url, "headers": headers });
        if let Some(method) = &self.method {
            body["method"] = json!(method);
        }
        Ok(body)
    }
}

/// Whether an image that was asked for came.
pub(super) fn went_well(told: &Value) -> bool {
    let is_answered = told["status"]
        .as_u64()
        .is_some_and(|status| (200..400).contains(&status));
    is_answered && !matches!(text(&told["outcome"]), "error" | "refused" | "")
}

/// Names and values, one a line.
#[derive(Default)]
struct Lines(String);

impl Lines {
    /// A line for what there is.
    fn add(&mut self, name: &str, value: impl AsRef<str>) {
        if !value.as_ref().is_empty() {
            self.0 += &format!("{name:<14}{}\n", shown(value.as_ref()));
        }
    }
}

fn fetched(told: &Value) -> String {
    let mut lines = Lines::default();
    lines.add("url", text(&told["url"]));
    lines.add("status", told["status"].to_string());
    lines.add("outcome", text(&told["outcome"]));
    lines.add("cache-status", text(&told["cache_status"]));
    lines.add("bytes", told["bytes"].to_string());
    lines.add(
        "duration",
        format!("{:.3} s", told["duration_seconds"].as_f64().unwrap_or_default()),
    );
    lines.add("stored", if told["stored"] == true { "yes" } else { "no" });
    lines.add("note", text(&told["note"]));
    lines.0
}

fn explained(told: &Value) -> String {
    let mut lines = Lines::default();
    let answer = &told["answer"];
    lines.add("url", text(&told["url"]));
    lines.add("would", would(text(&answer["action"])));
    lines.add("because", text(&answer["because"]));
    lines.add("cache-status", text(&answer["cache_status"]));
    lines.add("route", text(&told["route"]));
    lines.add("origin", text(&told["origin"]));
    lines.add("key", text(&told["key"]));
    lines.add("key name", text(&told["key_name"]));
    lines.add("owner", owner(told));
    lines.add("stored", stored(&told["stored"]));
    lines.add("freshness", freshness(&told["stored"]));
    lines.add("stale windows", windows(&told["stored"]["stale"]));
    lines.add("purges", purges(told));
    lines.add("varies by", varies(&told["vary"]));
    lines.add("variant", variant(&told["variant"]));
    lines.add(
        "flight",
        if told["flight"] == true {
            "an origin request is under way"
        } else {
            "none under way"
        },
    );
    lines.0
}

fn would(action: &str) -> &str {
    match action {
        "serve" => "answer from the cache",
        "serve_and_refresh" => "answer from the cache, and refresh it behind",
        "revalidate" => "ask the origin whether what is stored is still right",
        "fetch" => "fetch it from the origin",
        "join" => "wait for the origin request that is under way",
        "pass" => "pass the request on to the origin, by the cache",
        "refuse" => "refuse it",
        other => other,
    }
}

fn owner(told: &Value) -> String {
    match (text(&told["owner"]), text(&told["node"])) {
        (owner, node) if owner == node => format!("{owner} (this node)"),
        (owner, node) => format!("{owner} (this node is {node})"),
    }
}

fn stored(stored: &Value) -> String {
    if stored.is_null() {
        return "nothing".to_owned();
    }
    let content_type = match text(&stored["content_type"]) {
        "" => "of no type",
        content_type => content_type,
    };
    let bytes = stored["bytes"].as_u64().unwrap_or_default();
    format!(
        "{} {} {content_type}, {}; entry in {}, body in {}; digest {}",
        text(&stored["kind"]),
        stored["status"],
        counted(bytes, "byte"),
        text(&stored["tier"]),
        text(&stored["body_tier"]),
        text(&stored["digest"]),
    )
}

fn freshness(stored: &Value) -> String {
    if stored.is_null() {
        return String::new();
    }
    let age = stored["age_seconds"].as_u64().unwrap_or_default();
    match stored["fresh_for_seconds"].as_i64().unwrap_or_default() {
        left if left >= 0 => format!("{age} s old, fresh for {left} s"),
        left => format!("{age} s old, stale for {} s", -left),
    }
}

fn windows(stale: &Value) -> String {
    if stale.is_null() {
        return String::new();
    }
    let seconds = |name: &str| stale[name].as_u64().unwrap_or_default();
    let on_request = if stale["on_request"] == true {
        ", any that a request allows"
    } else {
        ""
    };
    format!(
        "{} s while it is refreshed, {} s when the origin fails, {} s when it can not be reached{on_request}",
        seconds("while_revalidate_seconds"),
        seconds("if_error_seconds"),
        seconds("on_disconnect_seconds"),
    )
}

fn purges(told: &Value) -> String {
    let (purges, stored) = (&told["purges"], &told["stored"]);
    let standing = match text(&stored["standing"]) {
        "valid" => "no purge covers what is stored",
        "soft" => "a soft purge covers what is stored",
        "hard" => "a purge covers what is stored",
        _ => "nothing is stored that a purge could cover",
    };
    let asked = match stored["epoch"].as_u64() {
        Some(epoch) => format!("; it was asked for at {epoch}"),
        None => String::new(),
    };
    let applied = purges["applied"].as_u64().unwrap_or_default();
    format!("{standing}{asked}; the log is at {applied}")
}

fn varies(vary: &Value) -> String {
    let fields = vary["fields"].as_array().into_iter().flatten();
    let fields = fields.map(text).collect::<Vec<_>>().join(", ");
    match vary.is_null() {
        true => String::new(),
        false => format!(
            "{fields}; {}",
            counted(vary["alternates"].as_u64().unwrap_or_default(), "alternate")
        ),
    }
}

fn variant(variant: &Value) -> String {
    if variant.is_null() {
        return "the source as it is".to_owned();
    }
    let found = &variant["found"];
    let state = match text(&found["is"]) {
        "stored" => format!("in {}", text(&found["tier"])),
        "stand_in" => format!(
            "its stand-in is in {}, it would be made behind",
            text(&found["tier"])
        ),
        "missing" => "it would be made".to_owned(),
        "failed" => format!("it failed a short while ago: {}", text(&found["why"])),
        "unfit" => "none may be made of this source".to_owned(),
        _ => "made once the source is here".to_owned(),
    };
    format!("{}; {state}", text(&variant["spec"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_went_well_when_it_is_one() {
        for (status, outcome, well) in [
            (200, "miss", true),
            (200, "bypass", true),
            (304, "revalidated", true),
            (404, "miss", false),
            (200, "error", false),
            (502, "error", false),
            (400, "refused", false),
        ] {
            assert_eq!(
                went_well(&json!({"status": status, "outcome": outcome})),
                well,
                "{status} {outcome}"
            );
        }
        assert!(!went_well(&json!({})));
    }

    #[test]
    fn an_explanation_is_readable_whatever_is_missing() {
        let text = explained(
            &json!({"url": "http://a/b", "answer": {"action": "fetch", "because": "nothing is stored"}}),
        );
        assert!(
            text.contains("would         fetch it from the origin\n"),
            "{text}"
        );
        assert!(text.contains("stored        nothing\n"), "{text}");
        assert!(!text.contains("null"), "{text}");
    }
}
