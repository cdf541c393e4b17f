//! One served resource in one version: its row of facts, its cache, and how stored objects look in its version.
//!
//! Most resources are stored as they are served; then the stored bytes are the answer. Resources that share storage with another
//! version or group differ in their first two members only, or are converted by the row's hub.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use api::{Hub, Scope, ServedResource, Strategy, printers::Printer};
use apimachinery::{
    Object, TypeRef,
    gvk::{GroupResource, GroupVersionKind},
    managed_fields, meta,
    status::Status,
};
use bytes::Bytes;

use crate::{
    apiextensions::Custom,
    cacher::{CachedObject, Cacher, EventType, JSON_SUFFIX},
    negotiation::Encoding,
    storage,
};

/// A served resource.
#[derive(Debug)]
pub struct Endpoint {
    /// What it is.
    pub row: Arc<ServedResource>,
    /// Where its objects are; none if nothing is stored.
    pub cacher: Option<Arc<Cacher>>,
    /// What there is to know of a custom resource.
    pub(crate) custom: Option<Arc<Custom>>,
    /// Prints the rows of tables, unless the resource is a custom one.
    pub(super) printer: Printer,
    /// `{"kind":…,"apiVersion":…,` as its objects begin.
    head: Bytes,
    /// Distinguishes its encodings from those of others that share its storage.
    number: u64,
}

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

impl Endpoint {
    /// Of a row.
    pub fn new(row: Arc<ServedResource>, cacher: Option<Arc<Cacher>>) -> Self {
        let gvk = &row.gvk;
        let head = format!(
            "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",",
            gvk.kind,
            gvk.group_version()
        );
        Self {
            printer: Printer::of(gvk),
            row,
            cacher,
            custom: None,
            head: head.into(),
            number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The kind that is kept, which messages name: events of either group are core's.
    pub fn stored_kind(&self) -> &GroupVersionKind {
        self.hub().map_or(&self.row.gvk, |hub| &hub.gvk)
    }

    /// The pointer to an object as Go prints its type: `*core.ConfigMap`.
    pub(crate) fn go_type(&self) -> String {
        if self.custom.is_some() {
            return "*unstructured.Unstructured".to_owned();
        }
        let gvk = self.stored_kind();
        let package = match gvk.group.split('.').next() {
            None | Some("" | "events") => "core",
            Some(package) => package,
        };
        format!("*{package}.{}", gvk.kind)
    }

    /// Of a custom resource.
    pub(crate) fn custom(
        row: Arc<ServedResource>,
        cacher: Arc<Cacher>,
        custom: Arc<Custom>,
    ) -> Self {
        Self {
            custom: Some(custom),
            ..Self::new(row, Some(cacher))
        }
    }

    /// What its objects are made of; `None` for those that nobody knows.
    pub fn ty(&self) -> Option<TypeRef<'_>> {
        match &self.custom {
            Some(custom) => Some(custom.ty()),
            None => api::facts::type_of(&self.row.gvk),
        }
    }

    /// The same for a kind that may be a subresource's.
    pub fn ty_of(&self, gvk: &GroupVersionKind) -> Option<TypeRef<'_>> {
        if *gvk == self.row.gvk {
            self.ty()
        } else {
            api::facts::type_of(gvk)
        }
    }

    /// Its cache, or "not found" for resources that keep nothing.
    pub fn cacher(&self) -> Result<&Arc<Cacher>, Status> {
        self.cacher.as_ref().ok_or_else(Status::method_not_allowed)
    }

    /// Group and resource.
    pub fn group_resource(&self) -> GroupResource {
        self.row.gvr.group_resource()
    }

    /// The strategy of its kind.
    pub fn strategy(&self) -> &dyn Strategy {
        &*self.row.strategy
    }

    /// Whether its objects live in namespaces.
    pub fn is_namespaced(&self) -> bool {
        self.row.scope == Scope::Namespaced
    }

