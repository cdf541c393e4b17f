//! The `AdmissionRequest` without uid and objects: the heart of what webhooks are asked, and what expressions see as `request`.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::{Value, json};

use super::{Admission, matching::Invocation};

/// As JSON.
pub(super) fn of(admission: &Admission<'_>, invocation: &Invocation) -> Object {
    let info = admission.request;
    let user = admission.user;
    let own = info.gvr();
    let mut user_info = json!({ "username": user.name });
    if !user.uid.is_empty() {
        user_info["uid"] = json!(user.uid);
    }
    if !user.groups.is_empty() {
        user_info["groups"] = json!(user.groups);
    }
    if !user.extra.is_empty() {
        user_info["extra"] = json!(user.extra);
    }
    let request = json!({
        "kind": kind_value(&invocation.kind),
        "resource": resource_value(&invocation.resource),
        "requestKind": kind_value(admission.kind),
        "requestResource": resource_value(&own),
        "operation": admission.operation.name(),
        "userInfo": user_info,
        "dryRun": admission.dry_run,
        "options": if admission.options.is_empty() { Value::Null } else { json!(admission.options) },
    });
    let mut request = request.as_object().cloned().unwrap_or_default();
    for (name, value) in [
        ("subResource", info.subresource.as_str()),
        ("requestSubResource", info.subresource.as_str()),
        ("name", admission.object_name()),
        ("namespace", admission.namespace()),
    ] {
        if !value.is_empty() {
            request.insert(name.to_owned(), value.into());
        }
    }
    request
}

fn kind_value(kind: &GroupVersionKind) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

fn resource_value(resource: &GroupVersionResource) -> Value {
    json!({"group": resource.group, "version": resource.version, "resource": resource.resource})
}
