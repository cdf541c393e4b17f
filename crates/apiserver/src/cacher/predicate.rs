//! Which objects a list or watch is about: namespace, name, labels, fields.

use apimachinery::{fields::Selector as FieldSelector, labels::Selector as LabelSelector};

use super::{object::CachedObject, signature::Signature};

/// A selection. The default selects everything.
#[derive(Clone, Debug, Default)]
pub struct Predicate {
    /// Empty is all.
    pub namespace: String,
    /// Empty is all.
    pub name: String,
    /// Label selector.
    pub labels: LabelSelector,
    /// Field selector.
    pub fields: FieldSelector,
}

impl Predicate {
    /// Whether it leaves anything out beyond its namespace.
    pub fn is_everything(&self) -> bool {
        self.name.is_empty() && self.labels.is_everything() && self.fields.is_empty()
    }

    /// What may hold anything it selects, by where objects are stored alone.
    pub fn candidates(&self) -> Self {
        let name = self.fields.exact("metadata.name");
        Self {
            namespace: self.namespace.clone(),
            name: name.unwrap_or(&self.name).to_owned(),
            ..Self::default()
        }
    }

    /// The bits that every object it selects has.
    pub(super) fn signature(&self) -> Signature {
        Signature::demanded_by(&self.labels, &self.fields)
    }

    /// Whether an object is selected.
    pub fn matches(&self, object: &CachedObject) -> bool {
        let (namespace, name) = object.namespace_and_name();
        (self.namespace.is_empty() || self.namespace == namespace)
            && (self.name.is_empty() || self.name == name)
            && self.labels.matches_with(|key| object.label(key))
            && self.fields.matches(|field| match field {
                "metadata.name" => Some(name),
                "metadata.namespace" => Some(namespace),
                _ => object.field(field),
            })
    }
}
