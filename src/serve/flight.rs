//! One origin request for each key, shared by all who ask while it is under way.
//!
//! A flight is detached from the client who started it: the fill pushes chunks in, any number of tickets
//! read them at their own pace, and neither a slow nor a vanished reader holds anybody up. Invariant: every
//! flight lands; a fill that dies fails its readers. A flight whose body is kept whole can be read at any
//! offset; one that is only passed through keeps a window, paced by its slowest reader
//! for as long as that one moves.
//! Knows nothing of origins, freshness or HTTP.

use super::Hints;
use super::failure::FlightFailure;
use super::head::FlightHead;
use crate::base::digest::Digest;
use crate::base::metrics::Metrics;
use crate::store::Entry;
use crate::upstream::Interim;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::timeout;

/// Granularity of the memory budget: a semaphore counts in 32 bits.
pub(crate) const BUDGET_UNIT: u64 = 1024;

/// What a reader finds when the flight's header is there.
pub(crate) enum Landed {
    Head(Arc<FlightHead>),
    /// A stored entry serves after all: the origin confirmed it, or it was stored meanwhile.
    Entry(Arc<Entry>, EntrySource),
    Failed(FlightFailure),
}

/// Where the entry of a landed flight comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntrySource {
    /// A 304, which renewed it.
    Confirmed,
    /// A 304 for the one who asked: the entry is as it was, and may be shared no more.
    ConfirmedForOne,
    /// Another flight stored it between look-up and take-off.
    StoredMeanwhile,
}

pub(crate) struct Flight {
    state: Mutex<State>,
    /// Readers wait here for the fill.
    arrived: Notify,
    /// A windowed fill waits here for its readers.
    consumed: Notify,
    metrics: Arc<Metrics>,
}

struct State {
    stage: Stage,
    /// Interim responses, for who waits for the header.
    hints: Vec<Arc<Interim>>,
    /// Chunks still held, each with the offset of its first byte.
    chunks: VecDeque<(u64, Bytes)>,
    /// Offset after the last chunk that arrived.
    end: u64,
    /// Offset up to which readers see.
    visible: u64,
    retention: Retention,
    /// Where each reader is, by its number; `None` once it has left or fallen behind.
    readers: Vec<Option<u64>>,
    /// Places of readers that have left.
    vacant: Vec<usize>,
    /// Memory reserved for the chunks; returned when the last holder of the flight is gone.
    reserved: Option<OwnedSemaphorePermit>,
}

enum Stage {
    Waiting,
    Open(Arc<FlightHead>),
    /// With the digest of a body that was kept whole.
    Complete(Arc<FlightHead>, Option<Digest>),
    Entry(Arc<Entry>, EntrySource),
    Failed(FlightFailure),
    Broken(Arc<FlightHead>, FlightFailure),
}

/// How much of the body stays in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retention {
    Whole,
    /// Bytes between the slowest reader and the last chunk.
    Window(u64),
}

/// Whether somebody still reads a windowed flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    Present,
    Gone,
}

