//! What is worth a write to the SSD, and how it gets into the writer's queue.
//!
//! Invariant: no entry is offered without its whole body, or what of it is not on the SSD already. It does not know
//! when the writer gets to it.

use super::codec::{self, StoredPart};
use super::config::Admission;
use super::writer::{Job, Offer};
use super::{Entry, PartId, Shared};
use crate::base::metrics::Drop as DropReason;
use crate::key::KeyName;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// An encoded entry larger than this is not written to the SSD.
const ENTRY_BYTES_MAX: usize = 1 << 20;

impl Shared {
    /// What the SSD holds is written again.
    pub(super) fn rewrite(&self, name: KeyName, entry: &Arc<Entry>) {
        if self.admission == Admission::Always || self.is_on_ssd(name) {
            self.write(name, entry, |id| self.memory.part(id));
        }
    }

    /// What the SSD holds is written again, so that it does not bring the old one back.
    pub(super) fn is_worth_a_write_at_once(&self, name: KeyName) -> bool {
        let met_before = self
            .doorkeeper
            .as_ref()
            .is_some_and(|keeper| keeper.has_met(name));
        met_before || self.admission == Admission::Always || self.is_on_ssd(name)
    }

    pub(super) fn is_on_ssd(&self, name: KeyName) -> bool {
        self.tier.current().is_some_and(|ssd| ssd.may_contain_entry(name))
    }

    /// Queues an entry, and what of its body is not on the SSD, for the writer. Without its whole body it
    /// would be of no use there.
    #[cold]
    pub(super) fn write(&self, name: KeyName, entry: &Arc<Entry>, part: impl Fn(&PartId) -> Option<Bytes>) {
        let Some(ssd) = self.tier.current() else {
            return;
        };
        if !self.accepting.load(Ordering::Relaxed) || !entry.claim_for(ssd.generation()) {
            return;
        }
        if entry.body.length > self.ssd_body_bytes_max || codec::entry_encoded_bytes(entry) > ENTRY_BYTES_MAX
        {
            self.metrics.ssd_drops[DropReason::TooLarge].inc();
            return;
        }
        let mut job = Job::default();
        for id in entry.body.parts().filter(|id| !ssd.may_contain_part(id)) {
            let Some(bytes) = part(&id) else {
                return;
            };
            job.add_part(id, StoredPart::new(&entry.body, bytes));
        }
        job.set_entry(name, Arc::clone(entry));
        if self.queue.offer(job) == Offer::Dropped {
            entry.release();
        }
    }

    /// Writes a part again whose block is about to be overwritten.
    pub(super) fn rescue(&self, id: PartId, bytes: Bytes) {
        if self.accepting.load(Ordering::Relaxed) {
            let mut job = Job::default();
            job.add_part(id, StoredPart::Piece(bytes));
            self.queue.offer(job);
        }
    }
}
