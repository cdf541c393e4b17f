//! Sets of fields, shaped like the JSON that stores them (`FieldsV1`): a tree whose steps are `f:NAME`, `k:{KEYS}`, `v:VALUE`, `i:INDEX`.
//!
//! A field is in the set when its node is a member. The algebra is that of structured-merge-diff's `fieldpath.Set`.

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value};

/// A set of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    pub(super) entries: BTreeMap<String, Entry>,
}

/// What is under one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) member: bool,
    pub(super) children: FieldSet,
}

impl Entry {
    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }
}

/// The step to a named field.
pub(super) fn field_step(name: &str) -> String {
    // Made of each field of each object that is written: `format!` is several times slower.
    ["f:", name].concat()
}

impl FieldSet {
    /// Of dotted paths of named fields: `status`, `metadata.deletionTimestamp`.
    pub fn of_paths(paths: &[&str]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let mut at = &mut set;
            let mut names = path.split('.').peekable();
            while let Some(name) = names.next() {
                let entry = at.entries.entry(field_step(name)).or_default();
                entry.member |= names.peek().is_none();
                at = &mut entry.children;
            }
        }
        set
    }

    /// Reads `FieldsV1`.
    pub fn from_fields_v1(value: &Value) -> Option<Self> {
        let mut set = Self::default();
        for (step, inner) in value.as_object()? {
            if step == "." {
                continue;
            }
            if !matches!(step.get(..2), Some("f:" | "k:" | "v:" | "i:")) {
                return None;
            }
            let inner_map = inner.as_object()?;
            let member = inner_map.is_empty() || inner_map.contains_key(".");
            let children = Self::from_fields_v1(inner)?;
            set.entries.insert(step.clone(), Entry { member, children });
        }
        Some(set)
    }

    /// Writes `FieldsV1`. The steps are moved: there are hundreds in a pod.
    pub fn into_fields_v1(self) -> Value {
        let written = self.entries.into_iter().map(|(step, entry)| {
            let mut inner = entry.children.into_fields_v1();
            if let Value::Object(map) = &mut inner
                && entry.member
                && !map.is_empty()
            {
                map.insert(".".to_owned(), Value::Object(Map::new()));
            }
            (step, inner)
        });
        Value::Object(written.collect())
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries.values().all(Entry::is_empty)
    }

    fn put(&mut self, step: &str, entry: Entry) {
        if !entry.is_empty() {
            self.entries.insert(step.to_owned(), entry);
        }
    }

    pub(super) fn attach(&mut self, step: String, entry: Entry) {
        if !entry.is_empty() {
            self.entries.insert(step, entry);
        }
    }

    /// What is in either.
    pub fn union(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.extend(other);
        out
    }

    pub(super) fn extend(&mut self, other: &Self) {
        for (step, entry) in &other.entries {
            match self.entries.get_mut(step) {
                Some(mine) => {
                    mine.member |= entry.member;
                    mine.children.extend(&entry.children);
                }
                None => self.put(step, entry.clone()),
            }
        }
    }

    /// Takes in another set as it is.
    pub(super) fn absorb(&mut self, other: Self) {
        for (step, entry) in other.entries {
            match self.entries.get_mut(&step) {
                Some(mine) => {
                    mine.member |= entry.member;
                    mine.children.absorb(entry.children);
                }
                None => self.attach(step, entry),
            }
        }
    }

    /// What is in both.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut out = Self::default();
        for (step, entry) in &self.entries {
            if let Some(theirs) = other.entries.get(step) {
                let member = entry.member && theirs.member;
                let children = entry.children.intersection(&theirs.children);
                out.put(step, Entry { member, children });
            }
        }
        out
    }

    /// What is in this one alone.
    pub fn difference(&self, other: &Self) -> Self {
        let mut out = Self::default();
        for (step, entry) in &self.entries {
            match other.entries.get(step) {
                Some(theirs) => {
                    let member = entry.member && !theirs.member;
                    let children = entry.children.difference(&theirs.children);
                    out.put(step, Entry { member, children });
                }
                None => out.put(step, entry.clone()),
            }
        }
        out
    }

    /// Takes out what is in the other.
    pub fn subtract(&mut self, other: &Self) {
        for (step, theirs) in &other.entries {
            if let Some(mine) = self.entries.get_mut(step) {
                mine.member &= !theirs.member;
                mine.children.subtract(&theirs.children);
                if mine.is_empty() {
                    self.entries.remove(step);
                }
            }
        }
    }

    /// Takes out what is in the other, and what is below a member of the other.
    pub fn subtract_recursively(&mut self, other: &Self) {
        for (step, theirs) in &other.entries {
            if theirs.member {
                self.entries.remove(step);
            } else if let Some(mine) = self.entries.get_mut(step) {
                mine.children.subtract_recursively(&theirs.children);
                if mine.is_empty() {
                    self.entries.remove(step);
                }
            }
        }
    }

    /// Like [`FieldSet::difference`], and what is below a member of the other goes, too.
    pub fn recursive_difference(&self, other: &Self) -> Self {
        let mut out = Self::default();
        for (step, entry) in &self.entries {
            match other.entries.get(step) {
                Some(theirs) if theirs.member => {}
                Some(theirs) => {
                    let children = entry.children.recursive_difference(&theirs.children);
                    out.put(
                        step,
                        Entry {
                            member: entry.member,
                            children,
                        },
                    );
                }
                None => out.put(step, entry.clone()),
            }
        }
        out
    }

    /// Paths as messages show them: `.spec.containers[name="c"].image`. Members of a level come before what is below.
    pub fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.write_paths("", &mut out);
        out
    }

    fn write_paths(&self, prefix: &str, out: &mut Vec<String>) {
        for (step, entry) in &self.entries {
            if entry.member {
                out.push(format!("{prefix}{}", Step(step)));
            }
        }
        for (step, entry) in &self.entries {
            if !entry.children.is_empty() {
                entry
                    .children
                    .write_paths(&format!("{prefix}{}", Step(step)), out);
            }
        }
    }
}