    /// Fills what a client may leave out: the constants of the schema, then what the kind's strategy adds.
    pub fn default(&self, object: &mut Object) {
        match &self.custom {
            Some(custom) => custom.default(object),
            None => {
                if let Some(ty) = api::facts::type_of(&self.row.gvk) {
                    apimachinery::default::apply(object, ty);
                }
                self.row.strategy.default(object);
            }
        }
    }

    fn hub(&self) -> Option<&'static Hub> {
        self.row.storage.as_ref().and_then(|storage| storage.hub)
    }

    /// Whether the stored version has another form.
    pub fn is_converted(&self) -> bool {
        self.hub().is_some()
    }

    /// Whether an object's row in a table and its metadata can be made of the bytes that are stored: what is converted has others, and some
    /// versions show annotations of their own.
    pub fn is_served_as_stored(&self) -> bool {
        !self.is_converted() && self.strategy().annotations_of_version().is_empty()
    }

    /// Turns an object of this version into the stored one.
    pub fn to_storage(&self, object: &mut Object) {
        if let Some(hub) = self.hub() {
            (hub.to_hub)(object);
        }
    }

    /// Turns a stored object into this version.
    pub fn from_storage(&self, object: &mut Object) {
        if let Some(hub) = self.hub() {
            (hub.from_hub)(object);
        }
        if let Some(custom) = &self.custom {
            // What a webhook converts is converted before, or stays as it is.
            if custom.asks_webhook() {
                return;
            }
            custom.read_as_own_version(object);
        }
        let gvk = &self.row.gvk;
        object.insert(
            "apiVersion".to_owned(),
            gvk.group_version().to_string().into(),
        );
        object.insert("kind".to_owned(), gvk.kind.as_ref().into());
    }

    /// What clients are shown and strategies of custom kinds work on, of what is stored. The hub's version for built-in kinds, this one for custom kinds.
    pub async fn open(&self, mut object: Object) -> Result<Object, Status> {
        managed_fields::spell_out(&mut object);
        let Some(custom) = &self.custom else {
            return Ok(object);
        };
        custom.coerce_stored(&mut object);
        custom.open(object).await
    }

    /// What is to be stored, of what the strategy has worked on.
    pub async fn seal(&self, object: Object) -> Result<Object, Status> {
        match &self.custom {
            Some(custom) => custom.seal(object).await,
            None => Ok(object),
        }
    }

    /// Whether objects are stored in another version than this one is stored in now, so that even an update that changes nothing is written.
    pub fn is_outdated(&self, stored: &Object) -> bool {
        self.custom
            .as_ref()
            .is_some_and(|custom| custom.is_outdated(stored))
    }

    /// Makes ready what of these objects takes time to convert, so that all else can be done at once.
    pub async fn prepare(&self, objects: &[Arc<CachedObject>]) -> Result<(), Status> {
        let Some(custom) = self.custom.as_ref().filter(|custom| custom.asks_webhook()) else {
            return Ok(());
        };
        let tag = self.tag(Encoding::Json);
        let foreign: Vec<&Arc<CachedObject>> = objects
            .iter()
            .filter(|cached| cached.json_head() != self.head && !cached.has_encoding(tag))
            .collect();
        let trees = foreign.iter().map(|cached| cached.parse()).collect();
        for (cached, object) in foreign.iter().zip(custom.open_all(trees).await?) {
            cached.encoding(tag, || Ok::<_, Status>(storage::encode(&object)))?;
        }
        Ok(())
    }

    /// Whether an object is stored in the version that is served here.
    pub(super) fn is_own(&self, cached: &CachedObject) -> bool {
        cached.json_head() == self.head
    }

    /// Whether [`Endpoint::prepare`] has anything to do.
    pub fn needs_preparation(&self) -> bool {
        self.custom
            .as_ref()
            .is_some_and(|custom| custom.asks_webhook())
    }

    /// A stored object in this version: itself, where it is stored as it is served.
    pub fn view<'a>(&self, stored: &'a Object) -> Cow<'a, Object> {
        if self.is_stored_as_served(stored) {
            return Cow::Borrowed(stored);
        }
        let mut view = stored.clone();
        self.from_storage(&mut view);
        Cow::Owned(view)
    }

    /// `{"kind":…,"apiVersion":…,` as the JSON of its objects begins.
    pub(super) fn json_head(&self) -> &[u8] {
        &self.head
    }

    /// Whether objects of this version are answered as they are stored.
    pub(super) fn answers_as_stored(&self) -> bool {
        self.custom.is_none() && self.hub().is_none()
    }

    /// Whether a stored object needs no conversion.
    pub fn is_stored_as_served(&self, stored: &Object) -> bool {
        let gvk = &self.row.gvk;
        self.hub().is_none()
            && meta::kind(stored) == gvk.kind
            && gvk.is_of_version(meta::api_version(stored))
    }

    /// A stored object as a tree of this version.
    pub fn tree(&self, cached: &CachedObject) -> Object {
        let prepared = self.needs_preparation().then(|| self.tag(Encoding::Json));
        if let Some(bytes) = prepared.and_then(|tag| cached.find_encoding(tag)) {
            return serde_json::from_slice(&bytes).unwrap_or_default();
        }
        let mut object = cached.parse();
        self.from_storage(&mut object);
        object
    }

    /// The JSON of an object.
    pub fn json(&self, cached: &CachedObject) -> Result<Bytes, Status> {
        if self.hub().is_some() {
            return self.converted(cached);
        }
        if cached.json_head() == self.head {
            return Ok(cached.json());
        }
        let mut out = Vec::new();
        self.write_json(cached, &mut out)?;
        Ok(out.into())
    }

    /// Writes the JSON of an object.
    pub fn write_json(&self, cached: &CachedObject, out: &mut Vec<u8>) -> Result<(), Status> {
        out.extend_from_slice(&self.head);
        let rest = self.begin_json_tail(cached, out)?;
        out.extend_from_slice(&rest);
        Ok(())
    }

    /// Writes the object as an item of a list: without kind and apiVersion, as upstream's typed lists have it, but with them for custom
    /// kinds; lacks the opening brace. The rest of it, which lies there as it is to be read, is returned.
    pub fn begin_json_item(
        &self,
        cached: &CachedObject,
        out: &mut Vec<u8>,
    ) -> Result<Bytes, Status> {
        if self.custom.is_some() {
            out.extend_from_slice(&self.head[1..]);
        }
        self.begin_json_tail(cached, out)
    }

    /// Begins with what follows kind and apiVersion; the rest is returned.
    fn begin_json_tail(&self, cached: &CachedObject, out: &mut Vec<u8>) -> Result<Bytes, Status> {
        let foreign = self.custom.is_some() && cached.json_head() != self.head;
        if self.hub().is_some() || foreign {
            return Ok(self.converted(cached)?.slice(self.head.len()..));
        }
        Ok(cached.begin_json_tail(out))
    }

    /// Writes the object as a watch event in JSON lines.
    pub fn write_json_event(
        &self,
        kind: EventType,
        cached: &CachedObject,
        out: &mut Vec<u8>,
    ) -> Result<(), Status> {
        // Once, instead of growing with each part: the frame, and what the stored bytes do not say.
        out.reserve(cached.size() + 256);
        out.extend_from_slice(kind.json_prefix().as_bytes());
        self.write_json(cached, out)?;
        out.extend_from_slice(JSON_SUFFIX.as_bytes());
        Ok(())
    }

    fn converted(&self, cached: &CachedObject) -> Result<Bytes, Status> {
        cached.encoding(self.tag(Encoding::Json), || {
            Ok(storage::encode(&self.tree(cached)))
        })
    }

    /// Distinguishes it from all others.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Names an encoding of this version in [`CachedObject::encoding`].
    pub fn tag(&self, encoding: Encoding) -> u64 {
        self.number << 8 | encoding as u64
    }
}
