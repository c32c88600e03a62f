//! `Put`: a response that a program hands in.
//!
//! It is stored by the key's primary, so that whoever misses finds it: another node passes it on, once.
//!
//! Invariant: what is stored has the length and, where one was declared, the digest that its opening says. It does not know by
//! which rules it is stored.

use super::call::Call;
use super::get::{asked, status};
use crate::base::digest::Hasher;
use crate::cluster::question::LogPosition;
use crate::serve::putting::{Handed, NotPut};
use crate::serve::{Engine, ServeError};
use crate::upstream::{Elsewhere, OriginError};
use crate::wire::cache_client::CacheClient;
use crate::wire::put_request::{Open, Part};
use crate::wire::{Field, PutRequest};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use futures::stream::{self, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

const AUTHORIZATION: &str = "authorization";

/// Says that another node has taken it in: who gets it stores it.
const PASSED_ON: &str = "aquatint-passed-on";

/// Where that node was in the log of purges.
const POSITION: &str = "aquatint-log";

/// What a response has no more of.
const FIELDS_MAX: usize = 256;

/// Says what was wrong with the body, to who waits for the end.
type Fault = Arc<Mutex<Option<Status>>>;

/// The body, as it comes.
struct Coming {
    stream: Streaming<PutRequest>,
    left: u64,
    hasher: Hasher,
    /// Of the whole, where it was declared.
    digest: Option<[u8; 32]>,
    fault: Fault,
}

/// Answers with the body's digest.
pub(super) async fn put(
    engine: &Engine,
    call: &Call,
    client: Option<SocketAddr>,
    said: &MetadataMap,
    mut stream: Streaming<PutRequest>,
) -> Result<Bytes, Status> {
    // Before anything is read: a purge from here on wins, on whichever node it is stored.
    let position = engine.log_position();
    let open = opening(&mut stream).await?;
    let asked = asked(open.url.clone(), &Method::GET, Vec::new(), client)?;
    let request = asked.admit(&call.settings.guard);
    let request = request.map_err(|refusal| Status::invalid_argument(refusal.to_string()))?;
    if !said.contains_key(PASSED_ON) {
        let elsewhere = engine.keeper_elsewhere(&request);
        let elsewhere = elsewhere.map_err(|error| refused(&error.into()))?;
        if let Some((cluster, keeper)) = elsewhere {
            let channel = cluster.peers().channel(&keeper);
            return pass_on(channel, said, position, open, stream).await;
        }
    }
    let fault = Fault::default();
    let taken_in_at = taken_in_at(said)?.unwrap_or(position);
    let handed = handed(open, stream, taken_in_at, fault.clone())?;
    let put = engine.put(&request, handed).await;
    let digest = put.map_err(|error| fault.lock().take().unwrap_or_else(|| refused(&error)))?;
    Ok(Bytes::copy_from_slice(digest.as_bytes()))
}

fn handed(
    open: Open,
    stream: Streaming<PutRequest>,
    taken_in_at: LogPosition,
    fault: Fault,
) -> Result<Handed<Coming>, Status> {
    Ok(Handed {
        status: status(open.status)?,
        headers: headers_of(open.fields)?,
        length: open.length,
        taken_in_at,
        body: Coming {
            stream,
            left: open.length,
            hasher: Hasher::default(),
            digest: declared(&open.digest)?,
            fault,
        },
    })
}

/// To the node that is to store it, under the key that was shown here. A stream that breaks ends there before the length that
/// was declared, and stores nothing.
async fn pass_on(
    channel: Channel,
    said: &MetadataMap,
    position: LogPosition,
    open: Open,
    stream: Streaming<PutRequest>,
) -> Result<Bytes, Status> {
    let first = PutRequest {
        part: Some(Part::Open(open)),
    };
    let rest = stream
        .take_while(|message| ready(message.is_ok()))
        .filter_map(|message| ready(message.ok()));
    let mut request = Request::new(stream::iter([first]).chain(rest));
    let metadata = request.metadata_mut();
    if let Some(key) = said.get(AUTHORIZATION) {
        metadata.insert(AUTHORIZATION, key.clone());
    }
    metadata.insert(PASSED_ON, MetadataValue::from_static("1"));
    let position = MetadataValue::try_from(position.to_string());
    let position = position.expect("digits and a space are visible ASCII");
    metadata.insert(POSITION, position);
    let answer = CacheClient::new(channel).put(request).await?;
    Ok(answer.into_inner().digest)
}

/// Where another node was that has passed it on; one of the release before does not say.
fn taken_in_at(said: &MetadataMap) -> Result<Option<LogPosition>, Status> {
    let Some(text) = said.get(POSITION) else {
        return Ok(None);
    };
    let position = text.to_str().ok().and_then(LogPosition::parse);
    let malformed = || Status::invalid_argument("where the other node is in the log of purges is malformed");
    position.ok_or_else(malformed).map(Some)
}

async fn opening(stream: &mut Streaming<PutRequest>) -> Result<Open, Status> {
    match stream.message().await?.and_then(|message| message.part) {
        Some(Part::Open(open)) => Ok(open),
        _ => Err(Status::invalid_argument("the first message has to open")),
    }
}

/// Fields that belong to a connection are no part of a response that is stored.
fn headers_of(fields: Vec<Field>) -> Result<HeaderMap, Status> {
    if fields.len() > FIELDS_MAX {
        return Err(Status::invalid_argument("the response has too many fields"));
    }
    let mut headers = HeaderMap::with_capacity(fields.len());
    for Field { name, value } in fields {
        let wrong = || Status::invalid_argument(format!("{name:?} is no field of a response"));
        let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        headers.append(known, HeaderValue::from_maybe_shared(value).map_err(|_| wrong())?);
    }
    crate::http::hop::strip_hop_by_hop(&mut headers);
    crate::cluster::question::strip(&mut headers);
    Ok(headers)
}

fn declared(digest: &[u8]) -> Result<Option<[u8; 32]>, Status> {
    match digest.try_into() {
        Ok(digest) => Ok(Some(digest)),
        Err(_) if digest.is_empty() => Ok(None),
        Err(_) => Err(Status::invalid_argument(
            "a digest is 32 bytes of BLAKE3, or none",
        )),
    }
}

fn refused(error: &NotPut) -> Status {
    let code = match error {
        NotPut::Serve(ServeError::NoRoute | ServeError::Reserved) => Code::NotFound,
        NotPut::Serve(_) | NotPut::Variant | NotPut::Status(_) | NotPut::Varies => Code::InvalidArgument,
        NotPut::Uncached | NotPut::Unfit(_) => Code::FailedPrecondition,
        NotPut::Overtaken => Code::Aborted,
        NotPut::OtherLog => Code::Unavailable,
        NotPut::NoRoom => Code::ResourceExhausted,
        NotPut::Broken(_) => Code::Unavailable,
    };
    Status::new(code, error.to_string())
}

impl Elsewhere for Coming {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, OriginError>> {
        let next = async {
            let next = self.read().await;
            next.map_err(|status| {
                *self.fault.lock() = Some(status);
                OriginError::RequestBody
            })
        };
        next.boxed()
    }
}

impl Coming {
    async fn read(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            match self.stream.message().await?.and_then(|message| message.part) {
                None if self.left > 0 => {
                    return Err(Status::invalid_argument("the body is shorter than declared"));
                }
                None => return Ok(None),
                Some(Part::Open(_)) => return Err(Status::invalid_argument("it was opened already")),
                Some(Part::Chunk(chunk)) if chunk.is_empty() => {}
                Some(Part::Chunk(chunk)) => return self.take(chunk).map(Some),
            }
        }
    }

    /// The last bytes are given away only when all of them are what was declared.
    fn take(&mut self, chunk: Bytes) -> Result<Bytes, Status> {
        let left = self.left.checked_sub(chunk.len() as u64);
        self.left = left.ok_or_else(|| Status::invalid_argument("the body is longer than declared"))?;
        if let Some(declared) = &self.digest {
            self.hasher.update(&chunk);
            if self.left == 0 && self.hasher.finish().as_bytes() != declared {
                return Err(Status::invalid_argument(
                    "the body has another digest than declared",
                ));
            }
        }
        Ok(chunk)
    }
}
