//! What plugins remember between the points of one pod's cycle, and which of them sit this one out.
//!
//! A state can be cloned: preemption and nominated pods ask "what if", and change the copy by
//! [`super::PreFilter::add_pod`] and [`super::PreFilter::remove_pod`].

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
};

/// A value of any type that can be cloned.
trait Memory: Send + Sync {
    fn boxed_clone(&self) -> Box<dyn Memory>;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<T: Any + Clone + Send + Sync> Memory for T {
    fn boxed_clone(&self) -> Box<dyn Memory> {
        Box::new(self.clone())
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// One pod's cycle. A plugin has at most one value of each type.
#[derive(Default)]
pub(crate) struct CycleState {
    data: BTreeMap<(&'static str, std::any::TypeId), Box<dyn Memory>>,
    skipped_filters: BTreeSet<&'static str>,
    skipped_scores: BTreeSet<&'static str>,
}

impl Clone for CycleState {
    fn clone(&self) -> Self {
        let data = self.data.iter();
        Self {
            data: data
                .map(|(key, value)| (*key, (**value).boxed_clone()))
                .collect(),
            skipped_filters: self.skipped_filters.clone(),
            skipped_scores: self.skipped_scores.clone(),
        }
    }
}

fn key<T: Any>(plugin: &'static str) -> (&'static str, std::any::TypeId) {
    (plugin, std::any::TypeId::of::<T>())
}

impl CycleState {
    /// Remembers `value` for `plugin`.
    pub(crate) fn write<T: Any + Clone + Send + Sync>(&mut self, plugin: &'static str, value: T) {
        self.data.insert(key::<T>(plugin), Box::new(value));
    }

    /// What `plugin` remembered.
    pub(crate) fn read<T: Any>(&self, plugin: &'static str) -> Option<&T> {
        let value = self.data.get(&key::<T>(plugin))?;
        (**value).as_any().downcast_ref()
    }

    /// What `plugin` remembered, to be changed.
    pub(crate) fn edit<T: Any>(&mut self, plugin: &'static str) -> Option<&mut T> {
        let value = self.data.get_mut(&key::<T>(plugin))?;
        (**value).as_any_mut().downcast_mut()
    }

    /// Leaves out `plugin`'s filter.
    pub(crate) fn skip_filter(&mut self, plugin: &'static str) {
        self.skipped_filters.insert(plugin);
    }

    /// Whether `plugin`'s filter is left out.
    pub(crate) fn skips_filter(&self, plugin: &'static str) -> bool {
        self.skipped_filters.contains(plugin)
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
