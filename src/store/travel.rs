//! Entries as bytes on their way to another node.
//!
//! Numbers are little-endian: version, status, age and what is left of freshness in milliseconds by the sender's clock, three
//! stale windows in seconds and whether requests may allow staleness, digest and length of the body, incarnation, epoch, names
//! of tags after their number, then key text and header block, each after its length. Clocks of two nodes are never compared:
//! what was told is counted from the moment at which, by the receiver's clock, the exchange had begun at the latest.
//! Invariant: what arrives is never younger than what was sent, nor fresh for longer; bytes of any descent are an entry or an
//! error. It does not know how they travel, nor whether what arrives may be stored.

use super::codec::{
    CodecError, STAMP_FIXED_BYTES, put_stamp, put_text, take_digest, take_flag, take_stamp, take_text,
};
use super::entry::{Body, Entry, Kind};
use crate::base::clock::Timestamp;
use crate::base::epoch::Incarnation;
use crate::http::header_block::HeaderBlock;
use crate::http::lifetime::{Lifetime, StaleWindows};
use bytes::{Buf, BufMut, Bytes};
use http::StatusCode;
use std::time::Duration;

/// An entry that takes more does not travel.
pub const TRAVEL_BYTES_MAX: usize = 1 << 20;

/// Of the protocol between nodes: counts up whenever the layout changes.
const VERSION: u8 = 1;

/// What is fresh for so long never ends.
const FOR_EVER_MS: i64 = i64::MAX;

/// Version, status, times, body.
const FIXED_BYTES: usize = 1 + 2 + 2 * 8 + 3 * 4 + 1 + 32 + 8;

/// An entry that another node has told.
#[derive(Debug)]
pub struct Arrived {
    pub entry: Entry,
    /// Of the log under which its epoch means something.
    pub incarnation: Incarnation,
}

/// Why bytes of another node are no entry; nothing of them is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TravelError {
    #[error("an entry of another node is of version {0}; it is refused")]
    Version(u8),
    #[error("an entry of another node has {0} bytes; it is refused")]
    TooLarge(usize),
    #[error("an entry of another node is malformed; it is refused")]
    Malformed,
}

impl Entry {
    /// To be sent to another node at `now`.
    pub fn to_travel(&self, incarnation: &Incarnation, now: Timestamp) -> Bytes {
        let texts = self.key_text.len() + self.headers.as_bytes().len() + 8;
        let tags = size_of_val(self.stamp.tags.names());
        let mut bytes = Vec::with_capacity(FIXED_BYTES + STAMP_FIXED_BYTES + tags + texts);
        bytes.put_u8(VERSION);
        bytes.put_u16_le(self.status.as_u16());
        put_times(&mut bytes, &self.lifetime, now);
        bytes.put_slice(self.body.digest.as_bytes());
        bytes.put_u64_le(self.body.length);
        put_stamp(&mut bytes, &self.stamp, incarnation);
        put_text(&mut bytes, self.key_text.as_bytes());
        put_text(&mut bytes, self.headers.as_bytes());
        bytes.into()
    }
}

impl Arrived {
    /// Reads what [`Entry::to_travel`] wrote. `began` is the receiver's time when the sender had not written it yet.
    ///
    /// # Errors
    /// When it is no entry of this version.
    pub fn read(bytes: &Bytes, began: Timestamp) -> Result<Arrived, TravelError> {
        if bytes.len() > TRAVEL_BYTES_MAX {
            return Err(TravelError::TooLarge(bytes.len()));
        }
        match bytes.first() {
            Some(&VERSION) if bytes.len() >= FIXED_BYTES + STAMP_FIXED_BYTES => {}
            Some(&VERSION) | None => return Err(TravelError::Malformed),
            Some(other) => return Err(TravelError::Version(*other)),
        }
        let arrived = take(&bytes[1..], began).map_err(|_| TravelError::Malformed)?;
        let Entry { status, body, .. } = &arrived.entry;
        // An index marks itself by an interim status, and has no body.
        let is_sound = match arrived.entry.kind() {
            Kind::Index => body.length == 0,
            Kind::Whole | Kind::Part => !status.is_informational(),
        };
        is_sound.then_some(arrived).ok_or(TravelError::Malformed)
    }
}

