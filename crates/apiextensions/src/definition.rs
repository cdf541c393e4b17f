//! A CustomResourceDefinition as the server works with it: parsed once, shared by all requests.
//!
//! Parsing is lenient: what the server stored was valid when it was written. What a version needs on a request's path (compiled schema,
//! the `Schema` that patches and field ownership walk, columns) is here; what is read rarely (descriptions) stays in the stored object.

use std::sync::{Arc, OnceLock};

use api::{fields::Fields, kind::Scope};
use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
    version_order,
};
use serde_json::Value;

use crate::{
    bridge::{self, VersionType},
    default,
    scale::ScalePaths,
    schema::{Interner, SchemaRef, Structural},
    selectable::SelectableField,
    table::Column,
};

/// Names of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// `widgets`.
    pub plural: Arc<str>,
    /// `widget`.
    pub singular: Arc<str>,
    /// `Widget`.
    pub kind: Arc<str>,
    /// `WidgetList`.
    pub list_kind: Arc<str>,
    /// `wd`.
    pub short_names: Box<[Arc<str>]>,
    /// `all`.
    pub categories: Box<[Arc<str>]>,
}

impl Names {
    fn parse(names: Option<&Object>, interner: &Interner) -> Self {
        let empty = Object::new();
        let names = names.unwrap_or(&empty);
        let list = |key: &str| names.texts(key).map(|s| interner.name(s)).collect();
        Self {
            plural: interner.name(names.text("plural")),
            singular: interner.name(names.text("singular")),
            kind: interner.name(names.text("kind")),
            list_kind: interner.name(names.text("listKind")),
            short_names: list("shortNames"),
            categories: list("categories"),
        }
    }
}

/// How objects are converted between versions.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Conversion {
    /// `apiVersion` is replaced, nothing else.
    #[default]
    None,
    /// A webhook converts.
    Webhook {
        /// `clientConfig` as it stands in the definition.
        client_config: Object,
        /// Versions of ConversionReview that the webhook takes, in its order of preference.
        review_versions: Box<[Arc<str>]>,
    },
}

/// See the module's head.
#[derive(Debug)]
pub struct Definition {
    /// `widgets.example.com`.
    pub name: Arc<str>,
    /// uid of the definition.
    pub uid: Arc<str>,
    /// `example.com`.
    pub group: Arc<str>,
    /// Where its objects live.
    pub scope: Scope,
    /// Those of `spec`.
    pub names: Names,
    /// Those of `status`, by which it is served.
    pub accepted_names: Names,
    /// Whether the condition `Established` is true.
    pub established: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// `status.storedVersions`.
    pub stored_versions: Box<[Arc<str>]>,
    /// How objects are converted.
    pub conversion: Conversion,
    /// In the order of `spec.versions`.
    pub versions: Box<[Arc<Version>]>,
}

impl Definition {
    /// From a CustomResourceDefinition in `apiextensions.k8s.io/v1`.
    pub fn parse(object: &Object, interner: &Interner) -> Self {
        let empty = Object::new();
        let spec = object.object("spec").unwrap_or(&empty);
        let status = object.object("status").unwrap_or(&empty);
        let metadata = object.object("metadata").unwrap_or(&empty);
        let group = interner.name(spec.text("group"));
        let names = Names::parse(spec.object("names"), interner);
        let scope = match spec.text("scope") {
            "Cluster" => Scope::Cluster,
            _ => Scope::Namespaced,
        };
        let versions = spec
            .objects("versions")
            .map(|(_, version)| Arc::new(Version::parse(version, spec, &group, &names, interner)))
            .collect();
        let established = status
            .objects("conditions")
            .any(|(_, c)| c.text("type") == "Established" && c.text("status") == "True");
        Self {
            name: interner.name(metadata.text("name")),
            uid: metadata.text("uid").into(),
            scope,
            accepted_names: Names::parse(status.object("acceptedNames"), interner),
            established,
            terminating: metadata.contains_key("deletionTimestamp"),
            stored_versions: status
                .texts("storedVersions")
                .map(|s| interner.name(s))
                .collect(),
            conversion: conversion(spec.object("conversion"), interner),
            versions,
            group,
            names,
        }
    }

    /// A version by name, served or not.
    pub fn version(&self, name: &str) -> Option<&Arc<Version>> {
        self.versions.iter().find(|v| &*v.name == name)
    }

    /// The version in which objects are kept.
    pub fn storage_version(&self) -> Option<&Arc<Version>> {
        self.versions.iter().find(|v| v.storage)
    }

    /// Its resource in a version.
    pub fn gvr(&self, version: &str) -> GroupVersionResource {
        GroupVersionResource {
            group: (*self.group).to_owned().into(),
            version: version.to_owned().into(),
            resource: (*self.names.plural).to_owned().into(),
        }
    }

    /// Its kind in a version.
    pub fn gvk(&self, version: &str) -> GroupVersionKind {
        gvk(&self.group, version, &self.names)
    }
}

