//! Devices may be had beside those who use them only in namespaces that say so with a label.

use apimachinery::{
    Object,
    field::{FieldError, Path},
    gvk::GroupResource,
    meta,
};

use crate::{lookup, reader::ObjectReader};

const LABEL: &str = "resource.kubernetes.io/admin-access";

/// What is wrong with a new ResourceClaim or ResourceClaimTemplate that asks for it where it may not be had.
pub(super) fn complaint(
    reader: &dyn ObjectReader,
    resource: &GroupResource,
    object: &Object,
) -> Option<FieldError> {
    let requests: &[&str] = match &*resource.resource {
        "resourceclaims" => &["spec", "devices", "requests"],
        "resourceclaimtemplates" => &["spec", "spec", "devices", "requests"],
        _ => return None,
    };
    if &*resource.group != "resource.k8s.io" {
        return None;
    }
    let asks = |request: &Object| {
        lookup::map(request, &["exactly"])
            .and_then(|exactly| exactly.get("adminAccess"))
            .is_some_and(|asked| asked == true)
    };
    let index = lookup::objects(object, requests).position(asks)?;
    // Upstream names the claim's path in a template also.
    let path = Path::new("spec").child("devices").child("requests");
    let path = path.index(index).child("adminAccess");
    let namespace = meta::namespace(object);
    let found = reader.get(&GroupResource::new("", "namespaces"), "", namespace);
    let Some(found) = found else {
        let detail = format!(
            "could not retrieve namespace to verify admin access: namespaces {namespace:?} not found"
        );
        return Some(FieldError::internal(&path, detail));
    };
    (meta::label(&found, LABEL) != Some("true")).then(|| {
        let detail = format!(
            "admin access to devices requires the `{LABEL}: true` label on the containing namespace"
        );
        FieldError::forbidden(&path, detail)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::memory_reader::MemoryReader;

    #[test]
    fn a_label_on_the_namespace_allows_it() {
        let complaint = |labels: Value, resource: &'static str, object: Value| {
            let namespace = json!({"metadata": {"name": "n", "labels": labels}});
            let reader = MemoryReader::with([("namespaces", namespace)]);
            let resource = GroupResource::new("resource.k8s.io", resource);
            complaint(reader.as_ref(), &resource, object.as_object().unwrap())
                .map(|it| it.to_string())
        };
        let claim = |admin: bool| {
            let requests = json!([{"name": "a"}, {"name": "b", "exactly": {"adminAccess": admin}}]);
            json!({"metadata": {"namespace": "n"}, "spec": {"devices": {"requests": requests}}})
        };
        assert_eq!(complaint(json!({}), "resourceclaims", claim(false)), None);
        assert_eq!(
            complaint(json!({LABEL: "true"}), "resourceclaims", claim(true)),
            None
        );
        let forbidden = Some(
            "spec.devices.requests[1].adminAccess: Forbidden: admin access to devices requires the \
             `resource.kubernetes.io/admin-access: true` label on the containing namespace"
                .to_owned(),
        );
        assert_eq!(
            complaint(json!({LABEL: "yes"}), "resourceclaims", claim(true)),
            forbidden
        );
        let template =
            json!({"metadata": {"namespace": "n"}, "spec": {"spec": claim(true)["spec"]}});
        assert_eq!(
            complaint(json!({}), "resourceclaimtemplates", template),
            forbidden
        );
    }
}
