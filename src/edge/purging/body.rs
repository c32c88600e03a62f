//! The body of an order: how much of it is read, and for whom.
//!
//! Invariant: no more is held than the limits allow; of senders that are not known yet, all together. Of that room a part is
//! kept for small bodies, so that large ones, which nobody may ever have signed, do not keep genuine orders out. It does not
//! know what a body says.

use super::clients::{self, Clients};
use super::refusal::Refusal;
use crate::purge::config::Config;
use crate::upstream::RequestBody;
use bytes::BytesMut;
use http::{HeaderMap, header};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Of a body that may take the room that is kept: a few dozen URLs.
const SMALL_BYTES_MAX: u64 = 16 * 1024;

/// The share of the room that is kept is one of so many, and so is what one address may take of it.
const SHARES: u64 = 4;

pub(super) struct BodyLimits {
    bytes_max: u64,
    /// For a whole body, however it comes.
    deadline: Duration,
    /// One permit for each byte that may be held for senders that are not known yet.
    pub(super) places: Arc<Semaphore>,
    /// As many again, for small bodies alone.
    reserve: Arc<Semaphore>,
    clients: Clients,
}

/// Who sends a body, before anybody knows them.
#[derive(Clone, Copy)]
pub(super) struct Sender<'a> {
    pub(super) client: IpAddr,
    pub(super) headers: &'a HeaderMap,
}

/// What a body takes as it arrives.
struct Room {
    bytes: u64,
    permits: [Option<OwnedSemaphorePermit>; 2],
    place: clients::Place,
}

/// A body and the room that it takes.
pub(super) struct Held {
    bytes: BytesMut,
    _room: Room,
}

impl Held {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn is_small(&self) -> bool {
        self.bytes.len() as u64 <= SMALL_BYTES_MAX
    }
}

impl BodyLimits {
    pub(super) fn new(config: &Config) -> Self {
        let (all, one) = (config.bodies_bytes_max.bytes(), config.body_bytes_max.bytes());
        // One body of any length has to find room beside it, and from any address.
        let reserve = (all / SHARES).min(all.saturating_sub(one));
        let permits = |bytes: u64| {
            usize::try_from(bytes)
                .unwrap_or(usize::MAX)
                .min(Semaphore::MAX_PERMITS)
        };
        BodyLimits {
            bytes_max: config.body_bytes_max.bytes(),
            deadline: config.body_deadline.get(),
            places: Arc::new(Semaphore::new(permits(all - reserve))),
            reserve: Arc::new(Semaphore::new(permits(reserve))),
            clients: Clients::new((all / SHARES).max(one)),
        }
    }

    /// What can be told before the body is read.
    pub(super) fn check_header(&self, headers: &HeaderMap, body: &impl RequestBody) -> Result<(), Refusal> {
        if body.is_absent() && !headers.contains_key(header::CONTENT_LENGTH) {
            return Err(Refusal::NoBody);
        }
        if declared(headers).is_some_and(|length| length > self.bytes_max) {
            return Err(self.too_large());
        }
        match is_json(headers) {
            true => Ok(()),
            false => Err(Refusal::MediaType),
        }
    }

    pub(super) async fn read(&self, body: &mut impl RequestBody) -> Result<BytesMut, Refusal> {
        self.read_whole(body, |_| Ok(())).await
    }

    /// From somebody who has still to be known.
    pub(super) async fn read_of_unknown(
        &self,
        sender: Sender<'_>,
        body: &mut impl RequestBody,
    ) -> Result<Held, Refusal> {
        let place = self.clients.enter(sender.client).ok_or(Refusal::Crowded)?;
        let is_small = declared(sender.headers).is_some_and(|length| length <= SMALL_BYTES_MAX);
        let pools = match is_small {
            true => [Some(&self.reserve), Some(&self.places)],
            false => [None, Some(&self.places)],
        };
        let mut room = Room {
            bytes: 0,
            permits: [None, None],
            place,
        };
        let make_room = |length| room.grow(pools, length);
        let bytes = self.read_whole(body, make_room).await?;
        Ok(Held { bytes, _room: room })
    }

    async fn read_whole(
        &self,
        body: &mut impl RequestBody,
        make_room: impl FnMut(usize) -> Result<(), Refusal>,
    ) -> Result<BytesMut, Refusal> {
        let reading = self.read_pieces(body, make_room);
        timeout(self.deadline, reading)
            .await
            .map_err(|_| Refusal::BodyLate)?
    }

    /// Room is made for what has come, not for what is announced.
    async fn read_pieces(
        &self,
        body: &mut impl RequestBody,
        mut make_room: impl FnMut(usize) -> Result<(), Refusal>,
    ) -> Result<BytesMut, Refusal> {
        let mut bytes = BytesMut::new();
        while let Some(chunk) = body.next().await.map_err(|_| Refusal::BodyGone)? {
            if (bytes.len() + chunk.len()) as u64 > self.bytes_max {
                return Err(self.too_large());
            }
            make_room(chunk.len())?;
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn too_large(&self) -> Refusal {
        Refusal::BodyTooLarge(self.bytes_max)
    }
}

impl Room {
    /// In the first of `pools` that has so much left; the first is for what is small alone, whatever was declared.
    fn grow(&mut self, pools: [Option<&Arc<Semaphore>>; 2], length: usize) -> Result<(), Refusal> {
        let count = u32::try_from(length).map_err(|_| Refusal::Crowded)?;
        if !self.place.grow(u64::from(count)) {
            return Err(Refusal::Crowded);
        }
        self.bytes += u64::from(count);
        let is_small = self.bytes <= SMALL_BYTES_MAX;
        let usable = pools
            .into_iter()
            .zip(&mut self.permits)
            .skip(usize::from(!is_small));
        for (pool, permits) in usable {
            let Some(more) = pool.and_then(|pool| pool.clone().try_acquire_many_owned(count).ok()) else {
                continue;
            };
            match permits {
                Some(permits) => permits.merge(more),
                None => *permits = Some(more),
            }
            return Ok(());
        }
        Err(Refusal::Crowded)
    }
}

/// Whether a body says it is JSON, or says nothing.
pub(in crate::edge) fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let text = value.to_str().unwrap_or_default();
    let media_type = text
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let is_structured = media_type.starts_with("application/") && media_type.ends_with("+json");
    media_type == "application/json" || is_structured
}

/// How long a body says it is.
fn declared(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    length.parse().ok()
}
