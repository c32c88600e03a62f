//! An origin that is a directory of files.
//!
//! It answers GET and HEAD of regular files with validators and single ranges. Invariant: a header describes the very
//! file that is sent, because both come from one open file. Which files a path can reach is [`super::beneath`]'s to
//! say; it says nothing about freshness.

use super::config::Config;
use super::deadline::Deadlines;
use super::error::{OpenError, OriginError, Stage};
use super::file::{FileBody, Stretch, off_the_runtime};
use super::{Framing, OriginBody, OriginRequest, OriginResponse, Source, beneath, observe_since};
use crate::base::clock;
use crate::base::metrics::OriginMetrics;
use crate::http::conditional::{self, Precondition, RangeApplies, Validators};
use crate::http::freshness::{Exchange, InitialAge};
use crate::http::range::{self, Ranges};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::fs::{File, Metadata};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

pub(super) struct Directory {
    root: Arc<Path>,
    config: Config,
}

/// A regular file beneath the root, and what is said of it.
struct Found {
    file: File,
    length: u64,
    etag: HeaderValue,
    last_modified: HeaderValue,
    content_type: HeaderValue,
}

impl Directory {
    pub(super) fn open(root: &Path, config: &Config) -> Result<Self, OpenError> {
        let failed = |source: io::Error| OpenError::Directory {
            path: root.into(),
            source,
        };
        if !std::fs::metadata(root).map_err(failed)?.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        Ok(Directory {
            root: root.into(),
            config: config.clone(),
        })
    }

    pub(super) async fn ask(
        &self,
        request: OriginRequest,
        metrics: &Arc<OriginMetrics>,
    ) -> Result<OriginResponse, OriginError> {
        let requested_at = clock::now();
        let sent_at = clock::monotonic();
        let mut deadlines = Deadlines::start(&self.config);
        let answer = self.answer(&request, &mut deadlines).await?;
        observe_since(sent_at, &metrics.first_byte);
        let source = match answer.body {
            Some((file, stretch)) => Source::File(FileBody::new(file, stretch, deadlines)),
            None => Source::Ended,
        };
        Ok(OriginResponse {
            status: answer.status,
            length: Some(answer.length),
            headers: answer.headers,
            body: OriginBody::new(source, Framing::Framed, sent_at, metrics),
            exchange: Exchange {
                requested_at,
                received_at: clock::now(),
                initial_age: InitialAge::ByHeader,
            },
        })
    }

    async fn answer(
        &self,
        request: &OriginRequest,
        deadlines: &mut Deadlines,
    ) -> Result<Answer, OriginError> {
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let mut answer = Answer::empty(StatusCode::METHOD_NOT_ALLOWED);
            answer
                .headers
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(answer);
        }
        let Some(path) = beneath::path_of(&request.path_and_query) else {
            return Ok(Answer::empty(StatusCode::NOT_FOUND));
        };
        let root = self.root.clone();
        let look_up = move || Found::look_up(&root, &path);
        match off_the_runtime(deadlines, Stage::FirstByte, look_up).await? {
            Some(found) => Ok(found.answer(request)),
            None => Ok(Answer::empty(StatusCode::NOT_FOUND)),
        }
    }
}

