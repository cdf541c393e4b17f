//! The `authorization.k8s.io` reviews: may this subject do that, may I, and what may I do here.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    internal,
    validate::{invalid_shown, text},
};
use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupResource, GroupVersion},
    names,
    status::Status,
};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{
    Attributes, Authorizer, Decision,
    review_selector::{ReviewSelector, Sort},
};
use crate::{
    lookup,
    request_info::RequestInfo,
    user::UserInfo,
    virtual_resource::{Question, VirtualResource},
};

const GROUP: &str = "authorization.k8s.io";

/// Whom an access review is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `subjectaccessreviews`: the user in the spec.
    Subject,
    /// `localsubjectaccessreviews`: the same, in one namespace.
    LocalSubject,
    /// `selfsubjectaccessreviews`: the asker.
    SelfSubject,
}

/// Answers the three access reviews.
pub struct AccessReview {
    /// Which of them.
    pub scope: Scope,
    /// Decides.
    pub authorizer: Arc<dyn Authorizer>,
}

#[async_trait]
impl VirtualResource for AccessReview {
    fn resource(&self) -> GroupResource {
        GroupResource::new(
            GROUP,
            match self.scope {
                Scope::Subject => "subjectaccessreviews",
                Scope::LocalSubject => "localsubjectaccessreviews",
                Scope::SelfSubject => "selfsubjectaccessreviews",
            },
        )
    }

    async fn create(&self, question: Question<'_>) -> Result<Object, Status> {
        let Question {
            user: asker,
            request: info,
            object: mut review,
        } = question;
        let errors = validate(&review, self.scope);
        if !errors.is_empty() {
            // Upstream names no kind here.
            return Err(Status::invalid(GROUP, "", "", &errors));
        }
        if self.scope == Scope::LocalSubject {
            let asked = lookup::text(&review, &["spec", "resourceAttributes", "namespace"]);
            if asked != info.namespace {
                let message = format!(
                    "spec.resourceAttributes.namespace must match namespace: {}",
                    info.namespace
                );
                return Err(Status::bad_request(message));
            }
        }
        let user = match self.scope {
            Scope::SelfSubject => asker.clone(),
            Scope::Subject | Scope::LocalSubject => subject(&review),
        };
        let (request, complaints) = request_of(&review);
        let (decision, reason) = self
            .authorizer
            .authorize(Attributes {
                user: &user,
                request: &request,
            })
            .await;
        let mut status = json!({"allowed": decision == Decision::Allow});
        if decision == Decision::Deny {
            status["denied"] = true.into();
        }
        if !reason.is_empty() {
            status["reason"] = reason.into();
        }
        if !complaints.is_empty() {
            status["evaluationError"] = complaints.join("; ").into();
        }
        review.insert("status".to_owned(), status);
        Ok(review)
    }
}

fn subject(review: &Object) -> UserInfo {
    let extra: BTreeMap<String, Vec<String>> = lookup::map(review, &["spec", "extra"])
        .into_iter()
        .flatten()
        .map(|(key, values)| {
            let values = values
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned);
            (key.to_ascii_lowercase(), values.collect())
        })
        .collect();
    UserInfo {
        name: lookup::text(review, &["spec", "user"]).to_owned(),
        uid: lookup::text(review, &["spec", "uid"]).to_owned(),
        groups: lookup::strings(review, &["spec", "groups"]),
        extra,
    }
}

/// The request that the review asks about, and what of it was not understood.
fn request_of(review: &Object) -> (RequestInfo, Vec<String>) {
    if let Some(attributes) = lookup::map(review, &["spec", "nonResourceAttributes"]) {
        let request = RequestInfo {
            path: lookup::text(attributes, &["path"]).to_owned(),
            verb: lookup::text(attributes, &["verb"]).to_owned(),
            ..RequestInfo::default()
        };
        return (request, Vec::new());
    }
    let none = Object::new();
    let attributes = lookup::map(review, &["spec", "resourceAttributes"]).unwrap_or(&none);
    let field = |name: &str| lookup::text(attributes, &[name]).to_owned();
    let fields = ReviewSelector::of(attributes, Sort::Fields);
    let labels = ReviewSelector::of(attributes, Sort::Labels);
    let request = RequestInfo {
        is_resource: true,
        verb: field("verb"),
        group_version: GroupVersion {
            group: field("group").into(),
            version: field("version").into(),
        },
        namespace: field("namespace"),
        resource: field("resource"),
        subresource: field("subresource"),
        name: field("name"),
        field_selector: fields.text,
        label_selector: labels.text,
        ..RequestInfo::default()
    };
    let complaints = [fields.complaint, labels.complaint];
    (request, complaints.into_iter().flatten().collect())
}

