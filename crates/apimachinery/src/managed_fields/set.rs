//! Sets of fields. A set is its JSON (`FieldsV1`): a tree whose steps are `f:NAME`, `k:{KEYS}`, `v:VALUE`, `i:INDEX`, so that most entries of `managedFields` are read
//! and written again without being made anew.
//!
//! A field is in the set when nothing is below its step, or a `.` beside what is. The algebra is that of structured-merge-diff's `fieldpath.Set`.

use std::fmt;

use serde_json::{Map, Value};

/// The step that says that the field above it is in the set, too.
const SELF: &str = ".";

/// A set of fields.
///
/// Below the steps there are objects alone; `.` stands beside other steps, and holds nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet(Map<String, Value>);

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

/// The steps of a set, and what is below them.
fn steps(set: &Map<String, Value>) -> impl Iterator<Item = (&String, &Map<String, Value>)> {
    set.iter()
        .filter(|(step, _)| *step != SELF)
        .filter_map(|(step, below)| Some((step, below.as_object()?)))
}

fn below<'a>(set: &'a Map<String, Value>, step: &str) -> Option<&'a Map<String, Value>> {
    set.get(step)?.as_object()
}

/// Whether the field whose step this is below is in the set.
fn is_member(below: &Map<String, Value>) -> bool {
    below.is_empty() || below.contains_key(SELF)
}

/// Whether there are steps.
fn has_steps(set: &Map<String, Value>) -> bool {
    set.len() > usize::from(set.contains_key(SELF))
}

/// What to put below a step: `children` without their own `.`, and whether the field itself is in the set. `None` if nothing is.
fn joined(mut children: Map<String, Value>, member: bool) -> Option<Value> {
    if member && !children.is_empty() {
        children.insert(SELF.to_owned(), Value::Object(Map::new()));
    }
    (member || !children.is_empty()).then_some(Value::Object(children))
}

/// Changes what is below a step; a step with nothing left goes. `change` sees the children alone, and answers whether the field itself is in the set.
fn change(
    set: &mut Map<String, Value>,
    step: &str,
    change: impl FnOnce(&mut Map<String, Value>, bool) -> bool,
) {
    let Some(Value::Object(below)) = set.get_mut(step) else {
        return;
    };
    let was_member = is_member(below);
    let member = change(below, was_member);
    match (has_steps(below), member) {
        (true, true) => {
            if !below.contains_key(SELF) {
                below.insert(SELF.to_owned(), Value::Object(Map::new()));
            }
        }
        (true, false) => {
            below.remove(SELF);
        }
        (false, true) => below.clear(),
        (false, false) => {
            set.remove(step);
        }
    }
}

fn is_normal(set: &Map<String, Value>) -> bool {
    set.iter().all(|(step, below)| match below {
        Value::Object(below) if step == SELF => below.is_empty() && set.len() > 1,
        Value::Object(below) => is_step(step) && is_normal(below),
        _ => false,
    })
}

fn is_step(step: &str) -> bool {
    matches!(step.get(..2), Some("f:" | "k:" | "v:" | "i:"))
}

/// What others wrote, as we do; `None` if it is no set.
fn normal(set: &Map<String, Value>) -> Option<Map<String, Value>> {
    let mut out = Map::new();
    for (step, below) in set.iter().filter(|(step, _)| *step != SELF) {
        let below = below.as_object().filter(|_| is_step(step))?;
        out.extend(joined(normal(below)?, is_member(below)).map(|below| (step.clone(), below)));
    }
    Some(out)
}

fn extend(mine: &mut Map<String, Value>, theirs: Map<String, Value>) {
    for (step, theirs) in theirs {
        match (mine.get_mut(&step), theirs) {
            (Some(Value::Object(mine)), Value::Object(theirs)) => {
                let member = is_member(mine) || is_member(&theirs);
                extend(mine, theirs);
                if member && has_steps(mine) && !mine.contains_key(SELF) {
                    mine.insert(SELF.to_owned(), Value::Object(Map::new()));
                }
            }
            (_, theirs) => {
                mine.insert(step, theirs);
            }
        }
    }
}

fn subtract(mine: &mut Map<String, Value>, theirs: &Map<String, Value>) {
    for (step, theirs) in steps(theirs) {
        change(mine, step, |mine, member| {
            subtract(mine, theirs);
            member && !is_member(theirs)
        });
    }
}

