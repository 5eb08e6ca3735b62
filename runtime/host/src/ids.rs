//! Decision ids: which are taken, and where their records are.
//!
//! 24 bytes of memory a decision, rebuilt from the log at start.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

const SHARDS: usize = 64;

/// What stands behind an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// A request with this id is under way.
    Pending,
    /// Its record is the leaf with this index.
    Recorded(u64),
}

/// The ids of every tenant.
#[derive(Debug)]
pub(crate) struct Ids {
    shards: Vec<Mutex<HashMap<u128, Slot>>>,
}

impl Ids {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// Takes the id, or says what stands behind it.
    pub(crate) fn reserve(&self, tenant: &str, id: &str) -> Result<(), Slot> {
        let key = key(tenant, id);
        let Some(mut shard) = self.shard(key) else { return Ok(()) };
        match shard.entry(key) {
            Entry::Occupied(entry) => Err(*entry.get()),
            Entry::Vacant(entry) => {
                entry.insert(Slot::Pending);
                Ok(())
            }
        }
    }

    /// The record of this id is durable at `index`.
    pub(crate) fn record(&self, tenant: &str, id: &str, index: u64) {
        let key = key(tenant, id);
        if let Some(mut shard) = self.shard(key) {
            shard.insert(key, Slot::Recorded(index));
        }
    }

    /// Nothing was recorded under this id.
    pub(crate) fn release(&self, tenant: &str, id: &str) {
        let key = key(tenant, id);
        if let Some(mut shard) = self.shard(key)
            && shard.get(&key) == Some(&Slot::Pending)
        {
            shard.remove(&key);
        }
    }

    /// The index of the record with this id.
    pub(crate) fn find(&self, tenant: &str, id: &str) -> Option<u64> {
        let key = key(tenant, id);
        match self.shard(key)?.get(&key) {
            Some(Slot::Recorded(index)) => Some(*index),
            _ => None,
        }
    }

    fn shard(&self, key: u128) -> Option<MutexGuard<'_, HashMap<u128, Slot>>> {
        let index = usize::try_from(key % SHARDS as u128).ok()?;
        // A panic while the lock was held cannot leave a map half-changed.
        self.shards.get(index).map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Half a SHA-256: an id chosen by an attacker cannot collide with another's.
fn key(tenant: &str, id: &str) -> u128 {
    let digest = Sha256::new().chain_update(tenant).chain_update([0]).chain_update(id).finalize();
    digest.first_chunk::<16>().map_or(0, |half| u128::from_le_bytes(*half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_once_a_tenant() {
        let ids = Ids::new();
        assert_eq!(ids.reserve("a", "1"), Ok(()));
        assert_eq!(ids.reserve("a", "1"), Err(Slot::Pending));
        assert_eq!(ids.reserve("b", "1"), Ok(()));
        ids.record("a", "1", 7);
        assert_eq!(ids.reserve("a", "1"), Err(Slot::Recorded(7)));
        assert_eq!((ids.find("a", "1"), ids.find("b", "1")), (Some(7), None));
        ids.release("a", "1");
        ids.release("b", "1");
        assert_eq!((ids.find("a", "1"), ids.reserve("b", "1")), (Some(7), Ok(())));
    }
}
