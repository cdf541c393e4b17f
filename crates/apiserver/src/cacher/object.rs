//! One version of one object as the watch cache holds it: the store's own bytes, and a small index.
//!
//! The store holds an object's JSON without its resourceVersion (it is the revision of the write, known only afterwards). The cache shares
//! that buffer, and holds no other: whoever serves the object copies it once, into the answer, and writes the resourceVersion in passing, as the
//! first member of `metadata`. Kind and apiVersion stand first (see [`crate::storage::encode`]): what follows them is the item of a list,
//! and the metadata comes next, so that it can be served alone without parsing.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use api::StrategyRef;
use apimachinery::{Object, Projection, managed_fields, meta};
use bytes::Bytes;
use etcd::{KeyValue, Revision};
use serde_json::Value;
use smallvec::SmallVec;

use super::signature::Signature;
use crate::storage::{
    METADATA, Stored, VERSION_BYTES, write_json_from_metadata, write_metadata_start,
};

/// What happened to an object, in the words of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// It is new, or new to the watcher.
    Added,
    /// It changed.
    Modified,
    /// It is gone, or gone from what the watcher selects.
    Deleted,
}

impl EventType {
    /// As it stands in a watch event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }

    /// What precedes the object in a JSON watch event.
    pub fn json_prefix(self) -> &'static str {
        match self {
            Self::Added => "{\"type\":\"ADDED\",\"object\":",
            Self::Modified => "{\"type\":\"MODIFIED\",\"object\":",
            Self::Deleted => "{\"type\":\"DELETED\",\"object\":",
        }
    }
}

/// What follows the object in a JSON watch event.
pub const JSON_SUFFIX: &str = "}\n";

/// Labels, sorted by key.
type Labels = Box<[(Box<str>, Box<str>)]>;
/// Selectable fields that are not empty.
type Fields = Box<[(Arc<str>, Box<str>)]>;

/// What an object is selected by.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Indexed {
    labels: Labels,
    /// Beyond name and namespace, without empty ones.
    fields: Fields,
}

/// How the stored objects of a resource are taken in.
#[derive(Debug, Default)]
pub struct Ingest {
    /// Says what objects can be selected by.
    pub strategy: Option<StrategyRef>,
    /// For kinds whose stored objects may not be what clients are to see.
    pub coerce: Option<Arc<dyn Coerce>>,
}

impl Ingest {
    /// As a built-in kind's strategy says.
    pub fn of(strategy: &StrategyRef) -> Self {
        Self {
            strategy: Some(strategy.clone()),
            coerce: None,
        }
    }
}

/// Makes what was stored under an older schema what it is under the current one.
pub trait Coerce: Send + Sync + std::fmt::Debug {
    /// Whether anything changed.
    fn coerce(&self, object: &mut Object) -> bool;
}

/// Where a resource's objects say what can be selected by: the labels, and the selectable fields of its strategies.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    kinds: Vec<Selectable>,
    projection: Projection,
}

/// The selectable fields of one version's objects. Their names are shared by all objects.
#[derive(Clone, Debug)]
struct Selectable {
    strategy: StrategyRef,
    names: Box<[Arc<str>]>,
}

impl Index {
    /// Of a resource whose versions have these strategies.
    pub(super) fn new<'a>(strategies: impl IntoIterator<Item = &'a StrategyRef>) -> Self {
        let mut index = Self::default();
        strategies
            .into_iter()
            .for_each(|strategy| index.add(strategy));
        index.project();
        index
    }

    /// With another version's fields; `None` if they are all known already.
    pub(super) fn with(&self, strategy: &StrategyRef) -> Option<Self> {
        let mut index = self.clone();
        index.add(strategy);
        index.project();
        (index.kinds.len() > self.kinds.len()).then_some(index)
    }

    fn add(&mut self, strategy: &StrategyRef) {
        let empty = Object::new();
        let fields = strategy.selectable_fields(&empty);
        let names: Box<[Arc<str>]> = fields.iter().map(|(name, _)| (*name).into()).collect();
        let strategy = strategy.clone();
        if !names.is_empty() && self.kinds.iter().all(|kind| kind.names != names) {
            self.kinds.push(Selectable { strategy, names });
        }
    }

    fn project(&mut self) {
        let fields = self
            .kinds
            .iter()
            .flat_map(|kind| kind.strategy.selectable_paths());
        self.projection = Projection::of_paths(fields.chain(["metadata.labels"]));
    }

    /// What an object is selected by.
    pub(super) fn of(&self, object: &Object) -> Indexed {
        Indexed {
            labels: Self::labels(object),
            fields: self.fields(object),
        }
    }

    fn labels(object: &Object) -> Labels {
        let labels = meta::metadata(object).and_then(|metadata| metadata.get("labels"));
        let labels = labels.and_then(Value::as_object).into_iter().flatten();
        let mut labels: Vec<(Box<str>, Box<str>)> = labels
            .filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into())))
            .collect();
        labels.sort();
        labels.into()
    }

    /// Fields that are empty are left out: a selector cannot tell them from absent ones.
    fn fields(&self, object: &Object) -> Fields {
        let fields = self.kinds.iter().flat_map(|kind| {
            let values = kind.strategy.selectable_fields(object);
            let values = values.into_iter().map(|(_, value)| value.into_boxed_str());
            kind.names.iter().cloned().zip(values)
        });
        fields.filter(|(_, value)| !value.is_empty()).collect()
    }
}

