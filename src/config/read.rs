//! From YAML text to a [`Config`] and everything in the text that could not become part of it.
//!
//! Serde stops at the first problem. So that a reader sees all of them at once, a node that cannot be read is
//! noted, taken out of the tree, and the tree is read again. The tree is kept as JSON values: unlike YAML's,
//! they spell an enum with data as a one-key map (`keep: {include: [w]}`) and their map keys are always text.
//! As in YAML, what a plain `2` or `1.1` is depends on what is asked for: where a text is wanted, it is one.

use super::Config;
use super::doubts::Doubts;
use crate::base::problem::Problem;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};
use std::fmt;

/// Problems reported of one file.
const PROBLEMS_MAX: usize = 100;
/// Characters of a value shown.
const VALUE_CHARS_MAX: usize = 60;
/// What secrets begin with, and the keys that hold some: what stands there is not shown, wherever it belongs.
const SECRET_PREFIXES: [&str; 3] = ["aqk_", "aqc_", "whsec_"];
const SECRET_KEYS: [&str; 3] = ["secrets", "secret", "hash"];
const NOT_SHOWN: &str = "(not shown)";

#[derive(Debug)]
pub(super) struct Reading {
    /// Defaults stand where the text could not be read.
    pub(super) config: Config,
    pub(super) problems: Vec<Problem>,
    pub(super) doubts: Doubts,
}

pub(super) fn read(text: &str) -> Reading {
    let tree = match tree_of(text) {
        Ok(tree) => tree,
        Err(problem) => return Reading::of_nothing(vec![problem]),
    };
    let mut reader = Reader {
        tree,
        problems: Vec::new(),
        doubts: Doubts::default(),
    };
    while reader.problems.len() < PROBLEMS_MAX {
        match serde_path_to_error::deserialize(&reader.tree) {
            Ok(config) => return reader.done(config),
            Err(error) => reader.repair(&error),
        }
    }
    Reading::of_nothing(reader.problems)
}

/// The text's syntax, without regard to what is expected in it.
pub(super) fn tree_of(text: &str) -> Result<Value, Problem> {
    let mut yaml: serde_yaml::Value = serde_yaml::from_str(text).map_err(syntax_problem)?;
    yaml.apply_merge().map_err(syntax_problem)?;
    let tree = serde_json::to_value(yaml).map_err(|error| Problem {
        key: "(document)".into(),
        value: error.to_string(),
        allowed: "keys that are text or numbers".into(),
    })?;
    match tree {
        Value::Null => Ok(Value::Object(Default::default())),
        Value::Object(mut sections) => {
            // A section whose keys are all commented out.
            sections.retain(|_, section| !section.is_null());
            Ok(Value::Object(sections))
        }
        other => Err(Problem {
            key: "(document)".into(),
            value: shown(&other),
            allowed: "sections with keys, such as `edge:`".into(),
        }),
    }
}

fn syntax_problem(error: serde_yaml::Error) -> Problem {
    let key = error.location().map_or("(document)".into(), |place| {
        format!("line {} column {}", place.line(), place.column())
    });
    Problem {
        key,
        value: error.to_string(),
        allowed: "YAML".into(),
    }
}

impl Reading {
    fn of_nothing(problems: Vec<Problem>) -> Self {
        Reading {
            config: Config::default(),
            problems,
            doubts: Doubts::all(),
        }
    }
}

struct Reader {
    tree: Value,
    problems: Vec<Problem>,
    doubts: Doubts,
}

impl Reader {
    fn done(self, config: Config) -> Reading {
        Reading {
            config,
            problems: self.problems,
            doubts: self.doubts,
        }
    }

    /// Makes the tree smaller, or one more scalar of it a text: repairing ends.
    fn repair(&mut self, error: &serde_path_to_error::Error<serde_json::Error>) {
        let place = Place::of(error.path(), &self.tree);
        let message = error.inner().to_string();
        if let Some(field) = missing_field(&message) {
            return self.refuse_without(&place, field);
        }
        match place.find(&mut self.tree) {
            Some(scalar @ (Value::Number(_) | Value::Bool(_))) => *scalar = Value::String(scalar.to_string()),
            _ => self.refuse(&place, &message),
        }
    }

    fn refuse(&mut self, place: &Place, message: &str) {
        let value = match place.find(&mut self.tree) {
            _ if message.starts_with("unknown field") => "no such key".into(),
            Some(_) if place.holds_secrets() => NOT_SHOWN.into(),
            Some(node) => shown(node),
            None => String::new(),
        };
        let allowed = allowed(message);
        self.note(&place.to_string(), Noted { value, allowed });
        self.take_out(place);
    }

