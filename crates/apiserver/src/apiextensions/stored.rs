//! Objects as they come from the store, which may have been written under an older schema: pruned and defaulted by that of their version.
//!
//! Follows upstream's `schemaCoercingDecoder` with its defaulter: what was stored without a field that has a default since is read with it.

use std::sync::Arc;

use ::apiextensions::{default, definition::Definition, prune, selectable::SelectableField};
use api::Strategy;
use apimachinery::{Object, meta};

use crate::cacher::Coerce;

/// The stored objects of a definition.
#[derive(Debug)]
pub(super) struct Stored {
    definition: Arc<Definition>,
    /// Those of all served versions, each once.
    fields: Vec<SelectableField>,
}

impl Stored {
    pub(super) fn new(definition: &Arc<Definition>) -> Self {
        let mut fields: Vec<SelectableField> = Vec::new();
        for version in definition.versions.iter().filter(|version| version.served) {
            for field in &version.selectable_fields {
                if !fields.iter().any(|known| known.label == field.label) {
                    fields.push(field.clone());
                }
            }
        }
        Self {
            definition: Arc::clone(definition),
            fields,
        }
    }
}

impl Coerce for Stored {
    fn coerce(&self, object: &mut Object) -> bool {
        let before = object.clone();
        coerce(&self.definition, object);
        *object != before
    }
}

/// By the schema of the version that the object was stored in.
pub(super) fn coerce(definition: &Definition, object: &mut Object) {
    let version = meta::api_version(object).rsplit_once('/');
    let Some(version) = version.and_then(|(_, version)| definition.version(version)) else {
        return;
    };
    prune::prune(object, &version.schema, None);
    prune::prune_nulls(object, &version.schema);
    default::apply(object, &version.schema);
    if meta::generation(object) == 0 {
        meta::set_generation(object, 1);
    }
}

impl Strategy for Stored {
    fn selectable_fields(&self, object: &Object) -> Vec<(&str, String)> {
        let values = self.fields.iter();
        values
            .map(|field| (&*field.label, field.value(object)))
            .collect()
    }
}
