//! What the reference server states of the built-in kinds, read from our committed tables under `facts/`.
//!
//! The tables are lines of words, so that a change between releases reads well as a diff. `cargo xtask facts` writes them; nobody
//! edits them, but for `apidiscovery`, which no OpenAPI document has. They hold names, types, numbers and constants. They are read once, at the first use, in a millisecond or two.
//!
//! # Types: `facts/io.k8s.….facts`
//!
//! ```text
//! package io.k8s.api.core.v1
//! type Pod kind=/v1/Pod                  the kind, as group/version/kind; `atomic` if owned as a whole; `union=TYPE:A,B` if `TYPE` says whether A or B is set
//!   name *string:v1.T 1 omitempty …      field: name, type, protobuf number (0: not in protobuf), marks
//!   ~ VolumeSource 2                     a struct inlined in JSON, and its number in protobuf; its fields follow, marked `inlined`
//! either JSONSchemaPropsOrBool bool JSONSchemaProps
//! ```
//!
//! A type is a scalar of [`Scalar::ALL`] (with Go's name of it after a colon, if it has one of its own), the name of a type of this package, or a
//! full name; before it `*` for a pointer, `[]` for a list, `map[]` for a map. Marks: `omitempty`, `omitzero`, `go=NAME` (Go's name of a list or map
//! type where the shape does not tell it), `inlined`, `wrapped`,
//! `required`, `list=set`, `list=map:KEY,…`, `map=atomic`, `map=granular`, `patch=merge,retainKeys`, `key=MERGEKEY`, `enum=A,…` (of items, where there are
//! any; a space is written `_`), `zero` (the default is a zero value that Go leaves out), `default=JSON`.

mod resources;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use apimachinery::{
    gvk::GroupVersionKind,
    schema::{
        Either, Field, Inline, ListSemantics, ListType, MapType, ObjectType, Omit, Scalar, Schema,
        Type, TypeId, TypeRef, Union,
    },
};

pub use resources::{Column, ResourceFacts, SubresourceFacts, columns, resource, resources};

/// One table for each API package.
const TABLES: &[&str] = &[
    include_str!("../facts/io.k8s.api.admissionregistration.v1.facts"),
    include_str!("../facts/io.k8s.api.apidiscovery.v2.facts"),
    include_str!("../facts/io.k8s.api.apps.v1.facts"),
    include_str!("../facts/io.k8s.api.authentication.v1.facts"),
    include_str!("../facts/io.k8s.api.authorization.v1.facts"),
    include_str!("../facts/io.k8s.api.autoscaling.v1.facts"),
    include_str!("../facts/io.k8s.api.autoscaling.v2.facts"),
    include_str!("../facts/io.k8s.api.batch.v1.facts"),
    include_str!("../facts/io.k8s.api.certificates.v1.facts"),
    include_str!("../facts/io.k8s.api.coordination.v1.facts"),
    include_str!("../facts/io.k8s.api.core.v1.facts"),
    include_str!("../facts/io.k8s.api.discovery.v1.facts"),
    include_str!("../facts/io.k8s.api.events.v1.facts"),
    include_str!("../facts/io.k8s.api.flowcontrol.v1.facts"),
    include_str!("../facts/io.k8s.api.networking.v1.facts"),
    include_str!("../facts/io.k8s.api.node.v1.facts"),
    include_str!("../facts/io.k8s.api.policy.v1.facts"),
    include_str!("../facts/io.k8s.api.rbac.v1.facts"),
    include_str!("../facts/io.k8s.api.resource.v1.facts"),
    include_str!("../facts/io.k8s.api.scheduling.v1.facts"),
    include_str!("../facts/io.k8s.api.storage.v1.facts"),
    include_str!("../facts/io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.facts"),
    include_str!("../facts/io.k8s.apimachinery.pkg.apis.meta.v1.facts"),
    include_str!("../facts/io.k8s.apimachinery.pkg.version.facts"),
    include_str!("../facts/io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.facts"),
];

/// The types of all built-in kinds, and those of `meta/v1`.
pub fn schema() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Reader::default().read(TABLES));
    &SCHEMA
}

/// The type of a built-in kind. Kinds that every group has, such as `DeleteOptions`, are found in all groups.
pub fn type_of(gvk: &GroupVersionKind) -> Option<TypeRef<'static>> {
    schema().type_of(gvk).or_else(|| {
        let meta =
            is_in_every_group(&gvk.kind) || (gvk.group == "meta.k8s.io" && gvk.version == "v1");
        meta.then(|| meta_type(&gvk.kind)).flatten()
    })
}

/// Whether every version of every group has the kind.
pub fn is_in_every_group(kind: &str) -> bool {
    matches!(
        kind,
        "CreateOptions"
            | "DeleteOptions"
            | "GetOptions"
            | "ListOptions"
            | "PatchOptions"
            | "Status"
            | "UpdateOptions"
            | "WatchEvent"
    )
}