impl Flight {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Flight {
            state: Mutex::new(State {
                stage: Stage::Waiting,
                hints: Vec::new(),
                chunks: VecDeque::new(),
                end: 0,
                visible: 0,
                retention: Retention::Whole,
                readers: Vec::new(),
                vacant: Vec::new(),
                reserved: None,
            }),
            arrived: Notify::new(),
            consumed: Notify::new(),
            metrics,
        }
    }

    /// An interim response has come.
    pub(crate) fn hint(&self, interim: Interim) {
        self.change(|state| state.hints.push(Arc::new(interim)));
    }

    /// The header is there; the body follows.
    pub(crate) fn open(&self, head: FlightHead, retention: Retention) {
        self.change(|state| {
            state.retention = retention;
            state.stage = Stage::Open(Arc::new(head));
        });
    }

    /// The next chunk of the body.
    pub(crate) fn push(&self, chunk: Bytes) {
        self.withhold(chunk);
        self.change(|state| state.visible = state.end);
        self.forget_passed();
    }

    /// The next chunk, which readers see with the flight's end: a body that looks whole to a client has been
    /// found whole, and stored.
    pub(crate) fn withhold(&self, chunk: Bytes) {
        self.metrics.fill_bytes.add(chunk.len() as i64);
        let mut state = self.state.lock();
        let start = state.end;
        state.end += chunk.len() as u64;
        state.chunks.push_back((start, chunk));
    }

    /// The body is whole, and where it was kept so, this is its digest.
    pub(crate) fn complete(&self, digest: Option<Digest>) {
        self.change(|state| {
            if let Stage::Open(head) = &state.stage {
                state.visible = state.end;
                state.stage = Stage::Complete(head.clone(), digest);
            }
        });
    }

    /// Of a body that has come whole, and was kept so.
    pub(super) fn digest(&self) -> Option<Digest> {
        match self.state.lock().stage {
            Stage::Complete(_, digest) => digest,
            _ => None,
        }
    }

    /// A stored entry answers instead of a body.
    pub(super) fn land_on(&self, entry: Arc<Entry>, source: EntrySource) {
        self.change(|state| state.stage = Stage::Entry(entry, source));
    }

    /// Ends the flight without its body; a flight that has ended already stays as it is.
    pub(super) fn fail(&self, failure: FlightFailure) {
        self.change(|state| {
            state.stage = match std::mem::replace(&mut state.stage, Stage::Waiting) {
                Stage::Waiting => Stage::Failed(failure),
                Stage::Open(head) => Stage::Broken(head, failure),
                ended => ended,
            };
        });
    }

    /// Gives up keeping the body whole: from here on only a window stays in memory.
    pub(crate) fn keep_window(&self, bytes: u64) {
        let mut state = self.state.lock();
        state.retention = Retention::Window(bytes);
        drop(state);
        self.forget_passed();
    }

    /// Units of memory reserved so far.
    pub(crate) fn reserved(&self) -> u64 {
        self.state
            .lock()
            .reserved
            .as_ref()
            .map_or(0, |permit| permit.num_permits() as u64)
    }

    /// Adds to the memory that is reserved for this flight's chunks.
    pub(crate) fn reserve(&self, permit: OwnedSemaphorePermit) {
        let mut state = self.state.lock();
        match &mut state.reserved {
            Some(reserved) => reserved.merge(permit),
            None => state.reserved = Some(permit),
        }
    }

    /// Waits until a windowed flight has room for more; a flight kept whole always has. A reader that moves
    /// nothing for `patience` while others wait is left behind.
    pub(crate) async fn room(&self, patience: Duration) -> Audience {
        loop {
            let consumed = self.consumed.notified();
            tokio::pin!(consumed);
            consumed.as_mut().enable();
            match self.room_now() {
                Poll::Ready(audience) => return audience,
                Poll::Pending if timeout(patience, consumed).await.is_err() => self.leave_slowest_behind(),
                Poll::Pending => {}
            }
        }
    }

    /// The chunks of a body that was kept whole.
    pub(crate) fn chunks(&self) -> Vec<Bytes> {
        self.state
            .lock()
            .chunks
            .iter()
            .map(|(_, chunk)| chunk.clone())
            .collect()
    }

    fn room_now(&self) -> Poll<Audience> {
        let state = self.state.lock();
        match (state.retention, state.slowest()) {
            (Retention::Whole, _) => Poll::Ready(Audience::Present),
            (Retention::Window(_), None) => Poll::Ready(Audience::Gone),
            (Retention::Window(bytes), Some(slowest)) if state.visible > slowest + bytes => Poll::Pending,
            (Retention::Window(_), Some(_)) => Poll::Ready(Audience::Present),
        }
    }

    /// Only where somebody is further: a reader alone has all the time its own deadlines give it.
    fn leave_slowest_behind(&self) {
        let mut state = self.state.lock();
        let furthest = state.readers.iter().flatten().max().copied();
        let slowest = state.slowest();
        if slowest < furthest {
            state
                .readers
                .iter_mut()
                .filter(|reader| **reader == slowest)
                .for_each(|reader| *reader = None);
        }
        drop(state);
        self.forget_passed();
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.arrived.notify_waiters();
    }

    fn forget_passed(&self) {
        let mut state = self.state.lock();
        let Retention::Window(_) = state.retention else {
            return;
        };
        let keep_from = state.slowest().unwrap_or(state.visible);
        while let Some((start, chunk)) = state.chunks.front()
            && start + chunk.len() as u64 <= keep_from
        {
            self.metrics.fill_bytes.sub(chunk.len() as i64);
            state.chunks.pop_front();
        }
        state.shrink_reservation();
    }

    fn hints_from(&self, first: usize) -> Vec<Arc<Interim>> {
        self.state.lock().hints[first..].to_vec()
    }

    fn landed_now(&self) -> Poll<Landed> {
        Poll::Ready(match &self.state.lock().stage {
            Stage::Waiting => return Poll::Pending,
            Stage::Open(head) | Stage::Complete(head, _) | Stage::Broken(head, _) => {
                Landed::Head(head.clone())
            }
            Stage::Entry(entry, source) => Landed::Entry(entry.clone(), *source),
            Stage::Failed(failure) => Landed::Failed(failure.clone()),
        })
    }

    fn read_now(&self, reader: usize, offset: u64) -> Poll<Result<Option<Bytes>, FlightFailure>> {
        let mut state = self.state.lock();
        if state.readers[reader].is_none() {
            return Poll::Ready(Err(FlightFailure::Overtaken));
        }
        if state.readers[reader] < Some(offset) {
            state.readers[reader] = Some(offset);
            self.consumed.notify_waiters();
        }
        match state.chunk_at(offset) {
            Found::Chunk(bytes) => Poll::Ready(Ok(Some(bytes))),
            Found::Forgotten => Poll::Ready(Err(FlightFailure::Overtaken)),
            Found::NotYet => match &state.stage {
                Stage::Complete(..) | Stage::Entry(..) => Poll::Ready(Ok(None)),
                Stage::Broken(_, failure) | Stage::Failed(failure) => Poll::Ready(Err(failure.clone())),
                Stage::Waiting | Stage::Open(_) => Poll::Pending,
            },
        }
    }
}

