//! Groups of the Kubernetes community may be used with an approval alone, which an annotation states.

use apimachinery::{Object, meta};

use super::conditions::{API_APPROVAL, Condition};
use crate::lookup;

const ANNOTATION: &str = "api-approved.kubernetes.io";
const POLICY: &str = "see https://github.com/kubernetes/enhancements/pull/1111";

/// What is to be said of a definition's approval; `None` for groups that need none.
pub(super) fn judge(definition: &Object) -> Option<Condition> {
    let group = lookup::text(definition, &["spec", "group"]);
    let protected = ["k8s.io", "kubernetes.io"].iter().any(|domain| {
        group
            .strip_suffix(domain)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    if !protected {
        return None;
    }
    let said =
        |status, reason, message| Some(Condition::new(API_APPROVAL, status, reason, message));
    let annotation = meta::annotation(definition, ANNOTATION).unwrap_or_default();
    if annotation.is_empty() {
        let message =
            format!("protected groups must have approval annotation {ANNOTATION:?}, {POLICY}");
        return said(false, "MissingAnnotation", message);
    }
    if annotation.starts_with("unapproved") {
        return said(
            false,
            "UnapprovedAnnotation",
            format!("not approved: {annotation:?}"),
        );
    }
    if is_url(annotation) {
        return said(
            true,
            "ApprovedAnnotation",
            format!("approved in {annotation}"),
        );
    }
    let message = format!(
        "protected groups must have approval annotation {ANNOTATION:?} with either a URL or a reason starting with \"unapproved\", {POLICY}"
    );
    said(false, "InvalidAnnotation", message)
}

/// Whether it names a scheme and a host.
fn is_url(text: &str) -> bool {
    text.parse::<http::Uri>()
        .is_ok_and(|uri| uri.scheme().is_some() && uri.host().is_some_and(|host| !host.is_empty()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reason(group: &str, annotation: Option<&str>) -> Option<(&'static str, bool)> {
        let mut object = json!({"metadata": {}, "spec": {"group": group}});
        if let Some(annotation) = annotation {
            object["metadata"]["annotations"] = json!({ ANNOTATION: annotation });
        }
        judge(object.as_object().unwrap()).map(|condition| (condition.reason, condition.status))
    }

    #[test]
    fn approvals() {
        assert_eq!(reason("example.com", None), None);
        assert_eq!(reason("notk8s.io", None), None);
        assert_eq!(reason("x.k8s.io", None), Some(("MissingAnnotation", false)));
        assert_eq!(
            reason("kubernetes.io", Some("why")),
            Some(("InvalidAnnotation", false))
        );
        assert_eq!(
            reason("x.k8s.io", Some("unapproved, an experiment")),
            Some(("UnapprovedAnnotation", false))
        );
        assert_eq!(
            reason(
                "x.k8s.io",
                Some("https://github.com/kubernetes/enhancements/pull/1")
            ),
            Some(("ApprovedAnnotation", true))
        );
    }
}
