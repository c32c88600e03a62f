//! Metrics of what the configuration names: routes and origins.
//!
//! Invariant: a name's series exist from its first handle to its last, and are the same ones for all of its handles: a
//! reload neither loses what is still being counted nor keeps what is gone. It does not know what is counted.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// The metrics that every name of a kind has.
pub(super) trait Templates: Sized {
    /// Handles to all series of one name.
    type Handles;

    fn handles(&self, name: &str, claim: Claim<Self>) -> Self::Handles;

    fn remove(&self, name: &str);
}

/// All names of a kind.
pub(super) struct Names<T: Templates>(Arc<Known<T>>);

struct Known<T: Templates> {
    templates: T,
    handles: Mutex<HashMap<String, Weak<T::Handles>>>,
}

/// Lies with a name's handles: when it goes, and the name was not claimed again, the name's series go.
pub(super) struct Claim<T: Templates> {
    known: Arc<Known<T>>,
    name: String,
}

impl<T: Templates> Names<T> {
    pub(super) fn new(templates: T) -> Self {
        Names(Arc::new(Known {
            templates,
            handles: Mutex::default(),
        }))
    }

    pub(super) fn of(&self, name: &str) -> Arc<T::Handles> {
        let mut known = self.0.handles.lock();
        if let Some(handles) = known.get(name).and_then(Weak::upgrade) {
            return handles;
        }
        let claim = Claim {
            known: self.0.clone(),
            name: name.to_owned(),
        };
        let handles = Arc::new(self.0.templates.handles(name, claim));
        known.insert(name.to_owned(), Arc::downgrade(&handles));
        handles
    }
}

impl<T: Templates> Drop for Claim<T> {
    fn drop(&mut self) {
        let mut known = self.known.handles.lock();
        let is_claimed_again = |handles: &Weak<T::Handles>| handles.strong_count() > 0;
        if known
            .get(&self.name)
            .is_some_and(|handles| !is_claimed_again(handles))
        {
            known.remove(&self.name);
            self.known.templates.remove(&self.name);
        }
    }
}