/// The caller has found the fixed bytes to be there.
fn take(mut rest: &[u8], began: Timestamp) -> Result<Arrived, CodecError> {
    let status = StatusCode::from_u16(rest.get_u16_le()).map_err(|_| CodecError::Field)?;
    let lifetime = take_times(&mut rest, began)?;
    let body = Body {
        digest: take_digest(&mut rest)?,
        length: rest.get_u64_le(),
    };
    let incarnation = rest.first_chunk().ok_or(CodecError::Truncated)?;
    let incarnation = Incarnation::from_bytes(*incarnation);
    let stamp = take_stamp(&mut rest, &incarnation)?;
    if !stamp.tags.names().is_sorted() {
        return Err(CodecError::Field);
    }
    let key_text = std::str::from_utf8(take_text(&mut rest)?).map_err(|_| CodecError::Field)?;
    let headers = HeaderBlock::from_bytes(Bytes::copy_from_slice(take_text(&mut rest)?))?;
    if !rest.is_empty() {
        return Err(CodecError::Excess);
    }
    let entry = Entry::from_parts(key_text.into(), status, headers, lifetime, body, stamp);
    Ok(Arrived { entry, incarnation })
}

/// By a clock that was set back since, nothing is fresh for longer than it was at first.
fn put_times(bytes: &mut Vec<u8>, lifetime: &Lifetime, now: Timestamp) {
    let Lifetime {
        born_at,
        fresh_until,
        stale,
    } = lifetime;
    let left = millis_from(now, *fresh_until).min(millis_from(*born_at, *fresh_until));
    let age = now.since(*born_at).as_millis();
    bytes.put_u64_le(u64::try_from(age).unwrap_or(u64::MAX));
    bytes.put_i64_le(left);
    for seconds in [stale.while_revalidate, stale.if_error, stale.on_disconnect] {
        bytes.put_u32_le(seconds);
    }
    bytes.put_u8(stale.on_request.into());
}

/// The caller has found the bytes to be there.
fn take_times(rest: &mut &[u8], began: Timestamp) -> Result<Lifetime, CodecError> {
    let age = Duration::from_millis(rest.get_u64_le());
    let left = rest.get_i64_le();
    let span = Duration::from_millis(left.unsigned_abs());
    let past = began.since(Timestamp::ZERO);
    if age > past || left < 0 && span > past {
        // This clock can not say how old or stale that is.
        return Err(CodecError::Field);
    }
    let fresh_until = match left {
        FOR_EVER_MS => Timestamp::from_millis(u64::MAX),
        0.. => began.plus(span),
        _ => began.minus(span),
    };
    let stale = StaleWindows {
        while_revalidate: rest.get_u32_le(),
        if_error: rest.get_u32_le(),
        on_disconnect: rest.get_u32_le(),
        on_request: take_flag(rest)?,
    };
    Ok(Lifetime::without_stale(began.minus(age), fresh_until).with_stale(stale))
}

