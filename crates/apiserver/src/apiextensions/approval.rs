//! Groups of the Kubernetes community may be used with an approval alone, which an annotation states.

use ::apiextensions::validation::{Approval, approval, is_protected};
use apimachinery::Object;

use super::conditions::{API_APPROVAL, Condition};
use crate::lookup;

/// What is to be said of a definition's approval; `None` for groups that need none.
pub(super) fn judge(definition: &Object) -> Option<Condition> {
    if !is_protected(lookup::text(definition, &["spec", "group"])) {
        return None;
    }
    let (approval, message) = approval(definition);
    let (status, reason) = match approval {
        Approval::Missing => (false, "MissingAnnotation"),
        Approval::Bypassed => (false, "UnapprovedAnnotation"),
        Approval::Approved => (true, "ApprovedAnnotation"),
        Approval::Invalid => (false, "InvalidAnnotation"),
    };
    Some(Condition::new(API_APPROVAL, status, reason, message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reason(group: &str, annotation: Option<&str>) -> Option<(&'static str, bool)> {
        const ANNOTATION: &str = "api-approved.kubernetes.io";
        let mut object = json!({"metadata": {}, "spec": {"group": group}});
        if let Some(annotation) = annotation {
            object["metadata"]["annotations"] = json!({ ANNOTATION: annotation });
        }
        judge(object.as_object().unwrap())
            .map(|condition| (condition.reason, condition.status == Some(true)))
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
