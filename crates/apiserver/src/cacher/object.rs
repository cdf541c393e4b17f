//! One version of one object as the watch cache holds it: the bytes that get, list and watch serve, and a small index.
//!
//! The store holds an object's JSON without its resourceVersion (it is the revision of the write, known only afterwards). It is
//! spliced in once, when the version enters the cache, and in the same copy the JSON is wrapped as the watch event that it
//! came as: `{"type":"MODIFIED","object":<json>}\n`. The object's own bytes are a slice of that buffer, so an event costs no second
//! copy, and all watchers, lists and gets share one allocation. Kind and apiVersion stand first (see [`crate::storage::encode`]): what follows them is
//! the item of a list.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
};

use api::StrategyRef;
use apimachinery::Object;
use bytes::Bytes;
use etcd::{KeyValue, Revision};
use serde::Deserialize;
use smallvec::SmallVec;

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
pub(super) type Labels = SmallVec<[(Box<str>, Box<str>); 4]>;

/// One version of one object.
#[derive(Debug)]
pub struct CachedObject {
    /// `namespace/name`, or `name` in cluster scope.
    pub key: Bytes,
    /// The revision of this version, which is its resourceVersion.
    pub revision: Revision,
    /// For label selectors.
    pub labels: Labels,
    /// For field selectors, beyond name and namespace.
    pub fields: Vec<(Arc<str>, Box<str>)>,
    /// The event as which this version came.
    born: EventType,
    /// `{"type":…,"object":` json `}\n`
    frame: Bytes,
    /// Where `"metadata"` stands in the JSON.
    metadata_at: usize,
    /// Where the digits of the resourceVersion stand in the JSON.
    version_at: std::ops::Range<usize>,
    /// Other encodings, made on demand, once; by a number that the encoder gives.
    encodings: Mutex<SmallVec<[(u64, Bytes); 1]>>,
}

/// Reads the selectable fields of a kind's objects. The labels are shared by all objects.
#[derive(Debug)]
pub struct Selectable {
    strategy: StrategyRef,
    labels: Box<[Arc<str>]>,
}

impl Selectable {
    /// Of a strategy; `None` if it has no such fields.
    pub fn of(strategy: &StrategyRef) -> Option<Self> {
        let empty = Object::new();
        let fields = strategy.selectable_fields(&empty);
        let labels: Box<[Arc<str>]> = fields.iter().map(|(label, _)| (*label).into()).collect();
        (!labels.is_empty()).then(|| Self {
            strategy: strategy.clone(),
            labels,
        })
    }

    fn fields(&self, object: &Object) -> Vec<(Arc<str>, Box<str>)> {
        let values = self.strategy.selectable_fields(object);
        let labels = self.labels.iter().cloned();
        labels
            .zip(values)
            .map(|(label, (_, value))| (label, value.into_boxed_str()))
            .collect()
    }
}

/// A stored value that is not an object. The store holds nothing else unless something else wrote to it.
#[derive(Debug, thiserror::Error)]
#[error("stored value of {key} is not an object: {message}")]
pub struct MalformedObject {
    key: String,
    message: String,
}

impl CachedObject {
    /// Takes a version in from the store. `selectable` is for kinds with selectable fields. `key` is the part of the store's key after the resource's prefix.
    pub fn ingest(
        key: Bytes,
        value: &KeyValue,
        born: EventType,
        selectable: Option<&Selectable>,
    ) -> Result<Self, MalformedObject> {
        let malformed = |message: String| MalformedObject {
            key: String::from_utf8_lossy(&value.key).into_owned(),
            message,
        };
        let head: Head<'_> =
            serde_json::from_slice(&value.value).map_err(|e| malformed(e.to_string()))?;
        let mut labels: Labels = head
            .metadata
            .labels
            .unwrap_or_default()
            .into_iter()
            .map(|(k, v)| {
                (
                    k.into_owned().into_boxed_str(),
                    v.into_owned().into_boxed_str(),
                )
            })
            .collect();
        labels.sort();
        let fields = match selectable {
            None => Vec::new(),
            Some(selectable) => {
                let object: Object =
                    serde_json::from_slice(&value.value).map_err(|e| malformed(e.to_string()))?;
                selectable.fields(&object)
            }
        };
        let canonical = if is_canonical(&value.value) {
            Cow::Borrowed(value.value.as_ref())
        } else {
            let object: Object =
                serde_json::from_slice(&value.value).map_err(|e| malformed(e.to_string()))?;
            Cow::Owned(crate::storage::encode(&object).map_err(|e| malformed(e.to_string()))?)
        };
        let metadata_at = metadata_offset(&canonical)
            .ok_or_else(|| malformed("it has no metadata".to_owned()))?;
        let (frame, version_at) = splice(
            born,
            &canonical,
            metadata_at + METADATA.len(),
            value.mod_revision,
        );
        Ok(Self {
            key,
            revision: value.mod_revision,
            labels,
            fields,
            born,
            frame,
            metadata_at,
            version_at,
            encodings: Mutex::default(),
        })
    }

    /// The last version of an object that was deleted at `revision`: as it was, with the revision of its end.
    pub fn tombstone(&self, revision: Revision) -> Self {
        let json = self.json();
        let number = revision.to_string();
        let prefix = EventType::Deleted.json_prefix();
        let mut frame = Vec::with_capacity(prefix.len() + json.len() + number.len() + 2);
        frame.extend_from_slice(prefix.as_bytes());
        frame.extend_from_slice(&json[..self.version_at.start]);
        frame.extend_from_slice(number.as_bytes());
        frame.extend_from_slice(&json[self.version_at.end..]);
        frame.extend_from_slice(JSON_SUFFIX.as_bytes());
        Self {
            key: self.key.clone(),
            revision,
            labels: self.labels.clone(),
            fields: self.fields.clone(),
            born: EventType::Deleted,
            frame: frame.into(),
            metadata_at: self.metadata_at,
            version_at: self.version_at.start..self.version_at.start + number.len(),
            encodings: Mutex::default(),
        }
    }