fn subtract_recursively(mine: &mut Map<String, Value>, theirs: &Map<String, Value>) {
    for (step, theirs) in steps(theirs) {
        if is_member(theirs) {
            mine.remove(step);
        } else {
            change(mine, step, |mine, member| {
                subtract_recursively(mine, theirs);
                member
            });
        }
    }
}

fn intersection(mine: &Map<String, Value>, theirs: &Map<String, Value>) -> Map<String, Value> {
    let both = steps(mine).filter_map(|(step, mine)| {
        let theirs = below(theirs, step)?;
        let member = is_member(mine) && is_member(theirs);
        Some((step.clone(), joined(intersection(mine, theirs), member)?))
    });
    both.collect()
}

impl FieldSet {
    /// Of dotted paths of named fields: `status`, `metadata.deletionTimestamp`.
    pub fn of_paths(paths: &[&str]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let mut names = path.rsplit('.');
            let last = names.next().map(|name| (field_step(name), Map::new()));
            let alone = names.fold(last, |below, name| {
                below.map(|(step, below)| {
                    let below = Map::from_iter([(step, Value::Object(below))]);
                    (field_step(name), below)
                })
            });
            let alone = alone.map(|(step, below)| (step, Value::Object(below)));
            extend(&mut set.0, alone.into_iter().collect());
        }
        set
    }

    /// Reads `FieldsV1`; `None` if it is none.
    pub fn from_fields_v1(value: &Value) -> Option<Self> {
        let set = value.as_object()?;
        if is_normal(set) && !set.contains_key(SELF) {
            return Some(Self(set.clone()));
        }
        normal(set).map(Self)
    }

    /// Writes `FieldsV1`.
    pub fn into_fields_v1(self) -> Value {
        Value::Object(self.0)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// To walk through.
    pub(super) fn view(&self) -> View<'_> {
        View(&self.0)
    }

    pub(super) fn attach(&mut self, step: String, entry: Entry) {
        self.0
            .extend(joined(entry.children.0, entry.member).map(|below| (step, below)));
    }

    /// What is in either.
    pub fn union(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.extend(other);
        out
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.absorb(other.clone());
    }

    /// Takes in another set as it is.
    pub(super) fn absorb(&mut self, other: Self) {
        extend(&mut self.0, other.0);
    }

    /// What is in both.
    pub fn intersection(&self, other: &Self) -> Self {
        Self(intersection(&self.0, &other.0))
    }

    /// What is in this one alone.
    pub fn difference(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.subtract(other);
        out
    }

    /// Takes out what is in the other.
    pub fn subtract(&mut self, other: &Self) {
        subtract(&mut self.0, &other.0);
    }

    /// Takes out what is in the other, and what is below a member of the other.
    pub fn subtract_recursively(&mut self, other: &Self) {
        subtract_recursively(&mut self.0, &other.0);
    }

    /// Like [`FieldSet::difference`], and what is below a member of the other goes, too.
    pub fn recursive_difference(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.subtract_recursively(other);
        out
    }

    /// Paths as messages show them: `.spec.containers[name="c"].image`. Members of a level come before what is below.
    pub fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        write_paths(&self.0, "", &mut out);
        out
    }
}

impl FromIterator<(String, Entry)> for FieldSet {
    fn from_iter<I: IntoIterator<Item = (String, Entry)>>(entries: I) -> Self {
        let written = entries
            .into_iter()
            .filter_map(|(step, entry)| Some((step, joined(entry.children.0, entry.member)?)));
        Self(written.collect())
    }
}

/// A set, or what is below a step of one.
#[derive(Clone, Copy)]
pub(super) struct View<'a>(&'a Map<String, Value>);

impl<'a> View<'a> {
    /// Whether the field that this is below of is in the set.
    pub(super) fn is_member(self) -> bool {
        is_member(self.0)
    }

    pub(super) fn has_steps(self) -> bool {
        has_steps(self.0)
    }

    pub(super) fn get(self, step: &str) -> Option<Self> {
        below(self.0, step).map(View)
    }

    pub(super) fn steps(self) -> impl Iterator<Item = (&'a String, Self)> {
        steps(self.0).map(|(step, below)| (step, View(below)))
    }
}