    fn refuse_without(&mut self, place: &Place, field: &str) {
        let allowed = "a value; this key has no default".into();
        let value = "(missing)".into();
        self.note(&format!("{place}.{field}"), Noted { value, allowed });
        self.take_out(place);
    }

    /// A map may lack a field only because that field has been refused: that is no further problem.
    fn note(&mut self, key: &str, noted: Noted) {
        let key = self.doubts.as_written(key);
        if !self.doubts.about(&key) {
            self.doubts.add(key.clone());
            let Noted { value, allowed } = noted;
            self.problems.push(Problem { key, value, allowed });
        }
    }

    fn take_out(&mut self, place: &Place) {
        let Some((last, above)) = place.0.split_last() else {
            self.tree = Value::Object(Default::default());
            return;
        };
        let above = Place(above.to_vec());
        match (above.find(&mut self.tree), last) {
            (Some(Value::Object(map)), Step::Key(key)) => drop(map.remove(key)),
            (Some(Value::Array(list)), Step::Index(index)) => {
                list.remove(*index);
                let written = self.doubts.as_written(&place.to_string());
                if let Some((list, index)) = super::doubts::split_index(&written) {
                    self.doubts.leave_out(list.into(), index);
                }
            }
            _ => unreachable!("a place has been found in the tree"),
        }
    }
}

struct Noted {
    value: String,
    allowed: String,
}

/// Where a node is, from the top. It exists.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl Place {
    /// As far down `path` as there are nodes: an enum's variant is a step of the path, but a node only where it carries data.
    fn of(path: &Path, tree: &Value) -> Self {
        let mut steps = Vec::new();
        let mut node = tree;
        for segment in path {
            let (step, below) = match segment {
                Segment::Seq { index } => (Step::Index(*index), node.get(*index)),
                Segment::Map { key } | Segment::Enum { variant: key } => {
                    (Step::Key(key.clone()), node.get(key))
                }
                Segment::Unknown => break,
            };
            let Some(below) = below else { break };
            steps.push(step);
            node = below;
        }
        Place(steps)
    }

    fn holds_secrets(&self) -> bool {
        let is_secret = |step: &Step| matches!(step, Step::Key(key) if SECRET_KEYS.contains(&key.as_str()));
        self.0.iter().any(is_secret)
    }

    fn find<'a>(&self, tree: &'a mut Value) -> Option<&'a mut Value> {
        self.0.iter().try_fold(tree, |node, step| match step {
            Step::Key(key) => node.get_mut(key),
            Step::Index(index) => node.get_mut(*index),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if depth == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// `text` without the secrets in it; what all of them begin with may be told.
pub(super) fn without_secrets(text: &str) -> String {
    let begins = SECRET_PREFIXES
        .iter()
        .filter_map(|prefix| text.find(prefix))
        .min();
    let Some(begin) = begins else {
        return text.to_owned();
    };
    let (before, secret) = text.split_at(begin);
    // No secret has one of these.
    let end = secret
        .find([' ', '.', '[', '"', '`', '\'', ':', ','])
        .unwrap_or(secret.len());
    let (secret, after) = secret.split_at(end);
    let is_bare = SECRET_PREFIXES.contains(&secret);
    let shown = if is_bare { secret } else { NOT_SHOWN };
    format!("{before}{shown}{}", without_secrets(after))
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        other => other.to_string(),
    };
    if SECRET_PREFIXES.iter().any(|prefix| text.contains(prefix)) {
        return NOT_SHOWN.into();
    }
    if text.chars().count() <= VALUE_CHARS_MAX {
        return text;
    }
    text.chars().take(VALUE_CHARS_MAX).chain("..".chars()).collect()
}

fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// What serde's message says would have been accepted.
fn allowed(message: &str) -> String {
    if message == "invalid socket address syntax" {
        return "an address with its port, such as 127.0.0.1:8080".into();
    }
    if message.starts_with("data did not match any variant") {
        return "a single value, neither a list nor keys".into();
    }
    if let Some((_, wanted)) = message.split_once(" is not ") {
        return wanted.into();
    }
    match message.rsplit_once(", expected ") {
        Some((_, expected)) => in_words(expected).replace('`', ""),
        None => message.into(),
    }
}

/// What serde calls what it expected, for readers who do not write Rust.
fn in_words(expected: &str) -> &str {
    match expected {
        "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "keys with values",
        structure if structure.starts_with("struct ") => "keys with values",
        other => other.trim_start_matches("one of "),
    }
}
