//! Which requests a webhook or a policy is for: rules, namespace selector, object selector, and the same objects in other versions
//! (`matchPolicy: Equivalent`).

use std::sync::Arc;

use apimachinery::{
    Object,
    gvk::{GroupResource, GroupVersionKind, GroupVersionResource},
    labels::Selector,
    meta,
    status::Status,
};

use super::{Admission, Operation, Resources};
use crate::{lookup, reader::ObjectReader};

const NAMESPACES: GroupResource = GroupResource::new("", "namespaces");

/// What a request is asked about in: its own resource and kind, or those of an equivalent version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Invocation {
    pub(super) resource: GroupVersionResource,
    pub(super) kind: GroupVersionKind,
}

/// Compiled `rules`, `namespaceSelector`, `objectSelector` and `matchPolicy`.
#[derive(Debug)]
pub(super) struct Matcher {
    /// Of policies that name none, everything matches; of webhooks nothing.
    rules: Option<Vec<Rule>>,
    exclude: Vec<Rule>,
    equivalent: bool,
    namespaces: Result<Selector, String>,
    objects: Result<Selector, String>,
}

#[derive(Debug)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<(String, String)>,
    names: Vec<String>,
    scope: Scope,
}

#[derive(Clone, Copy, Debug)]
enum Scope {
    All,
    Namespaced,
    Cluster,
    Neither,
}

impl Matcher {
    /// Of a webhook.
    pub(super) fn of_webhook(webhook: &Object) -> Self {
        let mut matcher = Self::of(webhook);
        matcher.rules = Some(rules(webhook, "rules"));
        matcher
    }

    /// Of a policy's `matchConstraints` or a binding's `matchResources`.
    pub(super) fn of_policy(resources: &Object) -> Self {
        let mut matcher = Self::of(resources);
        matcher.rules = Some(rules(resources, "resourceRules")).filter(|rules| !rules.is_empty());
        matcher.exclude = rules(resources, "excludeResourceRules");
        matcher
    }

    fn of(object: &Object) -> Self {
        Self {
            rules: None,
            exclude: Vec::new(),
            equivalent: lookup::text(object, &["matchPolicy"]) != "Exact",
            namespaces: Selector::from_object(
                lookup::map(object, &["namespaceSelector"]).or(Some(&Object::new())),
            ),
            objects: Selector::from_object(
                lookup::map(object, &["objectSelector"]).or(Some(&Object::new())),
            ),
        }
    }

    /// In which version the request is for it, if it is. What goes wrong in selecting matters only if all else matches.
    pub(super) async fn matches(
        &self,
        admission: &Admission<'_>,
        reader: &Arc<dyn ObjectReader>,
        resources: &dyn Resources,
    ) -> Result<Option<Invocation>, Status> {
        let Some(invocation) = self.by_rules(admission, resources) else {
            return Ok(None);
        };
        match self.by_object(admission) {
            Ok(false) => return Ok(None),
            Ok(true) => {}
            Err(error) => {
                return match self.by_namespace(admission, reader).await {
                    Ok(false) => Ok(None),
                    Err(first) => Err(first),
                    Ok(true) => Err(error),
                };
            }
        }
        let selected = self.by_namespace(admission, reader).await?;
        Ok(selected.then_some(invocation))
    }

    fn by_rules(&self, admission: &Admission<'_>, resources: &dyn Resources) -> Option<Invocation> {
        let own = Invocation {
            resource: admission.request.gvr(),
            kind: admission.kind.clone(),
        };
        if !self.exclude.is_empty()
            && self
                .first(&self.exclude, admission, &own, resources)
                .is_some()
        {
            return None;
        }
        match &self.rules {
            None => Some(own),
            Some(rules) => self.first(rules, admission, &own, resources),
        }
    }

    /// The request's own resource by any rule; else the first rule that matches an equivalent.
    fn first(
        &self,
        rules: &[Rule],
        admission: &Admission<'_>,
        own: &Invocation,
        resources: &dyn Resources,
    ) -> Option<Invocation> {
        if rules
            .iter()
            .any(|rule| rule.matches(admission, &own.resource))
        {
            return Some(own.clone());
        }
        // Most rules are about other resources altogether: no need to look for equivalents of this one.
        if !self.equivalent
            || !rules
                .iter()
                .any(|rule| rule.may_match_version_of(admission))
        {
            return None;
        }
        let equivalents = resources.equivalents(&own.resource, &admission.request.subresource);
        rules.iter().find_map(|rule| {
            let equivalent = equivalents
                .iter()
                .find(|equivalent| rule.matches(admission, &equivalent.resource))?;
            Some(Invocation {
                resource: equivalent.resource.clone(),
                kind: equivalent.kind.clone(),
            })
        })
    }

