//! One allocation for equal nodes, names and patterns of all definitions.
//!
//! The interner holds weak references alone: what no definition uses any more is gone, and its slot is swept when the table has
//! doubled since the last sweep. Locks are held for the look-up of one node.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::{SchemaRef, Structural};
use crate::pattern::Pattern;

/// A table that is swept when it has doubled.
#[derive(Debug)]
struct Table<T: ?Sized> {
    slots: HashMap<u64, Vec<Weak<T>>>,
    sweep_at: usize,
}

impl<T: ?Sized> Default for Table<T> {
    fn default() -> Self {
        Self {
            slots: HashMap::new(),
            sweep_at: 1024,
        }
    }
}

impl<T: ?Sized> Table<T> {
    fn get_or_insert(
        &mut self,
        hash: u64,
        is_same: impl Fn(&T) -> bool,
        make: impl FnOnce() -> Arc<T>,
    ) -> Arc<T> {
        if self.slots.len() >= self.sweep_at {
            self.slots.retain(|_, slot| {
                slot.retain(|weak| weak.strong_count() > 0);
                !slot.is_empty()
            });
            self.sweep_at = (self.slots.len() * 2).max(1024);
        }
        let slot = self.slots.entry(hash).or_default();
        if let Some(found) = slot
            .iter()
            .filter_map(Weak::upgrade)
            .find(|node| is_same(node))
        {
            return found;
        }
        slot.retain(|weak| weak.strong_count() > 0);
        let made = make();
        slot.push(Arc::downgrade(&made));
        made
    }
}

/// See the module's head. One a server, given to every compilation.
#[derive(Debug, Default)]
pub struct Interner {
    hasher: RandomState,
    nodes: Mutex<Table<Structural>>,
    names: Mutex<Table<str>>,
    patterns: Mutex<Table<Pattern>>,
}

impl Interner {
    /// The shared node that equals this one.
    pub fn node(&self, node: Structural) -> SchemaRef {
        let hash = self.hasher.hash_one(&node);
        let mut table = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out of its option by whichever closure needs it last.
        let held = std::cell::Cell::new(Some(node));
        let same = |other: &Structural| {
            let node = held.take();
            let equal = node.as_ref() == Some(other);
            held.set(node);
            equal
        };
        SchemaRef(table.get_or_insert(hash, same, || Arc::new(held.take().unwrap_or_default())))
    }

    /// The shared text.
    pub fn name(&self, name: &str) -> Arc<str> {
        let hash = self.hasher.hash_one(name);
        let mut table = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        table.get_or_insert(hash, |other| other == name, || Arc::from(name))
    }

    /// The shared pattern, not yet compiled.
    pub fn pattern(&self, source: &str) -> Arc<Pattern> {
        let hash = self.hasher.hash_one(source);
        let mut table = self.patterns.lock().unwrap_or_else(PoisonError::into_inner);
        table.get_or_insert(
            hash,
            |other| other.source() == source,
            || Arc::new(Pattern::new(source)),
        )
    }

    /// How many live nodes there are; for tests and metrics.
    pub fn len(&self) -> usize {
        let table = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let live =
            |slot: &Vec<Weak<Structural>>| slot.iter().filter(|w| w.strong_count() > 0).count();
        table.slots.values().map(live).sum()
    }

    /// Whether nothing is interned.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
