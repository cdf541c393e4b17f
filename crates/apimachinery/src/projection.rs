//! Reading some fields of an object out of its JSON, without building the rest.
//!
//! Who needs three fields of a pod should not pay for a tree of all of it. A [`Projection`] is the tree of the paths wanted, or of those not wanted;
//! reading by it makes an object of what is wanted and passes over everything else. Lists on the way are entered: `spec.containers.name` is the name
//! of every container.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::Object;

/// The fields wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    /// Fields with rules of their own: what is wanted of them, or that nothing is.
    fields: Vec<(Box<str>, Option<Projection>)>,
    /// Whether all other fields are wanted, whole.
    others: bool,
}

impl Projection {
    /// Of dotted paths: `metadata.labels`, `spec.nodeName`. A path takes in what is below it, whatever other paths say.
    pub fn of_paths<'a>(paths: impl IntoIterator<Item = &'a str>) -> Self {
        let mut root = Self::default();
        for path in paths {
            root.add(path);
        }
        root
    }

    /// Of everything but what is at these paths and below them.
    pub fn all_but<'a>(paths: impl IntoIterator<Item = &'a str>) -> Self {
        let mut root = Self::whole();
        for path in paths {
            root.remove(path);
        }
        root
    }

    fn whole() -> Self {
        Self {
            fields: Vec::new(),
            others: true,
        }
    }

    fn add(&mut self, path: &str) {
        let (name, rest) = path.split_once('.').unwrap_or((path, ""));
        if self.others {
            return;
        }
        let below = self.entry(name, Self::default);
        if rest.is_empty() {
            *below = Some(Self::whole());
        } else if let Some(below) = below {
            below.add(rest);
        }
    }

    fn remove(&mut self, path: &str) {
        let (name, rest) = path.split_once('.').unwrap_or((path, ""));
        let below = self.entry(name, Self::whole);
        if rest.is_empty() {
            *below = None;
        } else if let Some(below) = below {
            below.remove(rest);
        }
    }

    fn entry(&mut self, name: &str, new: impl Fn() -> Self) -> &mut Option<Self> {
        let known = self.fields.iter().position(|(field, _)| **field == *name);
        let at = known.unwrap_or_else(|| {
            self.fields.push((name.into(), Some(new())));
            self.fields.len() - 1
        });
        &mut self.fields[at].1
    }

    fn is_whole(&self) -> bool {
        self.others && self.fields.is_empty()
    }

    /// What is wanted of a field, if anything is.
    fn below(&self, name: &str) -> Option<&Self> {
        static WHOLE: Projection = Projection {
            fields: Vec::new(),
            others: true,
        };
        match self.fields.iter().find(|(field, _)| **field == *name) {
            Some((_, below)) => below.as_ref(),
            None => self.others.then_some(&WHOLE),
        }
    }

    /// The fields wanted of an object. A field that is absent in the text is absent in the answer.
    ///
    /// # Errors
    /// Text that is no JSON, or no object.
    pub fn read(&self, json: &[u8]) -> serde_json::Result<Object> {
        let mut text = serde_json::Deserializer::from_slice(json);
        let value = self.deserialize(&mut text)?;
        text.end()?;
        match value {
            Value::Object(object) => Ok(object),
            _ => Err(serde::de::Error::custom("it is no object")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for &Projection {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, text: D) -> Result<Value, D::Error> {
        if self.is_whole() {
            serde::Deserialize::deserialize(text)
        } else {
            text.deserialize_any(self)
        }
    }
}

/// Only lists and objects can hold what is looked for; anything else in their place is left out as null.
impl<'de> Visitor<'de> for &Projection {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some(name) = members.next_key::<Name<'de>>()? {
            match self.below(&name.0) {
                Some(below) => {
                    out.insert(name.0.into_owned(), members.next_value_seed(below)?);
                }
                None => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Value::Object(out))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            out.push(item);
        }
        Ok(Value::Array(out))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(paths: &[&str], value: &Value) -> Value {
        let text = value.to_string();
        let projection = Projection::of_paths(paths.iter().copied());
        Value::Object(projection.read(text.as_bytes()).unwrap())
    }

    #[test]
    fn what_is_wanted_is_read_and_nothing_else() {
        let pod = json!({
            "metadata": {"name": "a", "labels": {"x.y/z": "1"}, "managedFields": [{"a": {}}]},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "env": [1, 2]}, {"name": "d"}]},
            "status": {"podIPs": [{"ip": "1.2.3.4"}]},
        });
        assert_eq!(
            read(
                &[
                    "metadata.labels",
                    "spec.nodeName",
                    "spec.containers.name",
                    "status.podIPs"
                ],
                &pod
            ),
            json!({
                "metadata": {"labels": {"x.y/z": "1"}},
                "spec": {"nodeName": "n", "containers": [{"name": "c"}, {"name": "d"}]},
                "status": {"podIPs": [{"ip": "1.2.3.4"}]},
            })
        );
        assert_eq!(read(&["absent.field"], &pod), json!({}));
    }

    #[test]
    fn the_wider_path_wins() {
        let value = json!({"a": {"b": 1, "c": 2}, "d": 3});
        assert_eq!(read(&["a.b", "a"], &value), json!({"a": {"b": 1, "c": 2}}));
        assert_eq!(read(&["a", "a.b"], &value), json!({"a": {"b": 1, "c": 2}}));
    }

    #[test]
    fn all_but_some() {
        let pod = json!({"kind": "Pod", "metadata": {"name": "a", "managedFields": [1]}, "spec": {"a": [{"b": 1, "c": 2}]}});
        let projection = Projection::all_but(["metadata.managedFields", "spec.a.b"]);
        assert_eq!(
            Value::Object(projection.read(pod.to_string().as_bytes()).unwrap()),
            json!({"kind": "Pod", "metadata": {"name": "a"}, "spec": {"a": [{"c": 2}]}})
        );
    }

    #[test]
    fn other_shapes_than_expected_do_no_harm() {
        for odd in [
            json!({"a": 1}),
            json!({"a": "b"}),
            json!({"a": null}),
            json!({"a": true}),
        ] {
            assert_eq!(read(&["a.b"], &odd), json!({"a": null}));
        }
        let projection = Projection::of_paths(["a.b"]);
        for text in ["[]", "1", "", "{\"a\":", "{} x", "{\"a\":{\"b\":1}"] {
            assert!(projection.read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
