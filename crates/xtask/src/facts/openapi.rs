//! The reference server's OpenAPI v3 documents, joined: schemas by full name.

use std::{collections::BTreeMap, fs, io::Read, path::Path};

use anyhow::Context;
use serde_json::Value;

/// Schemas of all documents.
pub(super) struct Documents {
    /// By name, `io.k8s.api.core.v1.Pod`.
    pub(super) schemas: BTreeMap<String, Value>,
}

impl Documents {
    pub(super) fn read(dir: &Path) -> anyhow::Result<Self> {
        let mut schemas = BTreeMap::new();
        for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
            let path = entry?.path();
            if path.extension().is_none_or(|e| e != "gz") {
                continue;
            }
            let mut text = String::new();
            flate2::read::GzDecoder::new(fs::File::open(&path)?).read_to_string(&mut text)?;
            let mut document: Value =
                serde_json::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
            if let Some(Value::Object(found)) =
                document.pointer_mut("/components/schemas").map(Value::take)
            {
                schemas.extend(found);
            }
        }
        Ok(Self { schemas })
    }

    /// The schema of a field.
    pub(super) fn property(&self, name: &str, field: &str) -> Option<&Value> {
        self.schemas.get(name)?.get("properties")?.get(field)
    }

    /// Which field has this description, or one that begins so: `io.k8s…ObjectMeta name`, and how many letters of it when not all. That of
    /// metadata is preferred, then those of `kind`'s own types. The columns of some resources show the older, shorter text.
    pub(super) fn described_as(
        &self,
        description: &str,
        prefer: &str,
    ) -> Option<(String, String, Option<usize>)> {
        const LONG: usize = 120;
        let mut found = Vec::new();
        for (name, schema) in &self.schemas {
            let fields = schema.get("properties").and_then(Value::as_object);
            for (field, property) in fields.into_iter().flatten() {
                let text = property
                    .get("description")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                if text == description {
                    found.push((name.clone(), field.clone(), None));
                } else if description.len() > LONG && text.starts_with(description) {
                    let letters = description.chars().count();
                    found.push((name.clone(), field.clone(), Some(letters)));
                }
            }
        }
        let rank = |name: &str| {
            if name.ends_with(".ObjectMeta") {
                0
            } else if name
                .rsplit('.')
                .next()
                .is_some_and(|n| n.starts_with(prefer))
            {
                1
            } else {
                2
            }
        };
        found.into_iter().min_by_key(|(name, field, cut)| {
            (cut.is_some(), rank(name), name.clone(), field.clone())
        })
    }
}
