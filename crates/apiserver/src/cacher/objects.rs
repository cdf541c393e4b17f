//! The objects of a resource as of one moment, persistent: a copy costs two pointers.
//!
//! Beside the map in key order stands one by the value of a single field, for the kinds that have one by which a few of very many are asked for all
//! the time: a kubelet's pods by its node (upstream's indexers). Other selections pass over the signatures of all objects.

use std::{ops::Bound, sync::Arc};

use bytes::Bytes;
use imbl::OrdMap;

use super::{CachedObject, Predicate, signature::Signature};

/// An object, and what most selectors need to know of it.
#[derive(Clone, Debug)]
struct Entry {
    signature: Signature,
    object: Arc<CachedObject>,
}

impl From<Arc<CachedObject>> for Entry {
    fn from(object: Arc<CachedObject>) -> Self {
        let signature = object.signature();
        Self { signature, object }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Objects {
    by_key: OrdMap<Bytes, Entry>,
    field: Option<&'static str>,
    /// Keys are [`field_key`]s. Objects without a value of the field are not in it.
    by_field: OrdMap<Bytes, Entry>,
}

impl Objects {
    /// None yet. Those that come are found by the value of `field`, too.
    pub(super) fn new(field: Option<&'static str>) -> Self {
        Self {
            field,
            ..Self::default()
        }
    }

    /// With these in place of what was there.
    pub(super) fn with(&self, objects: impl IntoIterator<Item = Arc<CachedObject>>) -> Self {
        let by_key: OrdMap<Bytes, Entry> = objects
            .into_iter()
            .map(|object| (object.key.clone(), Entry::from(object)))
            .collect();
        let found_by_field = by_key.values().filter_map(|entry| {
            let key = self.field_key_of(&entry.object)?;
            Some((key, entry.clone()))
        });
        Self {
            by_field: found_by_field.collect(),
            field: self.field,
            by_key,
        }
    }

    /// The object that is replaced.
    pub(super) fn insert(&mut self, object: Arc<CachedObject>) -> Option<Arc<CachedObject>> {
        let entry = Entry::from(Arc::clone(&object));
        let old = self.by_key.insert(object.key.clone(), entry.clone());
        let old = old.map(|old| old.object);
        let (old_value, new_value) = (old.as_deref().map(|o| self.value(o)), self.value(&object));
        if let Some(old) = &old
            && old_value.flatten() != new_value
        {
            self.remove_from_field(old);
        }
        if let Some(key) = self.field_key_of(&object) {
            self.by_field.insert(key, entry);
        }
        old
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Arc<CachedObject>> {
        let old = self.by_key.remove(key)?.object;
        self.remove_from_field(&old);
        Some(old)
    }

    fn remove_from_field(&mut self, object: &CachedObject) {
        if let Some(key) = self.field_key_of(object) {
            self.by_field.remove(&key);
        }
    }

    /// Of the indexed field.
    fn value<'a>(&self, object: &'a CachedObject) -> Option<&'a str> {
        object.field(self.field?)
    }

    fn field_key_of(&self, object: &CachedObject) -> Option<Bytes> {
        let value = self.value(object)?;
        Some(field_key(value, &object.key).into())
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Arc<CachedObject>> {
        self.by_key.get(key).map(|entry| &entry.object)
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The first object and the last.
    pub(super) fn ends(&self) -> [Option<&Arc<CachedObject>>; 2] {
        [self.by_key.get_min(), self.by_key.get_max()]
            .map(|end| end.map(|(_, entry)| &entry.object))
    }

    /// The objects of a namespace (empty: all) in key order, after the key `after` (exclusive) if given.
    pub(super) fn iter<'a>(
        &'a self,
        namespace: &str,
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = &'a Arc<CachedObject>> + use<'a> {
        let entries = Stretch::of_namespace(&[], namespace).of(&self.by_key, after);
        entries.map(|entry| &entry.object)
    }

    /// All that a predicate selects and some that it does not, in key order, after the key `after` (exclusive) if given.
    pub(super) fn candidates<'a>(
        &'a self,
        predicate: &Predicate,
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = &'a Arc<CachedObject>> + use<'a> {
        let demanded = predicate.signature();
        let value = self.field.and_then(|field| predicate.fields.exact(field));
        let entries = if let Some(key) = self.only_key(predicate) {
            Stretch::of_key(&key).of(&self.by_key, after)
        } else if let Some(value) = value.filter(|value| !value.is_empty()) {
            let prefix = field_key(value, &[]);
            let after = after.map(|after| [&prefix, after].concat());
            Stretch::of_namespace(&prefix, &predicate.namespace)
                .of(&self.by_field, after.as_deref())
        } else {
            Stretch::of_namespace(&[], &predicate.namespace).of(&self.by_key, after)
        };
        entries
            .filter(move |entry| entry.signature.covers(demanded))
            .map(|entry| &entry.object)
    }

    /// The key of the one object that can be selected, if the predicate says which. In all namespaces there may be several of one name.
    fn only_key(&self, predicate: &Predicate) -> Option<Vec<u8>> {
        let name = match predicate.name.as_str() {
            "" => predicate.fields.exact("metadata.name")?,
            name => name,
        };
        match predicate.namespace.as_str() {
            "" => (self.get(name.as_bytes()).is_some()).then(|| name.into()),
            namespace => Some([namespace, "/", name].concat().into()),
        }
    }
}

/// Value, a byte that no value has, key: objects of one value lie together, in key order.
fn field_key(value: &str, key: &[u8]) -> Vec<u8> {
    [value.as_bytes(), b"\0", key].concat()
}

/// Keys that lie side by side.
struct Stretch {
    first: Vec<u8>,
    end: Bound<Vec<u8>>,
}

impl Stretch {
    /// The keys of a namespace (empty: all) behind a prefix that ends with a separator.
    fn of_namespace(prefix: &[u8], namespace: &str) -> Self {
        let mut first = prefix.to_vec();
        if !namespace.is_empty() {
            first.extend_from_slice(namespace.as_bytes());
            first.push(b'/');
        }
        // Nothing but what begins so is below what has the byte after the separator in its place.
        let end = first.split_last().map(|(separator, rest)| {
            let end = [rest, &[separator + 1]].concat();
            Bound::Excluded(end)
        });
        Self {
            end: end.unwrap_or(Bound::Unbounded),
            first,
        }
    }

    fn of_key(key: &[u8]) -> Self {
        Self {
            first: key.to_vec(),
            end: Bound::Included(key.to_vec()),
        }
    }

    /// What of a map lies in it, after the key `after` (exclusive) if given.
    fn of<'a>(
        &self,
        map: &'a OrdMap<Bytes, Entry>,
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = &'a Entry> + use<'a> {
        let start = match after {
            Some(after) if after >= self.first.as_slice() => Bound::Excluded(after),
            _ => Bound::Included(self.first.as_slice()),
        };
        let range = (start, self.end.as_ref().map(Vec::as_slice));
        map.range::<_, [u8]>(range).map(|(_, entry)| entry)
    }
}