impl Found {
    /// None where no regular file beneath `root` has this path.
    fn look_up(root: &Path, path: &Path) -> io::Result<Option<Found>> {
        let file = match beneath::open(root, path) {
            Ok(file) => file,
            Err(errno) if beneath::names_no_file(errno) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        Ok(Some(Found {
            length: metadata.len(),
            etag: etag(&metadata),
            last_modified: last_modified(&metadata)?,
            content_type: content_type(path),
            file,
        }))
    }

    fn answer(self, request: &OriginRequest) -> Answer {
        let validators = Validators {
            etag: Some(&self.etag),
            last_modified: Some(&self.last_modified),
            date: None,
        };
        match conditional::evaluate(&request.method, &request.headers, StatusCode::OK, &validators) {
            Precondition::NotModified => Answer::empty(StatusCode::NOT_MODIFIED).described(&self),
            Precondition::Failed => Answer::empty(StatusCode::PRECONDITION_FAILED),
            Precondition::Proceed => match self.asked_range(request, &validators) {
                Ranges::Unsatisfiable => Answer::unsatisfiable(self.length),
                Ranges::Some(ranges) if ranges.len() == 1 => self.part(request, ranges[0].clone()),
                Ranges::Some(_) | Ranges::Whole => self.whole(request),
            },
        }
    }

    /// RFC 9110 section 14.2: ranges are for GET alone, and for as long as If-Range holds.
    fn asked_range(&self, request: &OriginRequest, validators: &Validators) -> Ranges {
        match request.headers.get(header::RANGE) {
            Some(range)
                if request.method == Method::GET
                    && matches!(
                        conditional::range_applies(&request.headers, validators),
                        RangeApplies::Yes
                    ) =>
            {
                range::parse(range, self.length, 1)
            }
            _ => Ranges::Whole,
        }
    }

    fn whole(self, request: &OriginRequest) -> Answer {
        let stretch = Stretch {
            start: 0,
            length: self.length,
        };
        Answer::empty(StatusCode::OK)
            .described(&self)
            .with_body(request, self.file, stretch)
    }

    fn part(self, request: &OriginRequest, range: RangeInclusive<u64>) -> Answer {
        let (first, last) = range.into_inner();
        let content_range = format!("bytes {first}-{last}/{}", self.length);
        let mut answer = Answer::empty(StatusCode::PARTIAL_CONTENT).described(&self);
        answer.headers.insert(header::CONTENT_RANGE, valid(content_range));
        let stretch = Stretch {
            start: first,
            length: last - first + 1,
        };
        answer.with_body(request, self.file, stretch)
    }
}

/// What the directory says to one request.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    length: u64,
    body: Option<(File, Stretch)>,
}

impl Answer {
    fn empty(status: StatusCode) -> Self {
        let mut headers = HeaderMap::new();
        if status != StatusCode::NOT_MODIFIED {
            headers.insert(header::CONTENT_LENGTH, 0.into());
        }
        Answer {
            status,
            headers,
            length: 0,
            body: None,
        }
    }

    fn unsatisfiable(length: u64) -> Self {
        let mut answer = Answer::empty(StatusCode::RANGE_NOT_SATISFIABLE);
        answer
            .headers
            .insert(header::CONTENT_RANGE, valid(format!("bytes */{length}")));
        answer
    }

    fn described(mut self, found: &Found) -> Self {
        self.headers.insert(header::ETAG, found.etag.clone());
        self.headers
            .insert(header::LAST_MODIFIED, found.last_modified.clone());
        self.headers
            .insert(header::CONTENT_TYPE, found.content_type.clone());
        self.headers
            .insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        self
    }

    /// Promises a stretch of `file`, and sends it where the method asks for it.
    fn with_body(mut self, request: &OriginRequest, file: File, stretch: Stretch) -> Self {
        self.headers.insert(header::CONTENT_LENGTH, stretch.length.into());
        self.length = stretch.length;
        let sends = request.method == Method::GET && stretch.length > 0;
        self.body = sends.then_some((file, stretch));
        self
    }
}

fn valid(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("digits and punctuation are valid in a header")
}

/// Strong: changes with the file's size, its time of change in nanoseconds, or the file itself.
fn etag(metadata: &Metadata) -> HeaderValue {
    let (size, seconds, nanoseconds) = (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
    valid(format!(
        "\"{size:x}-{seconds:x}.{nanoseconds:x}-{:x}\"",
        metadata.ino()
    ))
}

fn last_modified(metadata: &Metadata) -> io::Result<HeaderValue> {
    let modified = metadata.modified()?;
    // Dates before 1970 or after 9999 have no HTTP form.
    let within = clock::Timestamp::from(modified)
        .as_secs()
        .clamp(0, 253_402_300_799);
    Ok(valid(httpdate::fmt_http_date(
        clock::Timestamp::from_secs(within).as_system_time(),
    )))
}

/// By extension; what is not known is left to be downloaded.
fn content_type(path: &Path) -> HeaderValue {
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default();
    HeaderValue::from_static(match extension.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" | "jpe" | "jfif" => "image/jpeg",
        "png" => "image/png",
        "apng" => "image/apng",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "jxl" => "image/jxl",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "jp2" => "image/jp2",
        "bmp" => "image/bmp",
        "tif" | "tiff" => "image/tiff",
        "ico" => "image/x-icon",
        "svg" => "image/svg+xml",
        "html" | "htm" => "text/html; charset=utf-8",
        "txt" => "text/plain; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        _ => "application/octet-stream",
    })
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
