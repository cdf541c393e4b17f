//! The variables that expressions of admission see: policies, and match conditions of webhooks.
//!
//! `object` and `oldObject` are of any type; `request` and `namespaceObject` have declared fields. Values are wrapped with the same declarations, so that a
//! timestamp in them is one.

use crate::{
    declaration::{Declaration, Field, ListType},
    environment::Environment,
};

/// The environment of admission expressions, without `params` and `variables`, which not all have.
pub fn environment() -> Environment {
    Environment::new()
        .declare("object", Declaration::dynamic())
        .declare("oldObject", Declaration::dynamic())
        .declare("request", request())
        .declare("namespaceObject", namespace())
}

fn text() -> Declaration {
    Declaration::string(None)
}

fn texts() -> Declaration {
    Declaration::list(text(), ListType::Atomic, None)
}

fn object(name: &str, fields: &[(&str, Declaration)]) -> Declaration {
    let fields = fields
        .iter()
        .map(|(field, declaration)| Field::new(field, declaration.clone()));
    Declaration::object(name, fields)
}

/// `request`: the AdmissionRequest without its objects.
pub fn request() -> Declaration {
    let kind = object(
        "kubernetes.GroupVersionKind",
        &[("group", text()), ("version", text()), ("kind", text())],
    );
    let resource = object(
        "kubernetes.GroupVersionResource",
        &[("group", text()), ("version", text()), ("resource", text())],
    );
    let user = object(
        "kubernetes.UserInfo",
        &[
            ("username", text()),
            ("uid", text()),
            ("groups", texts()),
            ("extra", Declaration::map(texts(), None)),
        ],
    );
    object(
        "kubernetes.AdmissionRequest",
        &[
            ("kind", kind.clone()),
            ("resource", resource.clone()),
            ("subResource", text()),
            ("requestKind", kind),
            ("requestResource", resource),
            ("requestSubResource", text()),
            ("name", text()),
            ("namespace", text()),
            ("operation", text()),
            ("userInfo", user),
            ("dryRun", Declaration::bool()),
            ("options", Declaration::dynamic()),
        ],
    )
}

/// `namespaceObject`: the namespace of the object, null for what has none.
pub fn namespace() -> Declaration {
    let labels = || Declaration::map(text(), None);
    let metadata = object(
        "kubernetes.NamespaceMetadata",
        &[
            ("name", text()),
            ("generateName", text()),
            ("namespace", text()),
            ("labels", labels()),
            ("annotations", labels()),
            ("UID", text()),
            ("uid", text()),
            ("creationTimestamp", Declaration::date_time()),
            ("deletionGracePeriodSeconds", Declaration::int()),
            ("deletionTimestamp", Declaration::date_time()),
            ("generation", Declaration::int()),
            ("resourceVersion", text()),
            ("finalizers", texts()),
        ],
    );
    let condition = object(
        "kubernetes.NamespaceCondition",
        &[
            ("status", text()),
            ("type", text()),
            ("lastTransitionTime", Declaration::date_time()),
            ("message", text()),
            ("reason", text()),
        ],
    );
    let spec = object("kubernetes.NamespaceSpec", &[("finalizers", texts())]);
    let status = object(
        "kubernetes.NamespaceStatus",
        &[
            (
                "conditions",
                Declaration::list(condition, ListType::Atomic, None),
            ),
            ("phase", text()),
        ],
    );
    object(
        "kubernetes.Namespace",
        &[("metadata", metadata), ("spec", spec), ("status", status)],
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Activation, Budget, Value};

    #[test]
    fn requests_and_namespaces_have_fields() {
        let environment = environment().with_authorizer();
        let (request, namespace) = (request(), namespace());
        let asked = json!({"operation": "CREATE", "namespace": "a", "userInfo": {"username": "u", "groups": ["g"]}, "dryRun": false});
        let within = json!({"metadata": {"name": "a", "labels": {"x": "y"}, "creationTimestamp": "2024-01-01T00:00:00Z"}});
        let activation = Activation::new()
            .with("request", Value::from_json(&asked, Some(&request)))
            .with(
                "namespaceObject",
                Value::from_json(&within, Some(&namespace)),
            )
            .with("oldObject", Value::Null);
        for expression in [
            "request.operation == 'CREATE' && request.namespace == 'a' && !request.dryRun",
            "'g' in request.userInfo.groups && !has(request.userInfo.uid) && oldObject == null",
            "namespaceObject.metadata.labels.x == 'y' && namespaceObject.metadata.creationTimestamp < timestamp('2025-01-01T00:00:00Z')",
        ] {
            let program = environment.compile(expression).unwrap();
            let value = program.evaluate(&activation, &mut Budget::default());
            assert_eq!(value.map(|v| v.as_bool()), Ok(Some(true)), "{expression}");
        }
        let error = environment.compile("request.nope == 1").unwrap_err();
        assert_eq!(error.issues()[0].message, "undefined field 'nope'");
    }
}
