//! One version of a custom resource, as the registry decodes, shows, scales and converts it.

use std::sync::Arc;

use ::apiextensions::definition::{Definition, Version};
use apimachinery::{
    Object, TypeRef,
    decode::{DecodeError, Decoded},
    gvk::GroupVersionKind,
    meta,
    status::Status,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::conversion::{Converter, rename};
use crate::lookup;

/// What `kubectl get` calls the first column of every custom resource.
const NAME_DESCRIPTION: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Custom {
    definition: Arc<Definition>,
    version: Arc<Version>,
    storage: Arc<Version>,
    converter: Arc<Converter>,
}

impl Custom {
    pub(super) fn new(
        definition: &Arc<Definition>,
        version: &Arc<Version>,
        converter: &Arc<Converter>,
    ) -> Self {
        Self {
            definition: Arc::clone(definition),
            version: Arc::clone(version),
            storage: Arc::clone(definition.storage_version().unwrap_or(version)),
            converter: Arc::clone(converter),
        }
    }

    /// The kind in which objects are kept.
    pub(super) fn storage_gvk(&self) -> &GroupVersionKind {
        self.storage.gvk()
    }

    /// The type that patches and field ownership walk.
    pub(crate) fn ty(&self) -> TypeRef<'_> {
        self.version.ty()
    }

    /// Decodes a body: pruned, without defaults.
    pub(crate) fn decode(&self, body: &[u8]) -> Result<Decoded, DecodeError> {
        self.version.decode(body)
    }

    /// Fills in the defaults of the schema.
    pub(crate) fn default(&self, object: &mut Object) {
        self.version.default(object);
    }

    /// Gives what comes from the store the form of its version's current schema.
    pub(crate) fn coerce_stored(&self, object: &mut Object) {
        super::stored::coerce(&self.definition, object);
    }

    /// A stored object, coerced, becomes one of this version by its name alone.
    pub(crate) fn read_as_own_version(&self, object: &mut Object) {
        rename(object, &self.version);
    }

    /// Whether conversion asks a webhook.
    pub(crate) fn asks_webhook(&self) -> bool {
        self.converter.asks_webhook()
    }

    /// A stored object in this version.
    pub(crate) async fn open(&self, object: Object) -> Result<Object, Status> {
        self.convert(object, &self.version).await
    }

    /// Several stored objects in this version.
    pub(crate) async fn open_all(&self, objects: Vec<Object>) -> Result<Vec<Object>, Status> {
        self.converter.convert(objects, &self.version).await
    }

    /// An object of this version as it is to be stored.
    pub(crate) async fn seal(&self, object: Object) -> Result<Object, Status> {
        self.convert(object, &self.storage).await
    }

    async fn convert(&self, object: Object, to: &Version) -> Result<Object, Status> {
        let mut converted = self.converter.convert(vec![object], to).await?;
        converted
            .pop()
            .ok_or_else(|| Status::internal("one object was converted to none"))
    }

    /// Whether an object was stored in another version than objects are stored in now.
    pub(crate) fn is_outdated(&self, stored: &Object) -> bool {
        meta::api_version(stored) != self.storage.gvk().group_version().to_string()
    }

    /// The selectable fields of an object of this version.
    pub(crate) fn selectable(&self, object: &Object) -> Vec<(&str, String)> {
        let fields = self.version.selectable_fields.iter();
        fields
            .map(|field| (&*field.label, field.value(object)))
            .collect()
    }

    /// The columns of tables.
    pub(crate) fn column_definitions(&self) -> Value {
        let name = json!({
            "name": "Name", "type": "string", "format": "name", "description": NAME_DESCRIPTION, "priority": 0,
        });
        let own = self.version.columns.iter().map(|column| {
            json!({
                "name": column.name, "type": column.column_type, "format": column.format,
                "description": column.description, "priority": column.priority,
            })
        });
        std::iter::once(name).chain(own).collect()
    }

    /// The cells of an object's row.
    pub(crate) fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        let name = Value::from(meta::name(object));
        let own = self.version.columns.iter();
        std::iter::once(name)
            .chain(own.map(|column| column.cell(object, now)))
            .collect()
    }

    /// An object's `scale`.
    pub(crate) fn scale_of(&self, object: &Object) -> Result<Object, Status> {
        let paths = self.version.scale.as_ref();
        let paths = paths.ok_or_else(Status::unknown_path)?;
        paths.scale_from(object).map_err(Status::internal)
    }

    /// The same of an object that may say nothing of replicas.
    pub(crate) fn scale_or_zero(&self, object: &Object) -> Result<Object, Status> {
        self.scale_of(object).or_else(|_| {
            let mut scaled = object.clone();
            self.set_replicas(&mut scaled, 0)?;
            self.scale_of(&scaled)
        })
    }

    /// Puts the replicas of a Scale into the object.
    pub(crate) fn set_scale(&self, object: &mut Object, scale: &Object) -> Result<(), Status> {
        let replicas = lookup::number(scale, &["spec", "replicas"]).unwrap_or(0);
        self.set_replicas(object, replicas)
    }

    /// Where an object has its replicas: `spec.replicas`.
    pub(crate) fn replicas_path(&self) -> &str {
        let paths = self.version.scale.as_ref();
        paths.map_or("", |paths| paths.spec_replicas.trim_start_matches('.'))
    }

    fn set_replicas(&self, object: &mut Object, replicas: i64) -> Result<(), Status> {
        let paths = self.version.scale.as_ref();
        let paths = paths.ok_or_else(Status::unknown_path)?;
        paths
            .set_replicas(object, replicas)
            .map_err(Status::internal)
    }
}
