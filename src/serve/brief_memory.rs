//! Remembers for a while what was learnt of a name, so that it need not be learnt again by every request.
//!
//! A fixed table: two names that fall on one slot forget one another, which costs learning it again and never a wrong
//! answer. Knows nothing of what was learnt.

use crate::base::clock::Timestamp;
use crate::key::KeyName;
use parking_lot::Mutex;
use std::time::Duration;

const SLOTS: usize = 4096;

pub(crate) struct BriefMemory<T> {
    slots: Vec<Mutex<Option<Learnt<T>>>>,
    lasting: Duration,
}

struct Learnt<T> {
    name: KeyName,
    until: Timestamp,
    what: T,
}

impl<T: Clone> BriefMemory<T> {
    pub(crate) fn new(lasting: Duration) -> Self {
        BriefMemory {
            slots: (0..SLOTS).map(|_| Mutex::new(None)).collect(),
            lasting,
        }
    }

    pub(crate) fn remember(&self, name: KeyName, what: T, now: Timestamp) {
        let until = now.plus(self.lasting);
        *self.slot(&name).lock() = Some(Learnt { name, until, what });
    }

    pub(crate) fn recall(&self, name: &KeyName, now: Timestamp) -> Option<T> {
        let slot = self.slot(name).lock();
        let learnt = slot.as_ref()?;
        (learnt.name == *name && now < learnt.until).then(|| learnt.what.clone())
    }

    fn slot(&self, name: &KeyName) -> &Mutex<Option<Learnt<T>>> {
        let bytes = name.as_bytes();
        &self.slots[usize::from(u16::from_le_bytes([bytes[0], bytes[1]])) % SLOTS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learnt_is_remembered_for_its_time_and_no_longer() {
        let memory = BriefMemory::new(Duration::from_secs(10));
        let name = KeyName::from_bytes([7; 16]);
        memory.remember(name, "private", Timestamp::from_secs(100));
        assert_eq!(memory.recall(&name, Timestamp::from_secs(109)), Some("private"));
        assert_eq!(memory.recall(&name, Timestamp::from_secs(110)), None);
        let other = KeyName::from_bytes([8; 16]);
        assert_eq!(memory.recall(&other, Timestamp::from_secs(101)), None);
    }
}
