//! The JSON of an order, as it is written: Cloudflare's names, and Fastly's `surrogate_keys`.
//!
//! Invariant: no field is passed over, and none is known by its position: what has fields is an object. It does not know
//! what may be ordered.

use super::super::order::{Minimum, Mode};
use super::{PurgeRequest, Purpose, Reach, RequestError, Target};
use crate::http::entity_tag::EntityTag;
use http::{HeaderName, HeaderValue};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Written {
    files: Vec<File>,
    tags: Vec<String>,
    surrogate_keys: Vec<String>,
    prefixes: Vec<String>,
    hosts: Vec<String>,
    purge_everything: bool,
    soft: bool,
    exact: bool,
    min_version: Option<Object<MinVersion>>,
    dry_run: bool,
}

/// A URL, or Cloudflare's `{"url": .., "headers": ..}`: whatever alternate the headers name, all are purged.
struct File(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MinVersion {
    etag: Option<String>,
    header: Option<String>,
    at_least: Option<u64>,
}

/// A webhook's body (Standard Webhooks).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    #[serde(rename = "type")]
    _kind: String,
    /// The event's own; what counts is the header's, which is that of the attempt.
    #[serde(rename = "timestamp", default)]
    _timestamp: Option<String>,
    data: Object<Written>,
}

/// So that an event of another kind is told so, and not that its data are wrong.
#[derive(Deserialize)]
struct EventKind {
    #[serde(rename = "type")]
    kind: String,
}

pub(super) fn order(body: &[u8]) -> Result<Written, RequestError> {
    parse(body)
}

pub(super) fn event(body: &[u8]) -> Result<Written, RequestError> {
    let EventKind { kind } = parse(body)?;
    if kind != "purge" {
        return Err(RequestError::EventType(kind));
    }
    parse::<Event>(body).map(
        |Event {
             data: Object(order), ..
         }| order,
    )
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, RequestError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let parsed = serde_path_to_error::deserialize(&mut json);
    let Object(parsed) = parsed.map_err(|error| {
        let (path, cause) = (error.path().to_string(), error.inner());
        RequestError::Malformed(match path.as_str() {
            "." => format!("the order is malformed: {cause}"),
            path => format!("the order is malformed at {path}: {cause}"),
        })
    })?;
    match json.end() {
        Ok(()) => Ok(parsed),
        Err(cause) => Err(RequestError::Malformed(format!(
            "the order is malformed: {cause}"
        ))),
    }
}

impl Written {
    pub(super) fn understood(self) -> Result<PurgeRequest, RequestError> {
        self.check_what_goes_together()?;
        let minimum = self
            .min_version
            .as_ref()
            .map(|Object(minimum)| minimum.understood())
            .transpose()?;
        let (mode, purpose) = (self.mode(), self.purpose());
        let mut seen = HashSet::new();
        let mut targets = self.targets()?;
        targets.retain(|target| seen.insert(target.clone()));
        let has_prefix = || targets.iter().any(|target| matches!(target, Target::Prefix(_)));
        if minimum.is_some() && has_prefix() {
            return Err(MinVersion::not_with("goes with files that are no wildcards"));
        }
        let has_query = || targets.iter().any(Target::is_every_query_of_one);
        if matches!(minimum, Some(Minimum::EntityTag(_))) && has_query() {
            let cause = "is of one URL: with it, files that have a query need exact";
            return Err(MinVersion::not_with(cause));
        }
        Ok(PurgeRequest {
            targets,
            mode,
            minimum,
            purpose,
        })
    }

    fn check_what_goes_together(&self) -> Result<(), RequestError> {
        let tags = !self.tags.is_empty() || !self.surrogate_keys.is_empty();
        let others = tags || !self.prefixes.is_empty() || !self.hosts.is_empty() || self.purge_everything;
        if self.files.is_empty() && !others {
            return Err(RequestError::Empty);
        }
        if self.min_version.is_some() && (others || self.files.is_empty()) {
            return Err(MinVersion::not_with("goes with files and with nothing else"));
        }
        if self.exact && self.files.is_empty() {
            return Err(RequestError::Field {
                field: "exact",
                cause: "goes with files, of which there are none",
            });
        }
        Ok(())
    }

    fn mode(&self) -> Mode {
        if self.soft { Mode::Soft } else { Mode::Hard }
    }

    fn purpose(&self) -> Purpose {
        match self.dry_run {
            true => Purpose::DryRun,
            false => Purpose::Purge,
        }
    }

    fn targets(&self) -> Result<Vec<Target>, RequestError> {
        let reach = match self.exact {
            true => Reach::Exact,
            false => Reach::Every,
        };
        let files = self.files.iter().map(|File(url)| Target::file(url, reach));
        let tags = self.tags.iter().chain(&self.surrogate_keys);
        let tags = tags.map(|tag| Target::tag(tag));
        let prefixes = self.prefixes.iter().map(|prefix| Target::prefix(prefix));
        let hosts = self.hosts.iter().map(|host| Target::host(host));
        let everything = self.purge_everything.then_some(Ok(Target::Everything));
        files
            .chain(tags)
            .chain(prefixes)
            .chain(hosts)
            .chain(everything)
            .collect()
    }
}

impl MinVersion {
    fn understood(&self) -> Result<Minimum, RequestError> {
        match self {
            MinVersion {
                etag: Some(tag),
                header: None,
                at_least: None,
            } => entity_tag(tag),
            MinVersion {
                etag: None,
                header: Some(header),
                at_least: Some(at_least),
            } => version(header, *at_least),
            _ => Err(Self::not_with("has either etag, or header and at_least")),
        }
    }

    fn not_with(cause: &'static str) -> RequestError {
        RequestError::Field {
            field: "min_version",
            cause,
        }
    }
}

fn entity_tag(text: &str) -> Result<Minimum, RequestError> {
    let value = HeaderValue::from_str(text).ok();
    match value.as_ref().and_then(EntityTag::parse) {
        Some(tag) if !tag.is_empty() => Ok(Minimum::EntityTag(text.to_owned())),
        _ => Err(RequestError::Field {
            field: "min_version.etag",
            cause: "is no entity tag, or an empty one: its quotes belong to it",
        }),
    }
}

fn version(header: &str, at_least: u64) -> Result<Minimum, RequestError> {
    match HeaderName::from_bytes(header.as_bytes()) {
        Ok(name) => Ok(Minimum::Version {
            header: name.as_str().to_owned(),
            at_least,
        }),
        Err(_) => Err(RequestError::Field {
            field: "min_version.header",
            cause: "is no header's name",
        }),
    }
}

/// What has to be written as an object: serde would take the fields of an array by their order.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_map(ObjectVisitor(PhantomData))
            .map(Object)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

impl<'de> Deserialize<'de> for File {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FileVisitor)
    }
}

struct FileVisitor;

impl<'de> Visitor<'de> for FileVisitor {
    type Value = File;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URL, or an object with a url")
    }

    fn visit_str<E: de::Error>(self, url: &str) -> Result<File, E> {
        Ok(File(url.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<File, A::Error> {
        let mut url = None;
        while let Some(field) = map.next_key::<String>()? {
            match field.as_str() {
                "url" if url.is_some() => return Err(de::Error::duplicate_field("url")),
                "url" => url = Some(map.next_value()?),
                "headers" => drop(map.next_value::<IgnoredAny>()?),
                _ => return Err(de::Error::unknown_field(&field, &["url", "headers"])),
            }
        }
        url.map(File).ok_or_else(|| de::Error::missing_field("url"))
    }
}