/// A step as messages show it.
pub(super) struct Step<'a>(pub(super) &'a str);

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, rest) = self.0.split_at_checked(2).unwrap_or(("", self.0));
        match kind {
            "f:" => write!(f, ".{rest}"),
            "v:" => write!(f, "[={rest}]"),
            "k:" => {
                let keys: Map<String, Value> = serde_json::from_str(rest).unwrap_or_default();
                let keys: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(f, "[{}]", keys.join(","))
            }
            _ => write!(f, "[{rest}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(value: Value) -> FieldSet {
        FieldSet::from_fields_v1(&value).unwrap()
    }

    #[test]
    fn algebra() {
        let a = set(json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}}));
        let b = set(json!({"f:a": {"f:b": {}}}));
        assert_eq!(a.union(&b), a);
        assert_eq!(a.intersection(&b), b);
        assert_eq!(
            a.difference(&b).into_fields_v1(),
            json!({"f:a": {".": {}, "f:c": {}}, "f:d": {}})
        );
        let c = set(json!({"f:a": {}}));
        assert_eq!(
            a.difference(&c).into_fields_v1(),
            json!({"f:a": {"f:b": {}, "f:c": {}}, "f:d": {}})
        );
        assert_eq!(
            a.recursive_difference(&c).into_fields_v1(),
            json!({"f:d": {}})
        );
        assert!(a.difference(&a).is_empty());
        for other in [&a, &b, &c] {
            let mut left = a.clone();
            left.subtract(other);
            assert_eq!(left, a.difference(other));
            let mut left = a.clone();
            left.subtract_recursively(other);
            assert_eq!(left, a.recursive_difference(other));
            let mut both = b.clone();
            both.absorb(other.clone());
            assert_eq!(both, b.union(other));
        }
    }

    #[test]
    fn paths_read_as_upstream_prints_them() {
        let a = set(
            json!({"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {"f:image": {}}},
            "f:finalizers": {"v:\"x\"": {}}}, "f:top": {}}),
        );
        assert_eq!(
            a.paths(),
            [
                ".top",
                ".spec.containers[name=\"c\"].image",
                ".spec.finalizers[=\"x\"]"
            ]
        );
        assert_eq!(
            FieldSet::of_paths(&["status", "metadata.x"]).into_fields_v1(),
            json!({"f:status": {}, "f:metadata": {"f:x": {}}})
        );
    }
}