    /// The object's JSON with its resourceVersion, shared.
    pub fn json(&self) -> Bytes {
        self.frame
            .slice(self.born.json_prefix().len()..self.frame.len() - JSON_SUFFIX.len())
    }

    /// What follows kind and apiVersion in the JSON, from `"metadata"` to the closing brace: with an opening brace before it the item of a list.
    pub fn json_tail(&self) -> Bytes {
        let prefix = self.born.json_prefix().len();
        self.frame
            .slice(prefix + self.metadata_at..self.frame.len() - JSON_SUFFIX.len())
    }

    /// The JSON watch event of this version as an event of type `kind`: shared when it came as one, else made anew.
    pub fn json_frame(&self, kind: EventType) -> Bytes {
        if kind == self.born {
            return self.frame.clone();
        }
        let prefix = kind.json_prefix();
        let object = &self.frame[self.born.json_prefix().len()..];
        let mut frame = Vec::with_capacity(prefix.len() + object.len());
        frame.extend_from_slice(prefix.as_bytes());
        frame.extend_from_slice(object);
        frame.into()
    }

    /// The object as a tree, parsed anew at each call: for those who look at single objects.
    pub fn parse(&self) -> Object {
        serde_json::from_slice(&self.json()).unwrap_or_else(|error| {
            tracing::error!(key = ?self.key, %error, "cached object does not parse");
            Object::new()
        })
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

    fn find_encoding(&self, tag: u64) -> Option<Bytes> {
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

    /// Bytes that this version holds, roughly.
    pub fn size(&self) -> usize {
        self.frame.len() + size_of::<Self>()
    }
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    metadata: HeadMetadata<'a>,
}

#[derive(Deserialize, Default)]
struct HeadMetadata<'a> {
    #[serde(borrow, default)]
    labels: Option<std::collections::BTreeMap<Text<'a>, Text<'a>>>,
}

/// A string borrowed where it has no escapes.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    fn into_owned(self) -> String {
        self.0.into_owned()
    }
}

/// Writes prefix, JSON with the resourceVersion as the first member of `metadata`, and suffix. `at` is just after the brace that
/// opens `metadata`. Returns the frame and where the digits stand in the JSON.
fn splice(
    born: EventType,
    json: &[u8],
    at: usize,
    revision: Revision,
) -> (Bytes, std::ops::Range<usize>) {
    const KEY: &[u8] = b"\"resourceVersion\":\"";
    let number = revision.to_string();
    let prefix = born.json_prefix();
    let mut frame = Vec::with_capacity(
        prefix.len() + json.len() + KEY.len() + number.len() + 2 + JSON_SUFFIX.len(),
    );
    frame.extend_from_slice(prefix.as_bytes());
    frame.extend_from_slice(&json[..at]);
    frame.extend_from_slice(KEY);
    frame.extend_from_slice(number.as_bytes());
    frame.push(b'"');
    if json.get(at) != Some(&b'}') {
        frame.push(b',');
    }
    frame.extend_from_slice(&json[at..]);
    frame.extend_from_slice(JSON_SUFFIX.as_bytes());
    let start = at + KEY.len();
    (frame.into(), start..start + number.len())
}

const METADATA: &[u8] = b"\"metadata\":{";

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

/// One past the closing quote of the string that opens at `at`.
fn string_end(json: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        match json.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
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

    fn ingest(json: &str) -> CachedObject {
        CachedObject::ingest(
            Bytes::from_static(b"d/a"),
            &kv(json, 7),
            EventType::Added,
            None,
        )
        .unwrap()
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
        assert!(
            object
                .json()
                .starts_with(b"{\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"7\"")
        );
        assert!(
            object
                .json_tail()
                .starts_with(b"\"metadata\":{\"resourceVersion\":\"7\"")
        );
        assert_eq!(object.namespace_and_name(), ("d", "a"));
    }

    #[test]
    fn what_was_stored_in_our_order_is_not_encoded_anew() {
        assert!(is_canonical(
            br#"{"kind":"A","apiVersion":"v1","metadata":{"name":"a"}}"#
        ));
        assert!(!is_canonical(
            br#"{"apiVersion":"v1","kind":"A","metadata":{"name":"a"}}"#
        ));
        assert!(!is_canonical(
            br#"{"kind":"A","apiVersion":"v1","data":{},"metadata":{}}"#
        ));
    }

    #[test]
    fn empty_metadata_gets_no_comma() {
        assert_eq!(
            &ingest(r#"{"metadata":{}}"#).json()[..],
            br#"{"metadata":{"resourceVersion":"7"}}"#
        );
    }

    #[test]
    fn frames_share_the_buffer_of_their_own_type_and_are_whole_events_of_others() {
        let object = ingest(r#"{"metadata":{"name":"a"}}"#);
        assert_eq!(
            object.json_frame(EventType::Added).as_ptr(),
            object.frame.as_ptr()
        );
        assert_eq!(
            &object.json_frame(EventType::Modified)[..],
            b"{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"resourceVersion\":\"7\",\"name\":\"a\"}}}\n"
        );
        let gone = object.tombstone(Revision(1234));
        assert_eq!(
            &gone.json_frame(EventType::Deleted)[..],
            b"{\"type\":\"DELETED\",\"object\":{\"metadata\":{\"resourceVersion\":\"1234\",\"name\":\"a\"}}}\n"
        );
    }
}