fn validate(review: &Object, scope: Scope) -> ErrorList {
    let spec = Path::new("spec");
    let mut errors = ErrorList::new();
    let resource = lookup::map(review, &["spec", "resourceAttributes"]);
    let path = lookup::map(review, &["spec", "nonResourceAttributes"]);
    // Shown as upstream's internal type prints.
    let shown = |attributes: &Object| {
        let text = |name: &str| lookup::text(attributes, &[name]).to_owned();
        json!({"Path": text("path"), "Verb": text("verb")})
    };
    match (resource, path) {
        (Some(_), Some(attributes)) => {
            let detail = "cannot be specified in combination with resourceAttributes";
            errors.push(FieldError::invalid(
                &spec.child("nonResourceAttributes"),
                shown(attributes),
                detail,
            ));
        }
        (None, None) => {
            let detail =
                "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            errors.push(FieldError::invalid(
                &spec.child("resourceAttributes"),
                Value::Null,
                detail,
            ));
        }
        _ => {}
    }
    if scope != Scope::SelfSubject
        && lookup::text(review, &["spec", "user"]).is_empty()
        && lookup::list(review, &["spec", "groups"]).is_empty()
    {
        let detail = "at least one of user or group must be specified";
        errors.push(FieldError::invalid(&spec.child("user"), "", detail));
    }
    if let Some(attributes) = resource {
        let at = spec.child("resourceAttributes");
        for (name, sort) in [
            ("fieldSelector", Sort::Fields),
            ("labelSelector", Sort::Labels),
        ] {
            if let Some(selector) = lookup::map(attributes, &[name]) {
                validate_selector(selector, sort, &at.child(name), &mut errors);
            }
        }
    }
    validate_metadata(review, scope, &mut errors);
    if scope == Scope::LocalSubject {
        let own = lookup::text(review, &["metadata", "namespace"]);
        let asked = lookup::text(review, &["spec", "resourceAttributes", "namespace"]);
        if resource.is_some() && asked != own {
            errors.push(FieldError::invalid(
                &spec.child("resourceAttributes").child("namespace"),
                asked,
                "must match metadata.namespace",
            ));
        }
        if let Some(attributes) = path {
            errors.push(FieldError::invalid(
                &spec.child("nonResourceAttributes"),
                shown(attributes),
                "disallowed on this kind of request",
            ));
        }
    }
    errors
}

/// A question has no name, and nothing else that objects have.
fn validate_metadata(review: &Object, scope: Scope, errors: &mut ErrorList) {
    const METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    let local = scope == Scope::LocalSubject;
    let Some(metadata) = lookup::map(review, &["metadata"]) else {
        return;
    };
    let allowed = |name: &str| name == "managedFields" || (local && name == "namespace");
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    if metadata
        .iter()
        .any(|(name, value)| !allowed(name) && !empty(value))
    {
        errors.push(invalid_shown(
            &Path::new("metadata"),
            &internal::shown(METADATA, review.get("metadata")),
            match local {
                true => "must be empty except for namespace",
                false => "must be empty",
            },
        ));
    }
}

fn validate_selector(selector: &Object, sort: Sort, at: &Path, errors: &mut ErrorList) {
    let raw = lookup::text(selector, &["rawSelector"]);
    let requirements = lookup::list(selector, &["requirements"]);
    match (raw.is_empty(), requirements.is_empty()) {
        (false, false) => {
            let detail = "may not specified at the same time as requirements";
            errors.push(FieldError::invalid(&at.child("rawSelector"), raw, detail));
        }
        (true, true) => {
            let detail = format!("when {at} is specified, requirements or rawSelector is required");
            errors.push(FieldError::required(&at.child("requirements"), detail));
        }
        _ => {}
    }
    for (index, requirement) in lookup::objects(selector, &["requirements"]).enumerate() {
        let at = at.child("requirements").index(index);
        let key = lookup::text(requirement, &["key"]);
        if sort == Sort::Fields && key.is_empty() {
            errors.push(FieldError::required(&at.child("key"), "must be specified"));
        }
        let values = lookup::list(requirement, &["values"]);
        match lookup::text(requirement, &["operator"]) {
            "In" | "NotIn" if values.is_empty() => {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(FieldError::required(&at.child("values"), detail));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(FieldError::forbidden(&at.child("values"), detail));
            }
            // A newer client may know others: they are left out of the selector.
            _ => {}
        }
        if sort == Sort::Labels {
            text(errors, &at.child("key"), key, names::qualified_name(key));
            for (index, value) in lookup::strings(requirement, &["values"]).iter().enumerate() {
                let at = at.child("values").index(index);
                text(errors, &at, value, names::label_value(value));
            }
        }
    }
}