/// One version of one object.
#[derive(Debug)]
pub struct CachedObject {
    /// `namespace/name`, or `name` in cluster scope.
    pub key: Bytes,
    /// The revision of this version, which is its resourceVersion.
    pub revision: Revision,
    labels: Labels,
    /// Beyond name and namespace, without empty ones.
    fields: Fields,
    signature: Signature,
    /// As it is stored: `{"kind":…,"apiVersion":…,"metadata":{…},…}`, without resourceVersion.
    stored: Bytes,
    /// Where `"metadata"` stands in it.
    metadata_at: usize,
    /// Found when first asked for.
    landmarks: OnceLock<Landmarks>,
    /// Other encodings, made on demand, once; by a number that the encoder gives.
    encodings: Mutex<SmallVec<[(u64, Bytes); 1]>>,
}

/// A stored value that is not an object. The store holds nothing else unless something else wrote to it.
#[derive(Debug, thiserror::Error)]
#[error("stored value of {key} is not an object: {message}")]
pub struct MalformedObject {
    key: String,
    message: String,
}

impl CachedObject {
    /// Takes a version in from the store. `key` is the part of the store's key after the resource's prefix; `foreseen`, if given, is what its writer
    /// says that it is selected by.
    pub(super) fn ingest(
        key: Bytes,
        value: &KeyValue,
        index: &Index,
        coerce: Option<&dyn Coerce>,
        foreseen: Option<Indexed>,
    ) -> Result<Self, MalformedObject> {
        let malformed = |message: String| MalformedObject {
            key: String::from_utf8_lossy(&value.key).into_owned(),
            message,
        };
        let is_canonical = is_canonical(&value.value);
        let mut stored = value.value.clone();
        if !is_canonical || coerce.is_some() {
            let mut object: Object =
                serde_json::from_slice(&value.value).map_err(|e| malformed(e.to_string()))?;
            if coerce.is_some_and(|coerce| coerce.coerce(&mut object)) || !is_canonical {
                stored = crate::storage::encode(&object);
            }
        }
        let read = || match index.projection.read(&stored) {
            Ok(object) => Ok(index.of(&object)),
            Err(error) => Err(malformed(error.to_string())),
        };
        debug_assert!(foreseen.is_none() || read().ok() == foreseen);
        let Indexed { labels, fields } = foreseen.map_or_else(read, Ok)?;
        let metadata_at =
            metadata_offset(&stored).ok_or_else(|| malformed("it has no metadata".to_owned()))?;
        let signature = Signature::of(
            labels.iter().map(|(key, value)| (&**key, &**value)),
            fields.iter().map(|(field, value)| (&**field, &**value)),
        );
        Ok(Self {
            key,
            revision: value.mod_revision,
            labels,
            fields,
            signature,
            stored,
            metadata_at,
            landmarks: OnceLock::new(),
            encodings: Mutex::default(),
        })
    }

    /// The last version of an object that was deleted at `revision`: as it was, with the revision of its end.
    pub fn tombstone(&self, revision: Revision) -> Self {
        Self {
            key: self.key.clone(),
            revision,
            labels: self.labels.clone(),
            fields: self.fields.clone(),
            signature: self.signature,
            stored: self.stored.clone(),
            metadata_at: self.metadata_at,
            landmarks: self.landmarks.clone(),
            encodings: Mutex::default(),
        }
    }

