//! From a structural schema to `apimachinery::Schema`, so that decoding, patches and field ownership take custom kinds by the same
//! road as built-in ones.
//!
//! A version's `Schema` is owned by the version and made on first use; equal subtrees of the structural schema become one type.
//! `apiVersion`, `kind` and `metadata` stand at the root and in embedded resources whatever the schema says of them.

use std::{collections::HashMap, sync::Arc};

use api::facts;
use apimachinery::{
    Schema, TypeRef,
    gvk::GroupVersionKind,
    schema::{
        Field, ListSemantics, ListType as SchemaList, MapType as SchemaMap, ObjectType, Scalar,
        Type, TypeId,
    },
};

use crate::schema::{Additional, JsonType, ListType, MapType, SchemaRef, Structural};

/// A version's own schema and its root.
#[derive(Debug)]
pub struct VersionType {
    schema: Schema,
    root: TypeId,
}

impl VersionType {
    /// The root.
    pub fn get(&self) -> TypeRef<'_> {
        self.schema.get(self.root)
    }
}

/// The schema of a kind.
pub fn schema_of(root: &SchemaRef, kind: &GroupVersionKind) -> VersionType {
    let mut bridge = Bridge {
        schema: Schema::new(),
        done: HashMap::new(),
        metadata: None,
    };
    let id = bridge.object(root, true);
    bridge.schema.set_kind(kind.clone(), id);
    VersionType {
        schema: bridge.schema,
        root: id,
    }
}

struct Bridge {
    schema: Schema,
    /// Types of nodes that were met before, by their allocation: the root keeps them all alive.
    done: HashMap<*const Structural, TypeId>,
    metadata: Option<TypeId>,
}

impl Bridge {
    fn metadata(&mut self) -> TypeId {
        if let Some(id) = self.metadata {
            return id;
        }
        let ty = facts::meta_type("ObjectMeta").expect("meta/v1 is among the facts");
        let id = self.schema.import(ty);
        self.metadata = Some(id);
        id
    }

    fn ty(&mut self, node: &SchemaRef) -> TypeId {
        let key = std::ptr::from_ref::<Structural>(node);
        if let Some(id) = self.done.get(&key) {
            return *id;
        }
        let id = match node.json_type {
            _ if node.int_or_string => Schema::scalar(Scalar::Json),
            JsonType::Object => self.object(node, false),
            JsonType::Array => self.list(node),
            JsonType::String => Schema::scalar(Scalar::String),
            JsonType::Boolean => Schema::scalar(Scalar::Bool),
            JsonType::Integer => Schema::scalar(Scalar::Int64),
            JsonType::Number => Schema::scalar(Scalar::Double),
            // Anything: an object that keeps all, unless it turns out to be something else.
            JsonType::Unset => self.object(node, false),
        };
        self.done.insert(key, id);
        id
    }

    fn list(&mut self, node: &SchemaRef) -> TypeId {
        let items = match &node.items {
            Some(items) => self.ty(items),
            None => Schema::scalar(Scalar::Json),
        };
        let semantics = match node.list_type {
            Some(ListType::Set) => ListSemantics::Set,
            Some(ListType::Map) => ListSemantics::Map(node.list_map_keys.clone().into()),
            Some(ListType::Atomic) | None => ListSemantics::Atomic,
        };
        self.schema.add(Type::List(SchemaList {
            items,
            semantics,
            wrapped: false,
        }))
    }

    fn object(&mut self, node: &SchemaRef, root: bool) -> TypeId {
        let atomic = node.map_type == Some(MapType::Atomic);
        let additional = match &node.additional {
            Additional::Schema(inner) => Some(self.ty(inner)),
            Additional::Allows(true) => Some(Schema::scalar(Scalar::Json)),
            Additional::Allows(false) | Additional::Unset => None,
        };
        if let (Some(values), true, false) = (additional, node.properties.is_empty(), root) {
            return self.schema.add(Type::Map(SchemaMap {
                values,
                atomic,
                wrapped_values: false,
            }));
        }
        let has_meta = root || node.embedded;
        let mut fields = Vec::with_capacity(node.properties.len() + 3);
        if has_meta {
            for name in ["apiVersion", "kind"] {
                fields.push(Field::new(name, Schema::scalar(Scalar::String)));
            }
            let metadata = self.metadata();
            fields.push(Field::new("metadata", metadata));
        }
        for (name, property) in &node.properties {
            if has_meta && matches!(&**name, "apiVersion" | "kind" | "metadata") {
                continue;
            }
            let mut field = Field::new(name.clone(), self.ty(property));
            field.nullable = property.nullable;
            field.default = property.default.as_deref().cloned();
            field.required = required(node, name);
            fields.push(field);
        }
        let mut object = ObjectType::new(Arc::from(""), fields);
        object.atomic = atomic;
        object.preserve_unknown = node.preserve_unknown;
        object.untyped = node.json_type == JsonType::Unset && !root;
        object.embedded_resource = node.embedded;
        object.additional = additional;
        self.schema.add(Type::Object(object))
    }
}

fn required(node: &Structural, name: &str) -> bool {
    node.values
        .as_ref()
        .is_some_and(|values| values.required.iter().any(|required| &**required == name))
}