enum Found {
    Chunk(Bytes),
    Forgotten,
    NotYet,
}

impl State {
    /// Returns what the chunks that are left do not need.
    fn shrink_reservation(&mut self) {
        let held: u64 = self.chunks.iter().map(|(_, chunk)| chunk.len() as u64).sum();
        let needed = held.div_ceil(BUDGET_UNIT) as usize;
        if let Some(reserved) = &mut self.reserved {
            let spare = reserved.num_permits().saturating_sub(needed);
            drop(reserved.split(spare));
        }
    }

    fn slowest(&self) -> Option<u64> {
        self.readers.iter().flatten().min().copied()
    }

    fn chunk_at(&self, offset: u64) -> Found {
        if offset >= self.visible {
            return Found::NotYet;
        }
        let after = self.chunks.partition_point(|(start, _)| *start <= offset);
        let Some((start, chunk)) = after.checked_sub(1).and_then(|at| self.chunks.get(at)) else {
            return Found::Forgotten;
        };
        Found::Chunk(chunk.slice((offset - start) as usize..))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let held: usize = self
            .state
            .get_mut()
            .chunks
            .iter()
            .map(|(_, chunk)| chunk.len())
            .sum();
        self.metrics.fill_bytes.sub(held as i64);
    }
}

/// A reader's place on a flight.
pub(crate) struct Ticket {
    flight: Arc<Flight>,
    /// The reader's place in the flight's list.
    reader: usize,
}

impl Ticket {
    pub(super) fn board(flight: Arc<Flight>) -> Self {
        let mut state = flight.state.lock();
        let reader = state.vacant.pop().unwrap_or_else(|| {
            state.readers.push(None);
            state.readers.len() - 1
        });
        state.readers[reader] = Some(0);
        drop(state);
        Ticket { flight, reader }
    }

    /// Whether the flight keeps all that has come.
    pub(crate) fn is_kept_whole(&self) -> bool {
        matches!(self.flight.state.lock().retention, Retention::Whole)
    }

    /// Of a body that has come whole, and was kept so.
    pub(crate) fn digest(&self) -> Option<Digest> {
        self.flight.digest()
    }