    /// The object's JSON with its resourceVersion.
    pub fn json(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.stored.len() + VERSION_BYTES);
        out.extend_from_slice(self.json_head());
        self.write_from_metadata(self.stored.len(), &mut out);
        out.into()
    }

    /// What the JSON begins with: brace, kind and apiVersion, up to where the tail begins.
    pub fn json_head(&self) -> &[u8] {
        &self.stored[..self.metadata_at]
    }

    /// Begins with what follows kind and apiVersion in the JSON, from `"metadata"` to the closing brace. The rest, which lies there as it is to
    /// be read, is returned.
    pub fn begin_json_tail(&self, out: &mut Vec<u8>) -> Bytes {
        let rest = self.stored.slice(self.metadata_at + METADATA.len()..);
        write_metadata_start(&rest, self.revision, out);
        rest
    }

    /// Writes `"metadata":{…}`.
    pub fn write_json_metadata(&self, out: &mut Vec<u8>) {
        let end = self.landmarks().metadata_end as usize;
        self.write_from_metadata(end, out);
    }

    fn write_from_metadata(&self, end: usize, out: &mut Vec<u8>) {
        write_json_from_metadata(&self.stored[self.metadata_at..end], self.revision, out);
    }

    /// The object as a tree, parsed anew at each call: for those who look at single objects.
    pub fn parse(&self) -> Object {
        self.parsed(serde_json::from_slice(&self.stored))
    }

    /// The same for who changes the object: owned fields are text ([`managed_fields::read`]).
    pub fn parse_for_change(&self) -> Stored {
        let object = self.parsed(managed_fields::read(&self.stored));
        Stored::new(object, self.revision)
    }

    fn parsed(&self, object: serde_json::Result<Object>) -> Object {
        let mut object = object.unwrap_or_else(|error| {
            tracing::error!(key = ?self.key, %error, "cached object does not parse");
            Object::new()
        });
        meta::set_resource_version(&mut object, &self.revision.to_string());
        object
    }

    /// The object's metadata as a tree, alone in it; parsed anew at each call.
    pub fn parse_metadata(&self) -> Object {
        let mut json = b"{".to_vec();
        self.write_json_metadata(&mut json);
        json.push(b'}');
        serde_json::from_slice(&json).unwrap_or_else(|error| {
            tracing::error!(key = ?self.key, %error, "cached metadata does not parse");
            Object::new()
        })
    }

    /// Some fields of the object as a tree; of `metadata.managedFields` nothing. These are half of most objects, and not even passed over here.
    pub fn project(&self, projection: &Projection) -> Object {
        let (start, end) = self.landmarks().managed_fields;
        let read = if start == end {
            projection.read(&self.stored)
        } else {
            let (before, after) = (&self.stored[..start as usize], &self.stored[end as usize..]);
            projection.read(&[before, b"null", after].concat())
        };
        read.unwrap_or_else(|error| {
            tracing::error!(key = ?self.key, %error, "cached object does not parse");
            Object::new()
        })
    }

    fn landmarks(&self) -> Landmarks {
        let find = || Landmarks::find(&self.stored, self.metadata_at);
        *self.landmarks.get_or_init(find)
    }

    /// The encoding that `tag` names, made by `encode` if this version has not been so encoded yet.
    pub fn encoding<E>(
        &self,
        tag: u64,
        encode: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        if let Some(bytes) = self.find_encoding(tag) {
            return Ok(bytes);
        }
        let bytes = encode()?;
        let mut encodings = self
            .encodings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !encodings.iter().any(|(t, _)| *t == tag) {
            encodings.push((tag, bytes.clone()));
        }
        Ok(bytes)
    }

    /// Whether [`CachedObject::encoding`] has been made.
    pub fn has_encoding(&self, tag: u64) -> bool {
        self.find_encoding(tag).is_some()
    }

    /// What [`CachedObject::encoding`] has made.
    pub fn find_encoding(&self, tag: u64) -> Option<Bytes> {
        let encodings = self
            .encodings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        encodings
            .iter()
            .find(|(t, _)| *t == tag)
            .map(|(_, bytes)| bytes.clone())
    }

    /// Namespace (empty in cluster scope) and name, from the key.
    pub fn namespace_and_name(&self) -> (&str, &str) {
        let key = std::str::from_utf8(&self.key).unwrap_or_default();
        key.split_once('/').unwrap_or(("", key))
    }

    /// Value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels
            .binary_search_by(|(k, _)| k.as_ref().cmp(key))
            .ok()
            .map(|i| self.labels[i].1.as_ref())
    }

    /// Value of a selectable field beyond name and namespace; none if it is empty.
    pub fn field(&self, field: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(name, _)| **name == *field);
        found.map(|(_, value)| value.as_ref())
    }

    /// What selectors can be held against before the object is looked at.
    pub(super) fn signature(&self) -> Signature {
        self.signature
    }

    /// Bytes that this version holds, roughly.
    pub fn size(&self) -> usize {
        self.stored.len() + size_of::<Self>()
    }
}

