//! The adapter to openraft, by openraft's own suite.

use super::directory::Directory;
use super::machine::{Applied, Machine};
use super::storage::{CommittedAt, Storage, check_whole};
use super::store::Store;
use super::tests::{keeping, without_witness};
use super::types::{StorageError, Types};
use crate::base::metrics::Metrics;
use crate::purge::state::State;
use crate::purge::table::Tables;
use openraft::testing::{StoreBuilder, Suite};
use parking_lot::Mutex;
use std::sync::Arc;
use tempfile::TempDir;

struct InDirectories;

impl StoreBuilder<Types, Storage, Machine, TempDir> for InDirectories {
    async fn build(&self) -> Result<(TempDir, Storage, Machine), StorageError> {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::take(&without_witness(place.path())).unwrap();
        let store = Store::open(Arc::new(directory), check_whole).await?;
        let state = State::new(Arc::new(Tables::new(1000, 1000)), keeping());
        let applied = Arc::new(Mutex::new(Applied::new(state)));
        let at = CommittedAt::default();
        let metrics = Arc::new(Metrics::new());
        let machine = Machine::open(applied, store.clone(), at.clone(), metrics).await?;
        Ok((place, Storage::new(store, at), machine))
    }
}

#[test]
fn the_adapter_keeps_what_openraft_asks_of_it() {
    Suite::test_all(InDirectories).unwrap();
}