fn write_paths(set: &Map<String, Value>, prefix: &str, out: &mut Vec<String>) {
    for (step, _) in steps(set).filter(|(_, below)| is_member(below)) {
        out.push(format!("{prefix}{}", Step(step)));
    }
    for (step, below) in steps(set) {
        write_paths(below, &format!("{prefix}{}", Step(step)), out);
    }
}

/// A step as messages show it.
pub(super) struct Step<'a>(pub(super) &'a str);

/// A key as structured-merge-diff shows it, which minds of what is no scalar little.
fn key_text(key: &Value) -> String {
    match key {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(key_text).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| format!("{name}={}", key_text(value)))
            .collect(),
        scalar => scalar.to_string(),
    }
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, rest) = self.0.split_at_checked(2).unwrap_or(("", self.0));
        match kind {
            "f:" => write!(f, ".{rest}"),
            "v:" => write!(f, "[={rest}]"),
            "k:" => {
                let keys: Map<String, Value> = serde_json::from_str(rest).unwrap_or_default();
                let keys: Vec<String> = keys
                    .iter()
                    .map(|(k, v)| format!("{k}={}", key_text(v)))
                    .collect();
                write!(f, "[{}]", keys.join(","))
            }
            _ => write!(f, "[{rest}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn set(value: Value) -> FieldSet {
        FieldSet::from_fields_v1(&value).unwrap()
    }

    #[test]
    fn keys_are_shown_as_upstream_shows_them() {
        for (step, shown) in [
            (r#"k:{"name":"a","port":1}"#, r#"[name="a",port=1]"#),
            (r#"k:{"name":{}}"#, "[name=]"),
            (r#"k:{"name":[null,"a"]}"#, r#"[name=[null,"a"]]"#),
        ] {
            assert_eq!(Step(step).to_string(), shown);
        }
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

    /// Sets as lists of paths.
    fn some_paths() -> impl Strategy<Value = BTreeSet<String>> {
        proptest::collection::btree_set("[ab](\\.[ab]){0,3}", 0..8)
    }

    fn of(paths: &BTreeSet<String>) -> FieldSet {
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        FieldSet::of_paths(&paths)
    }

    fn is_as(set: &FieldSet, expected: impl IntoIterator<Item = String>) {
        let paths = set.paths().into_iter();
        let paths: BTreeSet<String> = paths.map(|path| path[1..].to_owned()).collect();
        assert_eq!(paths, expected.into_iter().collect(), "{set:?}");
        // However it came about, it is as it would be read.
        assert!(is_normal(&set.0), "{set:?}");
        assert_eq!(*set, of(&paths));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn sets_are_their_paths(a in some_paths(), b in some_paths()) {
            let (left, right) = (of(&a), of(&b));
            is_as(&left, a.clone());
            is_as(&left.union(&right), a.union(&b).cloned());
            is_as(&left.intersection(&right), a.intersection(&b).cloned());
            is_as(&left.difference(&right), a.difference(&b).cloned());
            let is_below = |path: &str| b.iter().any(|b| path == b || path.strip_prefix(b.as_str()).is_some_and(|rest| rest.starts_with('.')));
            is_as(&left.recursive_difference(&right), a.iter().filter(|path| !is_below(path)).cloned());
            prop_assert_eq!(left.is_empty(), a.is_empty());
        }
    }

    #[test]
    fn what_others_wrote_is_read_as_we_write_it() {
        for (read, written) in [
            (json!({}), json!({})),
            (json!({".": {}}), json!({})),
            (json!({".": {}, "f:a": {}}), json!({"f:a": {}})),
            (json!({"f:a": {".": {}}}), json!({"f:a": {}})),
            (
                json!({"f:a": {".": {"f:x": 1}, "k:{}": {".": 1}}}),
                json!({"f:a": {".": {}, "k:{}": {}}}),
            ),
        ] {
            assert_eq!(set(read.clone()).into_fields_v1(), written, "{read}");
        }
        for refused in [
            json!(1),
            json!([]),
            json!({"a": {}}),
            json!({"f": {}}),
            json!({"f:a": 1}),
            json!({"f:a": {"f:b": null}}),
            json!({"f:a": {"x:b": {}}}),
        ] {
            assert_eq!(FieldSet::from_fields_v1(&refused), None, "{refused}");
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
