//! A resource as the registry, discovery and OpenAPI meet it, whether it was built in or defined by a user while the server ran.
//!
//! The facts of a built-in resource are static ([`Resource`]); those of a custom one come and go. [`ServedResource`] has the fields of
//! both under the same names, and costs a built-in resource nothing: its names stay borrowed.

use std::{
    ops::Deref,
    sync::{Arc, LazyLock},
};

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource, Name};

use crate::kind::{Hub, Resource, Scope, Storage, Strategy, Subresource};

/// One served resource in one version. See [`Resource`] for what the fields mean.
#[derive(Clone, Debug)]
pub struct ServedResource {
    /// Plural name and where it is served.
    pub gvr: GroupVersionResource,
    /// The kind of its objects.
    pub gvk: GroupVersionKind,
    /// The kind of a list of them.
    pub list_kind: Name,
    /// Singular name.
    pub singular: Name,
    /// Where its objects live.
    pub scope: Scope,
    /// `po` for pods.
    pub short_names: Vec<Name>,
    /// `all`.
    pub categories: Vec<Name>,
    /// Sorted, as discovery lists them.
    pub verbs: &'static [&'static str],
    /// `status`, `scale`, …
    pub subresources: Vec<ServedSubresource>,
    /// Where and in which version objects are kept.
    pub storage: Option<ServedStorage>,
    /// Defaults, validation, lifecycle.
    pub strategy: StrategyRef,
}

impl ServedResource {
    /// Whether a user has defined it.
    pub fn is_custom(&self) -> bool {
        matches!(self.strategy, StrategyRef::Shared(_))
    }

    /// The subresource of this name, if there is one.
    pub fn subresource(&self, name: &str) -> Option<&ServedSubresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }
}

/// See [`Subresource`].
#[derive(Clone, Debug)]
pub struct ServedSubresource {
    /// Name after the slash.
    pub name: &'static str,
    /// The kind it takes and gives.
    pub gvk: GroupVersionKind,
    /// `get patch update`.
    pub verbs: &'static [&'static str],
}

/// See [`Storage`].
#[derive(Clone, Debug)]
pub struct ServedStorage {
    /// Below `/registry/`.
    pub prefix: Name,
    /// The version kept, where it is not the row's own.
    pub gvk: GroupVersionKind,
    /// The way to that version and back, for built-in kinds.
    pub hub: Option<&'static Hub>,
}

/// A strategy: static for built-in kinds, shared for custom ones.
#[derive(Clone, Debug)]
pub enum StrategyRef {
    /// Of a built-in kind.
    Fixed(&'static dyn Strategy),
    /// Of a custom kind.
    Shared(Arc<dyn Strategy>),
}

impl Deref for StrategyRef {
    type Target = dyn Strategy;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Fixed(strategy) => *strategy,
            Self::Shared(strategy) => strategy.as_ref(),
        }
    }
}

impl From<&'static Resource> for ServedResource {
    fn from(row: &'static Resource) -> Self {
        let names = |names: &'static [&'static str]| names.iter().copied().map(Name::Borrowed);
        Self {
            gvr: row.gvr.clone(),
            gvk: row.gvk.clone(),
            list_kind: format!("{}List", row.gvk.kind).into(),
            singular: Name::Borrowed(row.singular),
            scope: row.scope,
            short_names: names(row.short_names).collect(),
            categories: names(row.categories).collect(),
            verbs: row.verbs,
            subresources: row.subresources.iter().map(Into::into).collect(),
            storage: row.storage.as_ref().map(|storage| stored(row, storage)),
            strategy: StrategyRef::Fixed(row.strategy),
        }
    }
}

fn stored(row: &'static Resource, storage: &'static Storage) -> ServedStorage {
    let hub = storage.hub.as_ref();
    ServedStorage {
        prefix: Name::Borrowed(storage.prefix),
        gvk: hub.map_or(&row.gvk, |hub| &hub.gvk).clone(),
        hub,
    }
}

impl From<&'static Subresource> for ServedSubresource {
    fn from(subresource: &'static Subresource) -> Self {
        Self {
            name: subresource.name,
            gvk: subresource.gvk.clone(),
            verbs: subresource.verbs,
        }
    }
}

/// The built-in resources, in discovery's order.
pub fn built_in() -> &'static [Arc<ServedResource>] {
    static ROWS: LazyLock<Vec<Arc<ServedResource>>> = LazyLock::new(|| {
        let rows = crate::kinds::TABLE.iter().copied();
        rows.map(|row| Arc::new(ServedResource::from(row)))
            .collect()
    });
    &ROWS
}