    /// Waits for the header. Who asked first hears the interim responses that precede it: whether the answer is for the
    /// others too is not known before.
    pub(crate) async fn landed(&self, hints: Option<&Hints>) -> Landed {
        let mut heard = 0;
        loop {
            let arrived = self.flight.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if let Some(hints) = hints {
                for hint in self.flight.hints_from(heard) {
                    heard += 1;
                    // A client that is gone hears none.
                    drop(hints.send(hint));
                }
            }
            match self.flight.landed_now() {
                Poll::Ready(landed) => return landed,
                Poll::Pending => arrived.await,
            }
        }
    }

    /// Waits for bytes at `offset`; `None` is the body's end.
    ///
    /// # Errors
    /// The flight's failure: the body will never be whole, and what was sent of it must not look whole.
    pub(crate) async fn read_at(&self, offset: u64) -> Result<Option<Bytes>, FlightFailure> {
        loop {
            let arrived = self.flight.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            match self.flight.read_now(self.reader, offset) {
                Poll::Ready(read) => return read,
                Poll::Pending => arrived.await,
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.flight.state.lock();
        state.readers[self.reader] = None;
        state.vacant.push(self.reader);
        drop(state);
        self.flight.consumed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::super::board::{Board, Flights, Joined, Landing};
    use super::super::head::Fate;
    use super::super::invalidations::Invalidations;
    use super::*;
    use crate::base::epoch::Epoch;
    use crate::http::header_block::HeaderBlock;
    use crate::key::KeyName;
    use crate::store::Stamp;
    use futures::FutureExt;
    use http::StatusCode;

    fn flights() -> Arc<Flights> {
        Arc::new(Flights::new(Arc::new(Metrics::new())))
    }

    fn name(byte: u8) -> KeyName {
        KeyName::from_bytes([byte; 16])
    }

    fn board() -> Board {
        Board {
            era: Invalidations::new().era(&name(1)),
            epoch: Epoch::from_number(1),
            least: Epoch::from_number(1),
        }
    }

    fn head() -> FlightHead {
        FlightHead {
            status: StatusCode::OK,
            headers: HeaderBlock::default(),
            unshared: HeaderBlock::default(),
            length: None,
            fate: Fate::Shared("test"),
            stamp: Stamp::default(),
            alternate: None,
        }
    }

    fn lead(flights: &Arc<Flights>) -> (Ticket, Landing) {
        match flights.join(name(1), board()) {
            Joined::Leader(ticket, landing) => (ticket, landing),
            Joined::Follower(_) => panic!("the first to join leads"),
        }
    }

    #[test]
    fn the_second_to_join_follows_and_a_landed_flight_is_left() {
        let flights = flights();
        let (_ticket, landing) = lead(&flights);
        assert!(matches!(flights.join(name(1), board()), Joined::Follower(_)));
        assert!(matches!(flights.join(name(2), board()), Joined::Leader(..)));
        landing.close_boarding();
        let (_other_ticket, other) = lead(&flights);
        drop(landing);
        assert!(
            matches!(flights.join(name(1), board()), Joined::Follower(_)),
            "the old flight's end closes the new one"
        );
        drop(other);
    }

    #[test]
    fn nobody_boards_a_flight_that_was_begun_before_what_it_has_to_follow() {
        let flights = flights();
        let (_ticket, _landing) = lead(&flights);
        let after_a_purge = Board {
            epoch: Epoch::from_number(3),
            least: Epoch::from_number(2),
            ..board()
        };
        let Joined::Leader(_second, _its_landing) = flights.join(name(1), after_a_purge) else {
            panic!("the flight was begun before the purge");
        };
        assert!(matches!(
            flights.join(name(1), after_a_purge),
            Joined::Follower(_)
        ));
    }

    #[tokio::test]
    async fn a_fill_that_dies_fails_its_readers() {
        let flights = flights();
        let (ticket, landing) = lead(&flights);
        drop(landing);
        assert!(matches!(
            ticket.landed(None).await,
            Landed::Failed(FlightFailure::Abandoned)
        ));
    }

    #[tokio::test]
    async fn every_reader_gets_the_whole_body_at_its_own_pace_and_at_any_offset() {
        let flights = flights();
        let (ticket, landing) = lead(&flights);
        landing.flight.open(head(), Retention::Whole);
        landing.flight.push(Bytes::from_static(b"abc"));
        assert_eq!(ticket.read_at(1).await.unwrap().unwrap(), "bc");
        assert!(
            ticket.read_at(3).now_or_never().is_none(),
            "the next byte has not arrived"
        );
        landing.flight.push(Bytes::from_static(b"def"));
        landing.flight.complete(None);
        let late = match flights.join(name(1), board()) {
            Joined::Follower(ticket) => ticket,
            Joined::Leader(..) => panic!("the flight has not landed"),
        };
        drop(landing);
        assert_eq!(late.read_at(0).await.unwrap().unwrap(), "abc");
        assert_eq!(ticket.read_at(5).await.unwrap().unwrap(), "f");
        assert!(ticket.read_at(6).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_withheld_chunk_is_seen_only_when_the_body_is_found_whole() {
        let flights = flights();
        let (ticket, landing) = lead(&flights);
        landing.flight.open(head(), Retention::Whole);
        landing.flight.push(Bytes::from_static(b"abc"));
        landing.flight.withhold(Bytes::from_static(b"def"));
        assert!(ticket.read_at(3).now_or_never().is_none());
        landing.flight.complete(None);
        assert_eq!(ticket.read_at(3).await.unwrap().unwrap(), "def");
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_never_looks_whole() {
        let flights = flights();
        let (ticket, landing) = lead(&flights);
        landing.flight.open(head(), Retention::Whole);
        landing.flight.push(Bytes::from_static(b"abc"));
        landing.fail(FlightFailure::Deadline);
        assert_eq!(ticket.read_at(0).await.unwrap().unwrap(), "abc");
        assert!(matches!(ticket.read_at(3).await, Err(FlightFailure::Deadline)));
    }

    const PATIENCE: Duration = Duration::from_secs(5);

    fn follow(flights: &Arc<Flights>) -> Ticket {
        match flights.join(name(1), board()) {
            Joined::Follower(ticket) => ticket,
            Joined::Leader(..) => panic!("the flight has not landed"),
        }
    }

    #[tokio::test]
    async fn a_windowed_fill_waits_for_its_slowest_reader_and_forgets_what_all_have_read() {
        let flights = flights();
        let (fast, landing) = lead(&flights);
        let slow = follow(&flights);
        landing.flight.open(head(), Retention::Window(4));
        landing.flight.push(Bytes::from(vec![1; 8]));
        assert_eq!(fast.read_at(0).await.unwrap().unwrap().len(), 8);
        assert!(fast.read_at(8).now_or_never().is_none());
        assert!(
            landing.flight.room(PATIENCE).now_or_never().is_none(),
            "the slow one has read nothing"
        );
        assert_eq!(slow.read_at(0).await.unwrap().unwrap().len(), 8);
        assert!(slow.read_at(8).now_or_never().is_none());
        assert_eq!(landing.flight.room(PATIENCE).await, Audience::Present);
        landing.flight.push(Bytes::from(vec![2; 8]));
        assert!(
            matches!(slow.read_at(0).await, Err(FlightFailure::Overtaken)),
            "all have passed it"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stands_still_is_left_behind() {
        let flights = flights();
        let (fast, landing) = lead(&flights);
        let stalled = follow(&flights);
        landing.flight.open(head(), Retention::Window(4));
        landing.flight.push(Bytes::from(vec![1; 8]));
        assert!(fast.read_at(8).now_or_never().is_none());
        assert_eq!(landing.flight.room(PATIENCE).await, Audience::Present);
        assert!(matches!(stalled.read_at(0).await, Err(FlightFailure::Overtaken)));
    }

    #[tokio::test]
    async fn a_windowed_fill_nobody_reads_is_told_so() {
        let flights = flights();
        let (ticket, landing) = lead(&flights);
        landing.flight.open(head(), Retention::Window(4));
        drop(ticket);
        assert_eq!(landing.flight.room(PATIENCE).await, Audience::Gone);
    }

    #[test]
    fn bytes_held_by_flights_are_counted_and_returned() {
        let flights = flights();
        let (ticket, landing) = lead(&flights);
        landing.flight.open(head(), Retention::Whole);
        landing.flight.push(Bytes::from(vec![0; 100]));
        assert_eq!(flights.metrics().fill_bytes.get(), 100);
        drop((ticket, landing));
        assert_eq!(flights.metrics().fill_bytes.get(), 0);
    }
}