/// Answers `selfsubjectrulesreviews`: what `kubectl auth can-i --list` shows.
pub struct SelfSubjectRulesReview {
    /// Knows the rules.
    pub authorizer: Arc<dyn Authorizer>,
}

#[async_trait]
impl VirtualResource for SelfSubjectRulesReview {
    fn resource(&self) -> GroupResource {
        GroupResource::new(GROUP, "selfsubjectrulesreviews")
    }

    async fn create(&self, question: Question<'_>) -> Result<Object, Status> {
        let mut review = question.object;
        let namespace = lookup::text(&review, &["spec", "namespace"]).to_owned();
        if namespace.is_empty() {
            return Err(Status::bad_request("no namespace on request"));
        }
        let resolved = self.authorizer.rules_for(question.user, &namespace);
        let mut rules = resolved.rules;
        rules.sort_by(|a, b| {
            (&a.api_groups, &a.resources, &a.non_resource_urls).cmp(&(
                &b.api_groups,
                &b.resources,
                &b.non_resource_urls,
            ))
        });
        let (paths, resources): (Vec<_>, Vec<_>) =
            rules.iter().partition(|rule| rule.resources.is_empty());
        let values = |rules: Vec<&super::rbac::PolicyRule>| -> Vec<Value> {
            rules
                .into_iter()
                .map(super::rbac::PolicyRule::to_value)
                .collect()
        };
        let mut status = json!({
            "resourceRules": values(resources),
            "nonResourceRules": values(paths),
            "incomplete": !resolved.errors.is_empty(),
        });
        if !resolved.errors.is_empty() {
            status["evaluationError"] = resolved.errors.join(", ").into();
        }
        // The answer is a new object: what was asked is not shown again.
        review.insert("metadata".to_owned(), json!({}));
        review.insert("spec".to_owned(), json!({}));
        review.insert("status".to_owned(), status);
        Ok(review)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(scope: Scope, review: Value) -> Vec<String> {
        let errors = validate(review.as_object().unwrap(), scope);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_question_has_no_name_and_a_local_one_is_about_its_namespace() {
        let spec = json!({"user": "u", "resourceAttributes": {"namespace": "b"}});
        assert_eq!(
            complaints(
                Scope::Subject,
                json!({"metadata": {"name": "x", "labels": {"a": "b"}}, "spec": spec})
            ),
            [r#"metadata: Invalid value: {"name":"x","labels":{"a":"b"}}: must be empty"#]
        );
        assert_eq!(
            complaints(
                Scope::LocalSubject,
                json!({"metadata": {"namespace": "a"}, "spec": spec})
            ),
            [
                r#"spec.resourceAttributes.namespace: Invalid value: "b": must match metadata.namespace"#
            ]
        );
        let path = json!({"user": "u", "nonResourceAttributes": {"path": "/"}});
        assert_eq!(
            complaints(
                Scope::LocalSubject,
                json!({"metadata": {"namespace": "a"}, "spec": path})
            ),
            [
                r#"spec.nonResourceAttributes: Invalid value: {"Path":"/","Verb":""}: disallowed on this kind of request"#
            ]
        );
    }

    #[test]
    fn unknown_operators_are_let_through_and_label_keys_are_not() {
        let requirements =
            json!({"requirements": [{"key": "a b", "operator": "Foo", "values": ["x"]}]});
        let found = complaints(
            Scope::SelfSubject,
            json!({"spec": {"resourceAttributes": {
                "fieldSelector": requirements, "labelSelector": requirements,
            }}}),
        );
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(
            r#"spec.resourceAttributes.labelSelector.requirements[0].key: Invalid value: "a b": name part must"#
        ));
    }
}