fn gvk(group: &str, version: &str, names: &Names) -> GroupVersionKind {
    GroupVersionKind {
        group: group.to_owned().into(),
        version: version.to_owned().into(),
        kind: (*names.kind).to_owned().into(),
    }
}

/// What is said of a deprecated version that says nothing itself. It names the version to use instead, if one that comes before it is served.
fn deprecation(spec: &Object, kind: &GroupVersionKind) -> String {
    let (group, version, kind) = (&kind.group, &kind.version, &kind.kind);
    let others = spec.objects("versions").map(|(_, other)| other);
    let instead = others
        .filter(|other| other.is_true("served") && !other.is_true("deprecated"))
        .map(|other| other.text("name"))
        .filter(|other| version_order::compare(other, version).is_lt())
        .min_by(|a, b| version_order::compare(a, b));
    let instead = instead.map_or(String::new(), |it| format!("; use {group}/{it} {kind}"));
    format!("{group}/{version} {kind} is deprecated{instead}")
}

fn conversion(conversion: Option<&Object>, interner: &Interner) -> Conversion {
    let Some(webhook) = conversion
        .filter(|c| c.text("strategy") == "Webhook")
        .and_then(|c| c.object("webhook"))
    else {
        return Conversion::None;
    };
    Conversion::Webhook {
        client_config: webhook.object("clientConfig").cloned().unwrap_or_default(),
        review_versions: webhook
            .texts("conversionReviewVersions")
            .map(|s| interner.name(s))
            .collect(),
    }
}

/// One version of a definition.
#[derive(Debug)]
pub struct Version {
    /// `v1`.
    pub name: Arc<str>,
    /// Whether it is served.
    pub served: bool,
    /// Whether objects are kept in it.
    pub storage: bool,
    /// What a client of a deprecated version is warned of.
    pub deprecation_warning: Option<Arc<str>>,
    /// Of the whole object, defaults pruned.
    pub schema: SchemaRef,
    /// Whether there is a `status` subresource.
    pub has_status: bool,
    /// Paths of the `scale` subresource.
    pub scale: Option<ScalePaths>,
    /// Those of `kubectl get`, without the name.
    pub columns: Box<[Column]>,
    /// Fields by which lists can be narrowed, beyond name and namespace.
    pub selectable_fields: Box<[SelectableField]>,
    kind: GroupVersionKind,
    ty: OnceLock<VersionType>,
}

impl Version {
    fn parse(
        version: &Object,
        spec: &Object,
        group: &Arc<str>,
        names: &Names,
        interner: &Interner,
    ) -> Self {
        let name = interner.name(version.text("name"));
        let kind = gvk(group, &name, names);
        let schema = version
            .object("schema")
            .and_then(|s| s.get("openAPIV3Schema"));
        let subresources = version.object("subresources");
        let deprecation_warning = version.is_true("deprecated").then(|| {
            match version.get("deprecationWarning").and_then(Value::as_str) {
                Some(text) => Arc::from(text),
                None => Arc::from(deprecation(spec, &kind)),
            }
        });
        Self {
            served: version.is_true("served"),
            storage: version.is_true("storage"),
            deprecation_warning,
            schema: default::prune_defaults(&Structural::compile(schema, interner), interner),
            has_status: subresources.is_some_and(|s| s.object("status").is_some()),
            scale: subresources
                .and_then(|s| s.object("scale"))
                .map(ScalePaths::parse),
            columns: Column::all(version),
            selectable_fields: version
                .objects("selectableFields")
                .map(|(_, field)| SelectableField::parse(field.text("jsonPath"), interner))
                .collect(),
            name,
            kind,
            ty: OnceLock::new(),
        }
    }

    /// Its kind.
    pub fn gvk(&self) -> &GroupVersionKind {
        &self.kind
    }

    /// The type that decoding, patches and field ownership walk; made on first use.
    pub fn ty(&self) -> apimachinery::TypeRef<'_> {
        self.ty
            .get_or_init(|| bridge::schema_of(&self.schema, &self.kind))
            .get()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_deprecated_version_it_is_said_which_to_use() {
        let version = |name: &str, served, deprecated| json!({"name": name, "served": served, "deprecated": deprecated});
        let definition = json!({"spec": {"group": "example.com", "names": {"kind": "Widget"}, "versions": [
            version("v1beta1", true, true), version("v1beta2", true, false), version("v1", true, false),
            version("v2", false, false), version("v3", true, true),
        ]}});
        let definition = Definition::parse(definition.as_object().unwrap(), &Interner::default());
        let warning = |at: usize| definition.versions[at].deprecation_warning.as_deref();
        assert_eq!(
            warning(0),
            Some("example.com/v1beta1 Widget is deprecated; use example.com/v1 Widget")
        );
        assert_eq!(warning(1), None);
        assert_eq!(warning(4), Some("example.com/v3 Widget is deprecated"));
    }
}