/// Negative when `to` is earlier.
fn millis_from(from: Timestamp, to: Timestamp) -> i64 {
    let span = i128::from(to.as_millis()) - i128::from(from.as_millis());
    span.clamp(i64::MIN.into(), FOR_EVER_MS.into()) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::epoch::Epoch;
    use crate::scope::{Scope, Tags};
    use crate::store::Stamp;
    use http::HeaderMap;
    use proptest::prelude::*;

    const LIFE: Incarnation = Incarnation::from_bytes([1; 16]);

    /// Any time of this century.
    fn clock() -> impl Strategy<Value = u64> {
        1_000_000_000_000u64..4_000_000_000_000
    }

    fn entry(lifetime: Lifetime) -> Entry {
        let mut headers = HeaderMap::new();
        headers.insert("etag", "\"v1\"".parse().unwrap());
        let stamp = Stamp {
            epoch: Epoch::from_number(7),
            tags: Tags::from_names(vec![Scope::tag("sale").name()]),
        };
        let (status, headers) = (StatusCode::NOT_FOUND, HeaderBlock::pack(&headers));
        Entry::from_parts(
            "http://h/a".into(),
            status,
            headers,
            lifetime,
            Body::of(b"gone"),
            stamp,
        )
    }

    fn lifetime(born_at: u64, fresh_until: u64) -> Lifetime {
        let [born_at, fresh_until] = [born_at, fresh_until].map(Timestamp::from_millis);
        let stale = StaleWindows {
            while_revalidate: 3,
            if_error: u32::MAX,
            on_disconnect: 5,
            on_request: true,
        };
        Lifetime::without_stale(born_at, fresh_until).with_stale(stale)
    }

    proptest! {
        #[test]
        fn an_entry_survives_the_way_with_all_it_is_known_by(
            key_text in ".*", etag in "[!-~]{0,300}", status in 200u16..600, born_at in clock(), fresh in 0u64..1 << 40,
        ) {
            let sent = entry(lifetime(born_at, born_at + fresh));
            let mut headers = HeaderMap::new();
            headers.insert("etag", etag.parse().unwrap());
            let (status, headers) = (StatusCode::from_u16(status).unwrap(), HeaderBlock::pack(&headers));
            let sent = Entry::from_parts(key_text.into(), status, headers, sent.lifetime, sent.body, sent.stamp);
            let now = Timestamp::from_millis(born_at + 5000);
            let Arrived { entry: read, incarnation } = Arrived::read(&sent.to_travel(&LIFE, now), now).unwrap();
            prop_assert_eq!(incarnation, LIFE);
            prop_assert_eq!(&read.key_text, &sent.key_text);
            prop_assert_eq!((read.status, &read.headers, read.body), (sent.status, &sent.headers, sent.body));
            prop_assert_eq!(read.lifetime, sent.lifetime);
            prop_assert_eq!(&read.stamp, &sent.stamp);
        }

        #[test]
        fn no_clock_makes_a_copy_younger_or_fresh_for_longer(
            times in prop::array::uniform4(clock()), way in 0u64..100_000,
        ) {
            let [born_at, fresh_until, sent_at, began] = times;
            let sent = entry(lifetime(born_at, fresh_until));
            let sent_at = Timestamp::from_millis(sent_at);
            let bytes = sent.to_travel(&LIFE, sent_at);
            let Ok(Arrived { entry: read, .. }) = Arrived::read(&bytes, Timestamp::from_millis(began)) else {
                let age = sent.lifetime.age(sent_at).as_millis() as u64;
                let stale = sent_at.as_millis().max(born_at) - fresh_until.min(sent_at.as_millis().max(born_at));
                prop_assert!(began < age.max(stale), "only what is beyond the receiver's clock is refused");
                return Ok(());
            };
            let way = Duration::from_millis(way);
            let (then, now) = (sent_at.plus(way), Timestamp::from_millis(began).plus(way));
            let (before, after) = (&sent.lifetime, &read.lifetime);
            prop_assert!(after.age(now) >= before.age(then).min(way.saturating_add(before.age(sent_at))));
            prop_assert!(millis_from(now, after.fresh_until) <= millis_from(then, before.fresh_until));
            prop_assert!(before.is_fresh(then) || !after.is_fresh(now));
            prop_assert!(millis_from(now, after.gone_at()) <= millis_from(then, before.gone_at()));
            let total = |lifetime: &Lifetime| millis_from(lifetime.born_at, lifetime.fresh_until);
            prop_assert!(total(after) <= total(before).max(0));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut bytes = bytes;
            if let Some(version) = bytes.first_mut() {
                *version = VERSION;
            }
            prop_assert!(Arrived::read(&bytes.into(), Timestamp::ZERO).is_err());
        }

        #[test]
        fn a_changed_byte_is_an_error_or_another_entry_and_no_panic(place in 0usize..200, bit in 0u8..8) {
            let now = Timestamp::from_secs(1_000_000_000);
            let sent = entry(lifetime(now.as_millis(), now.as_millis() + 10));
            let mut bytes = sent.to_travel(&LIFE, now).to_vec();
            let place = place.min(bytes.len() - 1);
            bytes[place] ^= 1 << bit;
            drop(Arrived::read(&bytes.into(), now));
        }

        #[test]
        fn a_cut_or_extended_entry_is_malformed(cut in 0usize..200) {
            let now = Timestamp::from_secs(1_000_000_000);
            let bytes = entry(lifetime(1, 2)).to_travel(&LIFE, now);
            let cut = cut.min(bytes.len() - 1);
            prop_assert_eq!(Arrived::read(&bytes.slice(..cut), now).unwrap_err(), TravelError::Malformed);
            let extended = [&bytes[..], &[0]].concat();
            prop_assert_eq!(Arrived::read(&extended.into(), now).unwrap_err(), TravelError::Malformed);
        }
    }

    #[test]
    fn what_is_fresh_for_ever_stays_so() {
        let now = Timestamp::from_secs(1_000_000_000);
        let sent = entry(lifetime(now.as_millis() - 60_000, u64::MAX));
        let read = Arrived::read(&sent.to_travel(&LIFE, now), now.minus(Duration::from_secs(9))).unwrap();
        assert_eq!(read.entry.lifetime.fresh_until, Timestamp::from_millis(u64::MAX));
    }

    #[test]
    fn another_version_and_what_is_too_large_are_refused() {
        let now = Timestamp::from_secs(1_000_000_000);
        let mut bytes = entry(lifetime(1, 2)).to_travel(&LIFE, now).to_vec();
        bytes[0] = VERSION + 1;
        assert_eq!(
            Arrived::read(&bytes.into(), now).unwrap_err(),
            TravelError::Version(VERSION + 1)
        );
        let large = vec![VERSION; TRAVEL_BYTES_MAX + 1];
        assert_eq!(
            Arrived::read(&large.into(), now).unwrap_err(),
            TravelError::TooLarge(TRAVEL_BYTES_MAX + 1)
        );
    }
}