    fn by_object(&self, admission: &Admission<'_>) -> Result<bool, Status> {
        let selector = self.objects.as_ref().map_err(Status::internal)?;
        let selects = |object: Option<&Object>| {
            object.is_some_and(|object| selector.matches(meta::labels(object)))
        };
        Ok(selector.is_everything()
            || selects(admission.new_object())
            || selects(admission.old_object))
    }

    async fn by_namespace(
        &self,
        admission: &Admission<'_>,
        reader: &Arc<dyn ObjectReader>,
    ) -> Result<bool, Status> {
        let name = admission.namespace();
        if name.is_empty() && admission.request.resource != "namespaces" {
            return Ok(true);
        }
        let selector = self.namespaces.as_ref().map_err(Status::internal)?;
        if selector.is_everything() {
            return Ok(true);
        }
        // The cache does not know yet what a namespace will be.
        let writes = matches!(admission.operation, Operation::Create | Operation::Update);
        if writes && admission.is("", "namespaces") {
            return Ok(selector.matches(admission.new_object().and_then(meta::labels)));
        }
        let namespace = namespace(reader, name).await?;
        Ok(selector.matches(meta::labels(&namespace)))
    }
}

/// A namespace; if the cache has none of that name, the store is asked.
pub(super) async fn namespace(
    reader: &Arc<dyn ObjectReader>,
    name: &str,
) -> Result<Arc<Object>, Status> {
    let found = match reader.get(&NAMESPACES, "", name) {
        Some(found) => Some(found),
        None => reader.get_fresh(&NAMESPACES, "", name).await?,
    };
    found.ok_or_else(|| Status::not_found(&NAMESPACES, name))
}

fn rules(object: &Object, list: &str) -> Vec<Rule> {
    lookup::objects(object, &[list]).map(Rule::of).collect()
}

impl Rule {
    fn of(rule: &Object) -> Self {
        let strings = |name: &str| lookup::strings(rule, &[name]);
        Self {
            operations: strings("operations"),
            groups: strings("apiGroups"),
            versions: strings("apiVersions"),
            resources: strings("resources")
                .into_iter()
                .map(|resource| match resource.split_once('/') {
                    Some((resource, subresource)) => (resource.to_owned(), subresource.to_owned()),
                    None => (resource, String::new()),
                })
                .collect(),
            names: strings("resourceNames"),
            scope: match lookup::text(rule, &["scope"]) {
                "" | "*" => Scope::All,
                "Namespaced" => Scope::Namespaced,
                "Cluster" => Scope::Cluster,
                _ => Scope::Neither,
            },
        }
    }

    fn matches(&self, admission: &Admission<'_>, resource: &GroupVersionResource) -> bool {
        self.has_operation(admission.operation)
            && self.has_scope(admission, resource)
            && any_or(&self.groups, &resource.group)
            && any_or(&self.versions, &resource.version)
            && self.resources.iter().any(|(wanted, subresource)| {
                (wanted == "*" || *wanted == *resource.resource)
                    && (subresource == "*" || *subresource == admission.request.subresource)
            })
            && (self.names.is_empty()
                || self
                    .names
                    .iter()
                    .any(|name| name == admission.object_name()))
    }

    /// Whether it could be about the request's objects under another name.
    fn may_match_version_of(&self, admission: &Admission<'_>) -> bool {
        self.has_operation(admission.operation)
            && self.resources.iter().any(|(_, subresource)| {
                subresource == "*" || *subresource == admission.request.subresource
            })
    }

    fn has_operation(&self, operation: Operation) -> bool {
        any_or(&self.operations, operation.name())
    }

    fn has_scope(&self, admission: &Admission<'_>, resource: &GroupVersionResource) -> bool {
        // Namespaces stand in their own namespace, and are of the cluster nevertheless.
        let is_namespace = resource.group.is_empty() && resource.resource == "namespaces";
        let in_cluster = is_namespace || admission.namespace().is_empty();
        match self.scope {
            Scope::All => true,
            Scope::Namespaced => !in_cluster,
            Scope::Cluster => in_cluster,
            Scope::Neither => false,
        }
    }
}

fn any_or(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

/// The kinds that configure admission are not subject to it, lest nobody could repair a broken configuration.
pub(super) fn is_exempt(kind: &GroupVersionKind) -> bool {
    kind.group == "admissionregistration.k8s.io"
        && matches!(
            kind.kind.as_ref(),
            "ValidatingWebhookConfiguration"
                | "MutatingWebhookConfiguration"
                | "ValidatingAdmissionPolicy"
                | "ValidatingAdmissionPolicyBinding"
                | "MutatingAdmissionPolicy"
                | "MutatingAdmissionPolicyBinding"
        )
}
