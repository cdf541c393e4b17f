//! OpenAPI of custom resources, which come and go.
//!
//! One document a group and version, made when somebody asks for it, and anew only when one of its own definitions has changed: a change among
//! a thousand definitions costs a client that keeps up one document. Schemas are read from the stored definitions and not kept.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use ::apiextensions::openapi::{Dialect, Published, publish};
use api::ServedResource;
use apimachinery::Object;
use serde_json::Value;

use super::{Document, content_hash, operations::is_custom, v3};

type Rows = Arc<Vec<Arc<ServedResource>>>;
type Served = dyn Fn() -> Rows + Send + Sync;
type Definition = dyn Fn(&str) -> Option<Object> + Send + Sync;

/// Where custom resources and their definitions are found, and what has been made of them.
pub(super) struct Custom {
    served: Box<Served>,
    definition: Box<Definition>,
    fingerprint: String,
    current: Mutex<Option<Arc<Current>>>,
}

/// The documents of one set of rows.
pub(super) struct Current {
    all: Rows,
    rows: Vec<Arc<ServedResource>>,
    documents: BTreeMap<String, Arc<CustomDocument>>,
    /// Of what all of them are made of.
    pub(super) hash: String,
}

/// The document of a group and version.
pub(super) struct CustomDocument {
    pub(super) rows: Vec<Arc<ServedResource>>,
    pub(super) document: Document,
}

impl Current {
    /// The custom resources.
    pub(super) fn rows(&self) -> &[Arc<ServedResource>] {
        &self.rows
    }

    /// By what follows `/openapi/v3/`.
    pub(super) fn document(&self, name: &str) -> Option<&Arc<CustomDocument>> {
        self.documents.get(name)
    }

    /// All of them, by path.
    pub(super) fn documents(&self) -> impl Iterator<Item = (&str, &Document)> {
        let documents = self.documents.iter();
        documents.map(|(path, custom)| (path.as_str(), &custom.document))
    }
}

impl Custom {
    /// Without any.
    pub(super) fn new(fingerprint: &str) -> Self {
        Self {
            served: Box::new(Rows::default),
            definition: Box::new(|_| None),
            fingerprint: fingerprint.to_owned(),
            current: Mutex::new(None),
        }
    }

    /// With those among what `served` gives.
    pub(super) fn with(
        mut self,
        served: impl Fn() -> Rows + Send + Sync + 'static,
        definition: impl Fn(&str) -> Option<Object> + Send + Sync + 'static,
    ) -> Self {
        self.served = Box::new(served);
        self.definition = Box::new(definition);
        self
    }

    /// The documents of what is served now.
    pub(super) fn current(&self) -> Arc<Current> {
        let all = (self.served)();
        let mut slot = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = slot.as_ref().filter(|c| Arc::ptr_eq(&c.all, &all)) {
            return Arc::clone(current);
        }
        let current = Arc::new(self.next(all, slot.as_deref()));
        *slot = Some(Arc::clone(&current));
        current
    }

    fn next(&self, all: Rows, before: Option<&Current>) -> Current {
        let rows: Vec<_> = all.iter().filter(|row| is_custom(row)).cloned().collect();
        let mut by_version: BTreeMap<String, Vec<Arc<ServedResource>>> = BTreeMap::new();
        for row in &rows {
            let path = format!("apis/{}/{}", row.gvr.group, row.gvr.version);
            by_version.entry(path).or_default().push(Arc::clone(row));
        }
        let documents: BTreeMap<String, Arc<CustomDocument>> = by_version
            .into_iter()
            .map(|(path, rows)| {
                let known = before.and_then(|before| before.documents.get(&path));
                let document = match known.filter(|known| are_same(&known.rows, &rows)) {
                    Some(known) => Arc::clone(known),
                    None => Arc::new(CustomDocument {
                        document: Document::of(&path, &self.content(&rows)),
                        rows,
                    }),
                };
                (path, document)
            })
            .collect();
        let hashes = documents.values().map(|custom| &*custom.document.hash);
        let hashes: Vec<&str> = hashes.collect();
        Current {
            hash: content_hash(hashes.join("\n").as_bytes()),
            all,
            rows,
            documents,
        }
    }

    /// What a document is made of.
    fn content(&self, rows: &[Arc<ServedResource>]) -> String {
        let specs = rows.iter().map(|row| {
            let definition = (self.definition)(&definition_name(row)).unwrap_or_default();
            definition.get("spec").map(ToString::to_string)
        });
        let specs: Vec<String> = specs.map(Option::unwrap_or_default).collect();
        format!("{}\n{}", self.fingerprint, specs.join("\n"))
    }

    /// The schemas of rows. What is gone in the meantime has none.
    pub(super) fn published(
        &self,
        rows: &[Arc<ServedResource>],
        dialect: Dialect,
    ) -> Vec<Published> {
        rows.iter()
            .filter_map(|row| {
                let definition = (self.definition)(&definition_name(row))?;
                publish(&definition, &row.gvr.version, dialect)
            })
            .collect()
    }

    /// The document of one group and version.
    pub(super) fn v3(&self, rows: &[Arc<ServedResource>]) -> Value {
        let Some(first) = rows.first() else {
            return Value::Null;
        };
        let published = self.published(rows, Dialect::V3);
        v3::custom(&first.gvk.group_version(), rows, published)
    }
}

/// `widgets.example.com`.
fn definition_name(row: &ServedResource) -> String {
    format!("{}.{}", row.gvr.resource, row.gvr.group)
}

fn are_same(a: &[Arc<ServedResource>], b: &[Arc<ServedResource>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
}