/// Whether kind, apiVersion and metadata are the first members.
fn is_canonical(json: &[u8]) -> bool {
    let member = |at: usize, key: &[u8]| {
        json.get(at..)
            .filter(|rest| rest.starts_with(key))
            .and_then(|_| string_end(json, at + key.len() - 1))
    };
    member(0, b"{\"kind\":\"")
        .and_then(|at| member(at, b",\"apiVersion\":\""))
        .is_some_and(|at| json.get(at) == Some(&b',') && json[at + 1..].starts_with(METADATA))
}

/// Where the top-level member `"metadata":{` stands in compact JSON.
fn metadata_offset(json: &[u8]) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = 0;
    while at < json.len() {
        match json[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b'"' => {
                if depth == 1 && json[at..].starts_with(METADATA) {
                    return Some(at);
                }
                at = string_end(json, at)?;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Places in an object's JSON that lists in other shapes ask for again and again, and that take a walk through half of it to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Landmarks {
    /// One past the brace that closes the metadata.
    metadata_end: u32,
    /// From where to where the value of `metadata.managedFields` goes; twice the same if there is none.
    managed_fields: (u32, u32),
}

impl Landmarks {
    fn find(json: &[u8], metadata_at: usize) -> Self {
        let open = metadata_at + METADATA.len() - 1;
        Self::of_compact(json, open).unwrap_or_else(|| Self {
            // Something else than we wrote it, and put blanks in.
            metadata_end: value_end(json, open).unwrap_or(json.len()) as u32,
            managed_fields: (0, 0),
        })
    }

    /// `None` unless the members of the object that opens at `open` stand without blanks, as we write them.
    fn of_compact(json: &[u8], open: usize) -> Option<Self> {
        let mut managed_fields = (0, 0);
        let mut at = open + 1;
        while json.get(at)? == &b'"' {
            let colon = string_end(json, at)?;
            let name = &json[at + 1..colon - 1];
            let value = colon + 1;
            let end = (json.get(colon)? == &b':').then(|| value_end(json, value))??;
            if name == b"managedFields" {
                managed_fields = (u32::try_from(value).ok()?, u32::try_from(end).ok()?);
            }
            at = match json.get(end)? {
                b',' => end + 1,
                _ => end,
            };
        }
        (json[at] == b'}').then_some(())?;
        Some(Self {
            metadata_end: u32::try_from(at + 1).ok()?,
            managed_fields,
        })
    }
}

/// One past the end of the value that begins at `at`, of JSON that is known to be well formed.
fn value_end(json: &[u8], at: usize) -> Option<usize> {
    match json.get(at)? {
        b'"' => string_end(json, at),
        b'{' | b'[' => container_end(json, at),
        _ => {
            let rest = json[at..].iter();
            let length = rest
                .take_while(|byte| !b",}] \n\r\t".contains(byte))
                .count();
            (length > 0).then_some(at + length)
        }
    }
}

/// One past the brace or bracket that closes the one at `at`.
fn container_end(json: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = at;
    loop {
        match json.get(at)? {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            b'"' => {
                at = string_end(json, at)?;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
}

/// One past the closing quote of the string that opens at `at`.
fn string_end(json: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', json.get(at..)?)?;
        if json[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(json: &str, revision: i64) -> KeyValue {
        KeyValue {
            key: Bytes::from_static(b"/registry/configmaps/d/a"),
            value: Bytes::copy_from_slice(json.as_bytes()),
            create_revision: Revision(1),
            mod_revision: Revision(revision),
            version: 1,
            lease: etcd::LeaseId(0),
        }
    }

    fn ingest_kv(value: &KeyValue) -> CachedObject {
        CachedObject::ingest(
            Bytes::from_static(b"d/a"),
            value,
            &Index::new([]),
            None,
            None,
        )
        .unwrap()
    }

    fn ingest(json: &str) -> CachedObject {
        ingest_kv(&kv(json, 7))
    }

    fn tail(object: &CachedObject) -> String {
        let mut out = Vec::new();
        let rest = object.begin_json_tail(&mut out);
        out.extend_from_slice(&rest);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_revision_is_spliced_into_the_top_level_metadata() {
        let object = ingest(
            r#"{"apiVersion":"v1","data":{"metadata":"{\"metadata\":{"},"metadata":{"labels":{"b":"2","a":"1"},"name":"a"}}"#,
        );
        let parsed = object.parse();
        assert_eq!(parsed["metadata"]["resourceVersion"], "7");
        assert_eq!(parsed["data"]["metadata"], "{\"metadata\":{");
        assert_eq!(object.label("a"), Some("1"));
        assert_eq!(object.label("c"), None);
        assert_eq!(
            serde_json::from_slice::<Object>(&object.json()).unwrap(),
            parsed
        );
        assert!(tail(&object).starts_with("\"metadata\":{\"resourceVersion\":\"7\",\"labels\""));
        assert_eq!(object.namespace_and_name(), ("d", "a"));
    }

    #[test]
    fn what_was_stored_in_our_order_is_shared_with_the_store() {
        let canonical = kv(
            r#"{"kind":"A","apiVersion":"v1","metadata":{"name":"a"}}"#,
            7,
        );
        assert_eq!(
            ingest_kv(&canonical).stored.as_ptr(),
            canonical.value.as_ptr()
        );
        for other in [
            r#"{"apiVersion":"v1","kind":"A","metadata":{"name":"a"}}"#,
            r#"{"kind":"A","apiVersion":"v1","data":{},"metadata":{"name":"a"}}"#,
        ] {
            let object = ingest(other);
            assert_eq!(object.json_head(), br#"{"kind":"A","apiVersion":"v1","#);
        }
    }

    #[test]
    fn empty_metadata_gets_no_comma() {
        assert_eq!(
            &ingest(r#"{"metadata":{}}"#).json()[..],
            br#"{"metadata":{"resourceVersion":"7"}}"#
        );
    }

    #[test]
    fn metadata_ends_at_its_own_brace() {
        let object = ingest(
            r#"{"kind":"A","apiVersion":"v1","metadata":{"annotations":{"a}":"}\"}\\"},"name":"a"},"spec":{}}"#,
        );
        let mut out = Vec::new();
        object.write_json_metadata(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#""metadata":{"resourceVersion":"7","annotations":{"a}":"}\"}\\"},"name":"a"}"#
        );
    }

    #[test]
    fn fields_are_read_past_the_managed_ones() {
        let projection = Projection::all_but(["metadata.managedFields"]);
        for (managed, name) in [
            (
                r#""managedFields":[{"f:a}":{"x":["\"]"]}}],"#,
                r#","name":"a""#,
            ),
            (r#""managedFields":[],"#, ""),
            (r#""managedFields":null,"#, ""),
            ("", r#","name":"a""#),
            // Not as we write it.
            (r#""managedFields": [ {"f:a": 1} ], "#, r#" , "name":"a" "#),
        ] {
            let object = ingest(&format!(
                r#"{{"kind":"A","apiVersion":"v1","metadata":{{"annotations":{{"managedFields":"x"}},{managed}"generation":2{name}}},"spec":{{"b":1}}}}"#
            ));
            let mut expected = object.parse();
            meta::remove(&mut expected, "managedFields");
            meta::remove(&mut expected, "resourceVersion");
            let mut read = object.project(&projection);
            meta::remove(&mut read, "managedFields");
            assert_eq!(read, expected, "{managed}");
            let mut metadata = b"{".to_vec();
            object.write_json_metadata(&mut metadata);
            metadata.push(b'}');
            let metadata: Object = serde_json::from_slice(&metadata).unwrap();
            assert_eq!(
                metadata["metadata"],
                object.parse()["metadata"],
                "{managed}"
            );
        }
    }

    #[test]
    fn a_tombstone_is_the_same_object_at_another_revision() {
        let object = ingest(r#"{"kind":"A","apiVersion":"v1","metadata":{"name":"a"}}"#);
        let gone = object.tombstone(Revision(12345));
        assert_eq!(gone.stored.as_ptr(), object.stored.as_ptr());
        assert_eq!(
            tail(&gone),
            r#""metadata":{"resourceVersion":"12345","name":"a"}}"#
        );
    }

    #[test]
    fn other_encodings_are_made_once() {
        let object = ingest(r#"{"metadata":{}}"#);
        let first = object
            .encoding(9, || Ok::<_, ()>(Bytes::from_static(b"x")))
            .unwrap();
        let again = object.encoding(9, || Err(())).unwrap();
        assert_eq!(first, again);
        assert!(object.encoding(10, || Err(())).is_err());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in [
            "",
            "[]",
            "k8s\0protobuf",
            "{",
            r#"{"kind":"A"}"#,
            r#"{"metadata":1}"#,
        ] {
            let value = kv(text, 7);
            let refused = CachedObject::ingest(
                Bytes::from_static(b"d/a"),
                &value,
                &Index::new([]),
                None,
                None,
            );
            assert!(refused.is_err(), "{text:?}");
        }
    }
}
