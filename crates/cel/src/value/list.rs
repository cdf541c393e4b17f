//! Lists: of the caller's JSON, or made by the expression.
//!
//! Kubernetes' lists may be sets, or maps by some keys of their items (`x-kubernetes-list-type`): then order does not count when they are compared,
//! and `+` merges.

use std::sync::Arc;

use super::{Value, compare::within, equal, map::Map};
use crate::declaration::{Declaration, ListType};

/// A list.
#[derive(Clone, Debug)]
pub enum List<'a> {
    /// Read as declared.
    Json {
        /// The items.
        items: &'a [serde_json::Value],
        /// Of the list.
        declaration: Option<&'a Declaration>,
    },
    /// Made by the expression.
    Shared {
        /// The items.
        items: Arc<Vec<Value<'a>>>,
        /// What it merges and compares as.
        kind: ListKind<'a>,
    },
}

/// How a list compares and merges.
#[derive(Clone, Copy, Debug, Default)]
pub enum ListKind<'a> {
    /// Item by item.
    #[default]
    Atomic,
    /// Each item once, in any order.
    Set,
    /// Items found by these fields, in any order.
    Map(&'a [Arc<str>]),
}

impl<'a> List<'a> {
    /// Of values.
    pub fn new(items: Vec<Value<'a>>) -> Self {
        Self::Shared {
            items: Arc::new(items),
            kind: ListKind::Atomic,
        }
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Json { items, .. } => items.len(),
            Self::Shared { items, .. } => items.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item at a place.
    pub fn get(&self, at: usize) -> Option<Value<'a>> {
        match self {
            Self::Json { items, declaration } => items
                .get(at)
                .map(|json| Value::from_json(json, declaration.and_then(Declaration::items))),
            Self::Shared { items, .. } => items.get(at).cloned(),
        }
    }

    /// The items in order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    fn kind(&self) -> ListKind<'a> {
        match self {
            Self::Json { declaration, .. } => match declaration.map(|d| d.list_type()) {
                Some(ListType::Set) => ListKind::Set,
                Some(ListType::Map(keys)) => ListKind::Map(keys),
                _ => ListKind::Atomic,
            },
            Self::Shared { kind, .. } => *kind,
        }
    }

    pub(crate) fn contains(&self, value: &Value<'_>) -> bool {
        self.iter().any(|item| equal(&item, value))
    }

    /// `self + other`, as this list's kind says.
    pub(crate) fn concat(&self, other: &Self) -> Self {
        let kind = self.kind();
        let mut items: Vec<Value<'a>> = Vec::with_capacity(self.len() + other.len());
        items.extend(self.iter());
        match kind {
            ListKind::Atomic => items.extend(other.iter()),
            ListKind::Set => {
                for item in other.iter() {
                    if !items.iter().any(|known| equal(known, &item)) {
                        items.push(item);
                    }
                }
            }
            ListKind::Map(keys) => {
                for item in other.iter() {
                    match items.iter_mut().find(|known| same_keys(known, &item, keys)) {
                        Some(known) => *known = item,
                        None => items.push(item),
                    }
                }
            }
        }
        Self::Shared {
            items: Arc::new(items),
            kind,
        }
    }

    pub(super) fn equals(&self, other: &List<'_>, left: &mut u64) -> Option<bool> {
        if self.len() != other.len() {
            return Some(false);
        }
        match self.kind() {
            ListKind::Atomic => {
                for (a, b) in self.iter().zip(other.iter()) {
                    if !within(&a, &b, left)? {
                        return Some(false);
                    }
                }
            }
            kind => {
                for item in self.iter() {
                    if !other.has_like(&item, kind, left)? {
                        return Some(false);
                    }
                }
            }
        }
        Some(true)
    }

    fn has_like(&self, item: &Value<'_>, kind: ListKind<'_>, left: &mut u64) -> Option<bool> {
        for known in self.iter() {
            let candidate = match kind {
                ListKind::Map(keys) => same_keys(&known, item, keys),
                _ => true,
            };
            if candidate && within(&known, item, left)? {
                return Some(true);
            }
        }
        Some(false)
    }

    /// Takes the items out if nobody else holds them.
    pub(crate) fn into_items(self) -> Vec<Value<'a>> {
        match self {
            Self::Shared { items, .. } => Arc::unwrap_or_clone(items),
            Self::Json { .. } => self.iter().collect(),
        }
    }
}

fn same_keys(a: &Value<'_>, b: &Value<'_>, keys: &[Arc<str>]) -> bool {
    let (Value::Map(a), Value::Map(b)) = (a, b) else {
        return false;
    };
    let field = |map: &Map<'_>, key: &str, with: &dyn Fn(Option<Value<'_>>) -> bool| {
        with(map.field_by_json_name(key))
    };
    keys.iter().all(|key| {
        field(a, key, &|left| {
            field(b, key, &|right| match (&left, &right) {
                (Some(left), Some(right)) => equal(left, right),
                (None, None) => true,
                _ => false,
            })
        })
    })
}
