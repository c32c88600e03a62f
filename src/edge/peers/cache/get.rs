//! `Get` and `Head`: a client's request, made by a program.
//!
//! Invariant: it passes the guard and the engine as a client's does, and its body ends well only when it is whole. It does not
//! know who calls.

use super::call::Call;
use super::code_of;
use crate::base::clock;
use crate::edge::admin::asked::{Asked, Purpose, Written};
use crate::edge::interim;
use crate::edge::peers::body::{Closing, body_of};
use crate::edge::respond::{self, Reply};
use crate::serve::{Answer, Engine, Hints};
use crate::upstream::{BodyGone, RequestBody};
use crate::wire::{Field, GetRequest, GetResponse, Header, get_response::Part};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tonic::{Code, Status};

/// What a request that a program describes has no more of than its header.
struct NoBody;

impl RequestBody for NoBody {
    fn is_absent(&self) -> bool {
        true
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyGone> {
        Ok(None)
    }
}

/// The request that a program describes.
pub(super) fn asked(
    url: String,
    method: &Method,
    fields: Vec<Field>,
    client: Option<SocketAddr>,
) -> Result<Asked, Status> {
    let fields = fields.into_iter().map(|Field { name, value }| {
        let value = String::from_utf8(value.to_vec());
        let value = value.map_err(|_| Status::invalid_argument(format!("the field {name} is no UTF-8")))?;
        Ok((name, value))
    });
    let written = Written::new(url, method, fields.collect::<Result<_, Status>>()?);
    let client = client.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
    let asked = written.understand(Purpose::Explain, client, clock::now());
    asked.map_err(|error| Status::invalid_argument(error.to_string()))
}

pub(super) async fn answer(
    engine: &Engine,
    call: &Call,
    method: &Method,
    client: Option<SocketAddr>,
    described: GetRequest,
) -> Result<Reply, Status> {
    let asked = asked(described.url, method, described.fields, client)?;
    let (guard, manner) = (&call.settings.guard, &call.settings.manner);
    let request = asked.admit(guard);
    let request = request.map_err(|refusal| Status::new(code_of(refusal.status()), refusal.to_string()))?;
    let shape = respond::Asked {
        method: request.method,
        headers: request.headers,
    };
    // Nobody hears them.
    let (hints, _): (Hints, _) = interim::channel();
    let served = match engine.serve(&request, &hints).await {
        Ok(Answer::Served(served)) => Ok(served),
        Ok(Answer::Pass(pass)) => engine.pass(pass, NoBody).await,
        Err(unserved) => Err(unserved),
    };
    Ok(match served {
        Ok(served) => manner.reply(&shape, served),
        Err(unserved) => manner.refuse(&unserved),
    })
}

pub(super) fn header_of(reply: &Reply) -> Header {
    Header {
        status: reply.status.as_u16().into(),
        fields: fields_of(&reply.headers),
    }
}

fn fields_of(headers: &HeaderMap) -> Vec<Field> {
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| Field {
        name: name.to_string(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    headers.iter().map(field).collect()
}

/// The header, then the body's pieces as they are taken.
pub(super) fn streamed(reply: Reply, call: Call) -> BoxStream<'static, Result<GetResponse, Status>> {
    let header = part(Part::Header(header_of(&reply)));
    let body = body_of(reply.payload, Closing::Nothing, ());
    let pieces = stream::unfold(Some((body, call)), async |state| {
        let (mut body, call) = state?;
        let next = async {
            match body.frame().await {
                None => Ok(None),
                Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
                Some(Err(error)) => Err(Status::new(Code::DataLoss, error.to_string())),
            }
        };
        match call.within(next).await {
            Ok(None) => None,
            Ok(Some(bytes)) => Some((Ok(part(Part::Chunk(bytes))), Some((body, call)))),
            Err(status) => Some((Err(status), None)),
        }
    });
    stream::iter([Ok(header)]).chain(pieces).boxed()
}

fn part(part: Part) -> GetResponse {
    GetResponse { part: Some(part) }
}

/// A status as HTTP has it.
pub(super) fn status(number: u32) -> Result<StatusCode, Status> {
    let number = u16::try_from(number).ok();
    let status = number.and_then(|number| StatusCode::from_u16(number).ok());
    status.ok_or_else(|| Status::invalid_argument("the status is none"))
}