/// A type of `meta/v1` by its short name: `ObjectMeta`, `Table`, `PartialObjectMetadata`.
pub fn meta_type(name: &str) -> Option<TypeRef<'static>> {
    schema().type_named(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}"))
}

#[derive(Default)]
struct Reader {
    schema: Schema,
    names: HashMap<&'static str, Arc<str>>,
    lists: HashMap<(TypeId, ListSemantics, bool), TypeId>,
    maps: HashMap<(TypeId, bool, bool), TypeId>,
    /// Types to be filled with the shape of another, but owned field by field.
    granular: Vec<(TypeId, TypeId)>,
}

/// A type whose fields are being read.
struct Open {
    id: TypeId,
    object: ObjectType,
    fields: Vec<Field>,
}

impl Reader {
    fn read(mut self, tables: &[&'static str]) -> Schema {
        for table in tables {
            let mut package = "";
            let mut open: Option<Open> = None;
            for line in table.lines() {
                if let Some(field) = line.strip_prefix("  ") {
                    let open = open.as_mut().expect("facts: a field stands below its type");
                    self.field(field, package, open);
                    continue;
                }
                self.close(open.take());
                let (what, rest) = line
                    .split_once(' ')
                    .expect("facts: a line has a word and its subject");
                match what {
                    "package" => package = rest,
                    "type" => open = Some(self.open(rest, package)),
                    _ => self.either(rest, package),
                }
            }
            self.close(open);
        }
        for (copy, of) in self.granular {
            self.schema.set_granular(copy, of);
        }
        self.schema
    }

    fn open(&mut self, line: &'static str, package: &str) -> Open {
        let mut words = line.split(' ');
        let name = format!("{package}.{}", words.next().unwrap_or_default());
        let id = self.schema.declare(&name);
        let mut object = ObjectType::new(name, Vec::new());
        object.go = true;
        for word in words {
            if word == "atomic" {
                object.atomic = true;
            } else if let Some((discriminator, fields)) = word
                .strip_prefix("union=")
                .and_then(|it| it.split_once(':'))
            {
                object.union = Some(Union {
                    discriminator: (!discriminator.is_empty()).then(|| self.intern(discriminator)),
                    fields: fields.split(',').map(|field| self.intern(field)).collect(),
                });
            } else if let Some(kind) = word.strip_prefix("kind=") {
                let mut parts = kind.split('/').map(str::to_owned);
                let mut next = || parts.next().unwrap_or_default().into();
                let gvk = GroupVersionKind {
                    group: next(),
                    version: next(),
                    kind: next(),
                };
                self.schema.set_kind(gvk, id);
            }
        }
        Open {
            id,
            object,
            fields: Vec::new(),
        }
    }

    fn close(&mut self, open: Option<Open>) {
        if let Some(Open {
            id,
            mut object,
            fields,
        }) = open
        {
            object.set_fields(fields);
            self.schema.set(id, Type::Object(object));
        }
    }

    fn either(&mut self, line: &'static str, package: &str) {
        let mut words = line.split(' ');
        let mut next = || words.next().unwrap_or_default();
        let (name, shape, inner) = (next(), next(), next());
        let inner = self.schema.declare(&format!("{package}.{inner}"));
        let either = match shape {
            "list" => Either::ObjectOrList(inner),
            "bool" => Either::ObjectOrBool(inner),
            _ => Either::ObjectOrStrings(inner),
        };
        let id = self.schema.declare(&format!("{package}.{name}"));
        self.schema.set(id, Type::Either(either));
    }

    fn field(&mut self, line: &'static str, package: &str, open: &mut Open) {
        // A default comes last and is JSON, which may have spaces.
        let (line, default) = match line.split_once(" default=") {
            Some((line, default)) => (line, serde_json::from_str(default).ok()),
            None => (line, None),
        };
        let mut words = line.split(' ');
        let mut next = || words.next().unwrap_or_default();
        let (name, ty, tag) = (next(), next(), next());
        let tag = tag
            .parse()
            .expect("facts: a field's third word is its number");
        if name == "~" {
            let ty = self.named(ty, package);
            open.object.inlines.push(Inline { tag, ty });
            return;
        }
        let mut field = Field::new(self.intern(name), Schema::scalar(Scalar::Json));
        field.tag = tag;
        field.omit = Omit::Never;
        field.default = default;
        let (mut semantics, mut wrapped, mut atomic_map) = (ListSemantics::Atomic, false, false);
        for word in words {
            match word.split_once('=') {
                None => match word {
                    "omitempty" => field.omit = Omit::Empty,
                    "omitzero" => field.omit = Omit::Zero,
                    "inlined" => field.inlined = true,
                    "wrapped" => wrapped = true,
                    "required" => field.required = true,
                    "zero" => field.zero_default = true,
                    _ => {}
                },
                Some(("list", "set")) => semantics = ListSemantics::Set,
                Some(("list", keys)) => {
                    let keys = keys.trim_start_matches("map:").split(',');
                    semantics = ListSemantics::Map(keys.map(|k| self.intern(k)).collect());
                }
                Some(("map", "granular")) => field.granular = true,
                Some(("map", _)) => atomic_map = true,
                Some(("patch", strategies)) => {
                    for strategy in strategies.split(',') {
                        match strategy {
                            "merge" => field.patch.merge = true,
                            "retainKeys" => field.patch.retain_keys = true,
                            _ => field.patch.replace = true,
                        }
                    }
                }
                Some(("go", ty)) => field.go_container = Some(self.intern(ty)),
                Some(("key", key)) => field.patch.merge_key = Some(self.intern(key)),
                Some(("enum", values)) => {
                    let values = values.split(',').map(|v| v.replace('_', " ").into());
                    field.enum_values = values.collect();
                }
                Some(_) => {}
            }
        }
        let ty = ty
            .strip_prefix('*')
            .inspect(|_| field.pointer = true)
            .unwrap_or(ty);
        if let Some(scalar) = ty.split_once(':') {
            field.go_type = Some(self.intern(scalar.1.trim_start_matches("[]")));
        }
        field.ty = self.ty(ty, package, semantics, wrapped, atomic_map);
        if field.granular && !ty.starts_with("map[]") {
            let copy = self.schema.add(Type::Scalar(Scalar::Json));
            self.granular.push((copy, field.ty));
            field.ty = copy;
        }
        open.fields.push(field);
    }

    fn ty(
        &mut self,
        ty: &'static str,
        package: &str,
        semantics: ListSemantics,
        wrapped: bool,
        atomic: bool,
    ) -> TypeId {
        if let Some(items) = ty.strip_prefix("[]") {
            let items = self.ty(items, package, ListSemantics::Atomic, false, false);
            let schema = &mut self.schema;
            return *self
                .lists
                .entry((items, semantics.clone(), wrapped))
                .or_insert_with(|| {
                    schema.add(Type::List(ListType {
                        items,
                        semantics,
                        wrapped,
                    }))
                });
        }
        if let Some(values) = ty.strip_prefix("map[]") {
            let values = self.ty(values, package, ListSemantics::Atomic, false, false);
            let schema = &mut self.schema;
            return *self
                .maps
                .entry((values, atomic, wrapped))
                .or_insert_with(|| {
                    schema.add(Type::Map(MapType {
                        values,
                        atomic,
                        wrapped_values: wrapped,
                    }))
                });
        }
        self.named(ty.trim_start_matches('*'), package)
    }

    fn named(&mut self, ty: &str, package: &str) -> TypeId {
        let scalar = ty.split(':').next().unwrap_or(ty);
        match Scalar::ALL.iter().find(|(name, _)| *name == scalar) {
            Some((_, scalar)) => Schema::scalar(*scalar),
            None if ty.contains('.') => self.schema.declare(ty),
            None => self.schema.declare(&format!("{package}.{ty}")),
        }
    }

    fn intern(&mut self, name: &'static str) -> Arc<str> {
        self.names
            .entry(name)
            .or_insert_with(|| Arc::from(name))
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_is_named_has_a_shape() {
        for (gvk, ty) in schema().kinds() {
            let object = ty.object().unwrap();
            assert!(!object.fields().is_empty(), "{gvk} has no fields");
            assert!(object.field("kind").is_some(), "{gvk} has no kind");
        }
        let pod = type_of(&GroupVersionKind::new("", "v1", "Pod")).unwrap();
        let (_, spec) = pod.field("spec").unwrap();
        let (field, containers) = spec.field("containers").unwrap();
        assert_eq!(field.unwrap().patch.merge_key.as_deref(), Some("name"));
        let (_, resources) = containers.items().unwrap().field("resources").unwrap();
        let (limits, _) = resources.field("limits").unwrap();
        let go = limits.unwrap().go_container.as_deref();
        assert_eq!(go, Some("v1.ResourceList"));
        let (field, ports) = containers.items().unwrap().field("ports").unwrap();
        assert!(!field.unwrap().pointer);
        let keys: Arc<[Arc<str>]> = ["containerPort".into(), "protocol".into()].into();
        assert_eq!(ports.list().unwrap().semantics, ListSemantics::Map(keys));
        let (protocol, _) = ports.items().unwrap().field("protocol").unwrap();
        assert_eq!(protocol.unwrap().default, Some("TCP".into()));
        for (group, version, kind) in [
            ("apps", "v1", "DeleteOptions"),
            ("autoscaling", "v1", "Scale"),
            ("policy", "v1", "Eviction"),
            ("authentication.k8s.io", "v1", "TokenRequest"),
            ("authorization.k8s.io", "v1", "SubjectAccessReview"),
            ("", "v1", "Binding"),
            ("", "v1", "PodList"),
            ("", "v1", "Status"),
            ("meta.k8s.io", "v1", "Table"),
            ("meta.k8s.io", "v1", "PartialObjectMetadataList"),
            ("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
            ("apiregistration.k8s.io", "v1", "APIService"),
            ("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList"),
        ] {
            assert!(
                type_of(&GroupVersionKind::new(group, version, kind)).is_some(),
                "{group} {kind}"
            );
        }
    }
}
