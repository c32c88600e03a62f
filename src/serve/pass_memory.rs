//! Remembers URLs whose responses may not be shared, so that their requests need not queue for each other.
//!
//! A fixed table: two URLs that fall on one slot forget one another, which costs a queue and never a wrong
//! answer. Knows nothing of why a response may not be shared.

use crate::base::clock::Timestamp;
use crate::key::KeyName;
use parking_lot::Mutex;
use std::time::Duration;

const SLOTS: usize = 4096;

pub(crate) struct PassMemory {
    slots: Vec<Mutex<Option<(KeyName, Timestamp)>>>,
    lasting: Duration,
}

impl PassMemory {
    pub(crate) fn new(lasting: Duration) -> Self {
        PassMemory {
            slots: (0..SLOTS).map(|_| Mutex::default()).collect(),
            lasting,
        }
    }

    pub(crate) fn remember(&self, name: KeyName, now: Timestamp) {
        *self.slot(&name).lock() = Some((name, now.plus(self.lasting)));
    }

    pub(crate) fn holds(&self, name: &KeyName, now: Timestamp) -> bool {
        matches!(&*self.slot(name).lock(), Some((held, until)) if held == name && now < *until)
    }

    fn slot(&self, name: &KeyName) -> &Mutex<Option<(KeyName, Timestamp)>> {
        let bytes = name.as_bytes();
        &self.slots[usize::from(u16::from_le_bytes([bytes[0], bytes[1]])) % SLOTS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_remembered_for_its_time_and_no_longer() {
        let memory = PassMemory::new(Duration::from_secs(10));
        let name = KeyName::from_bytes([7; 16]);
        memory.remember(name, Timestamp::from_secs(100));
        assert!(memory.holds(&name, Timestamp::from_secs(109)));
        assert!(!memory.holds(&name, Timestamp::from_secs(110)));
        assert!(!memory.holds(&KeyName::from_bytes([8; 16]), Timestamp::from_secs(101)));
    }
}
