//! What was read from the catalogue, for as long as nothing has changed in it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// How many values are kept; then it begins anew.
const VALUES_MAX: usize = 10_000;

/// Values by key, all read at one generation of the catalogue
/// ([`Catalogue::generation`](verdict::registry::catalogue::Catalogue::generation)). Any change makes it empty.
#[derive(Debug)]
pub(crate) struct Still<K, V>(Mutex<(u64, HashMap<K, V>)>);

impl<K, V> Default for Still<K, V> {
    fn default() -> Self {
        Self(Mutex::new((0, HashMap::new())))
    }
}

impl<K: Eq + Hash, V: Clone> Still<K, V> {
    /// The value, if it was read at this generation.
    pub(crate) fn find(&self, generation: u64, key: &K) -> Option<V> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0 == generation { kept.1.get(key).cloned() } else { None }
    }

    /// Keeps a value that was read after the generation was.
    pub(crate) fn keep(&self, generation: u64, key: K, value: V) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0 > generation {
            return;
        }
        if kept.0 < generation || kept.1.len() >= VALUES_MAX {
            *kept = (generation, HashMap::new());
        }
        kept.1.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_holds_for_its_generation_only() {
        let still = Still::default();
        still.keep(1, "a", 1);
        assert_eq!(still.find(1, &"a"), Some(1));
        assert_eq!(still.find(2, &"a"), None);
        still.keep(2, "b", 2);
        assert_eq!((still.find(2, &"a"), still.find(2, &"b")), (None, Some(2)));
        still.keep(1, "a", 1);
        assert_eq!((still.find(1, &"a"), still.find(2, &"a")), (None, None), "it was read too early");
    }

    #[test]
    fn it_is_bounded() {
        let still = Still::default();
        (0..VALUES_MAX + 1).for_each(|n| still.keep(1, n, n));
        assert_eq!(still.find(1, &0), None);
        assert_eq!(still.find(1, &VALUES_MAX), Some(VALUES_MAX));
    }
}
