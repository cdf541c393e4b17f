//! PodSecurity: namespaces say by labels how far pods may go (Pod Security Standards); pods beyond it are refused or warned of.

mod checks;
mod policy;

use std::{collections::BTreeMap, sync::Arc};

use apimachinery::{Object, gvk::GroupResource, meta, status::Status};
use async_trait::async_trait;
use serde_json::Value;

use self::{
    checks::{Violation, metadata, violations},
    policy::{Level, LevelVersion, Policy},
};
use super::{Admission, Operation, Plugin};
use crate::{lookup, reader::ObjectReader};

const NAMESPACES: GroupResource = GroupResource::new("", "namespaces");
const PODS: GroupResource = GroupResource::new("", "pods");
/// So many pods of a namespace are looked at when its level is raised.
const MAX_PODS: usize = 3000;

/// Resources with a pod template, and where it is.
const TEMPLATES: &[(&str, &str, &[&str])] = &[
    ("", "podtemplates", &["template"]),
    ("", "replicationcontrollers", &["spec", "template"]),
    ("apps", "daemonsets", &["spec", "template"]),
    ("apps", "deployments", &["spec", "template"]),
    ("apps", "replicasets", &["spec", "template"]),
    ("apps", "statefulsets", &["spec", "template"]),
    (
        "batch",
        "cronjobs",
        &["spec", "jobTemplate", "spec", "template"],
    ),
    ("batch", "jobs", &["spec", "template"]),
];

pub(super) struct PodSecurity {
    reader: Arc<dyn ObjectReader>,
}

impl PodSecurity {
    pub(super) fn new(reader: Arc<dyn ObjectReader>) -> Self {
        Self { reader }
    }

    fn policy(&self, admission: &Admission<'_>) -> Policy {
        let namespace = self
            .reader
            .get(&NAMESPACES, "", &admission.request.namespace);
        namespace
            .map(|namespace| Policy::of(&namespace).0)
            .unwrap_or_default()
    }

    /// What happens to pods that are there when the level is raised: nothing, but who raises it is told.
    fn existing_pods(&self, namespace: &str, enforce: LevelVersion) -> Vec<String> {
        let mut by_reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pod in self.reader.list(&PODS, namespace).iter().take(MAX_PODS) {
            let found = of_pod(pod, enforce);
            if !found.is_empty() {
                let reasons: Vec<&str> = found
                    .iter()
                    .map(|violation| violation.reason.as_str())
                    .collect();
                by_reasons
                    .entry(reasons.join(", "))
                    .or_default()
                    .push(meta::name(pod).to_owned());
            }
        }
        let mut lines: Vec<String> = by_reasons
            .into_iter()
            .map(|(reasons, names)| match names.as_slice() {
                [only] => format!("{only}: {reasons}"),
                [first, others @ ..] => {
                    let noun = if others.len() == 1 { "pod" } else { "pods" };
                    format!("{first} (and {} other {noun}): {reasons}", others.len())
                }
                [] => reasons,
            })
            .collect();
        lines.sort_unstable();
        if !lines.is_empty() {
            lines.insert(
                0,
                format!("existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{enforce}\""),
            );
        }
        lines
    }
}

#[async_trait]
impl Plugin for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    /// Warns; refusing is for the validating phase.
    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        let Some(object) = admission.new_object() else {
            return Ok(());
        };
        let warnings = if admission.is("", "namespaces") {
            let (new, errors) = Policy::of(object);
            let old = admission.old_object.map(|old| Policy::of(old).0);
            match old {
                Some(old)
                    if errors.is_empty()
                        && new.enforce != old.enforce
                        && new.enforce.level != Level::Privileged =>
                {
                    self.existing_pods(meta::name(object), new.enforce)
                }
                _ => Vec::new(),
            }
        } else if is_pod(admission) {
            if is_significant(admission) {
                let policy = self.policy(admission);
                let refused = !of_pod(object, policy.enforce).is_empty();
                let found = if refused {
                    Vec::new()
                } else {
                    of_pod(object, policy.warn)
                };
                warn(found, policy.warn)
            } else {
                Vec::new()
            }
        } else if let Some(template) = template(admission, object) {
            let warn_level = self.policy(admission).warn;
            let spec = lookup::map(template, &["spec"])
                .cloned()
                .unwrap_or_default();
            warn(
                violations(&metadata(template), &spec, warn_level),
                warn_level,
            )
        } else {
            Vec::new()
        };
        for warning in warnings {
            admission.notes.warn(warning);
        }
        Ok(())
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        let Some(object) = admission.new_object() else {
            return Ok(());
        };
        if admission.is("", "namespaces") {
            let (_, errors) = Policy::of(object);
            // What was wrong before does not keep a namespace from being changed otherwise.
            let unchanged = admission
                .old_object
                .is_some_and(|old| Policy::of(old).1 == errors);
            if !errors.is_empty() && !unchanged {
                return Err(Status::invalid(
                    "",
                    "Namespace",
                    meta::name(object),
                    &errors,
                ));
            }
            return Ok(());
        }
        if !is_pod(admission) || !is_significant(admission) {
            return Ok(());
        }
        let enforce = self.policy(admission).enforce;
        let found = of_pod(object, enforce);
        if found.is_empty() {
            return Ok(());
        }
        Err(admission.forbidden(format!(
            "violates PodSecurity \"{enforce}\": {}",
            describe(&found)
        )))
    }
}

fn is_pod(admission: &Admission<'_>) -> bool {
    admission.is("", "pods") || admission.is_subresource("", "pods", "ephemeralcontainers")
}

/// An update counts if it changes what runs; everything else of a pod's security cannot be changed.
fn is_significant(admission: &Admission<'_>) -> bool {
    let (Some(old), Some(new)) = (admission.old_object, admission.new_object()) else {
        return true;
    };
    let images = |pod: &Object| -> Vec<String> {
        ["initContainers", "containers", "ephemeralContainers"]
            .into_iter()
            .flat_map(|field| lookup::list(pod, &["spec", field]))
            .filter_map(Value::as_object)
            .map(|container| lookup::text(container, &["image"]).to_owned())
            .collect()
    };
    images(old) != images(new)
}

fn template<'a>(admission: &Admission<'_>, object: &'a Object) -> Option<&'a Object> {
    let (_, _, path) = TEMPLATES
        .iter()
        .find(|(group, resource, _)| admission.is(group, resource))?;
    lookup::map(object, path)
}

fn of_pod(pod: &Object, policy: LevelVersion) -> Vec<Violation> {
    if policy.level == Level::Privileged {
        return Vec::new();
    }
    let spec = lookup::map(pod, &["spec"]);
    spec.map(|spec| violations(&metadata(pod), spec, policy))
        .unwrap_or_default()
}

fn describe(found: &[Violation]) -> String {
    found
        .iter()
        .map(Violation::describe)
        .collect::<Vec<_>>()
        .join(", ")
}

fn warn(found: Vec<Violation>, level: LevelVersion) -> Vec<String> {
    if found.is_empty() {
        Vec::new()
    } else {
        vec![format!(
            "would violate PodSecurity \"{level}\": {}",
            describe(&found)
        )]
    }
}
