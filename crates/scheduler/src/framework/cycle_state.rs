//! What plugins remember between the points of one pod's cycle, and which of them sit this one out.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
};

/// One pod's cycle. Keys are plugin names: a plugin sees its own alone.
#[derive(Default)]
pub(crate) struct CycleState {
    data: BTreeMap<&'static str, Box<dyn Any + Send + Sync>>,
    skipped_scores: BTreeSet<&'static str>,
}

impl CycleState {
    /// Remembers `value` for `plugin`.
    pub(crate) fn write<T: Any + Send + Sync>(&mut self, plugin: &'static str, value: T) {
        self.data.insert(plugin, Box::new(value));
    }

    /// What `plugin` remembered.
    pub(crate) fn read<T: Any>(&self, plugin: &'static str) -> Option<&T> {
        self.data.get(plugin)?.downcast_ref()
    }

    /// Leaves out `plugin`'s scores.
    pub(crate) fn skip_score(&mut self, plugin: &'static str) {
        self.skipped_scores.insert(plugin);
    }

    /// Whether `plugin`'s scores are left out.
    pub(crate) fn skips_score(&self, plugin: &'static str) -> bool {
        self.skipped_scores.contains(plugin)
    }
}
