//! PodSecurity: namespaces say by labels how far pods may go (Pod Security Standards); pods beyond it are refused or warned of.

mod checks;
mod configuration;
mod policy;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use apimachinery::{Object, gvk::GroupResource, meta, status::Status};
use async_trait::async_trait;

use self::{
    checks::{Violation, metadata},
    configuration::Exemptions,
    policy::{Level, LevelVersion, PREFIX, Policy},
    table::violations,
};
use super::{
    Admission, AdmissionMetrics, Dependencies, Operation, Plugin, matching, pod_containers,
};
use crate::{lookup, reader::ObjectReader};

const PODS: GroupResource = GroupResource::new("", "pods");
/// The server's own version: rules of later ones are not known yet.
const CURRENT_MINOR: u32 = 36;
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
    metrics: AdmissionMetrics,
    /// What holds where a namespace says nothing.
    defaults: Policy,
    exemptions: Exemptions,
}

impl PodSecurity {
    pub(super) fn new(
        dependencies: &Dependencies,
        configuration: Option<&Object>,
    ) -> Result<Self, String> {
        let (defaults, exemptions) = configuration::read(configuration)?;
        Ok(Self {
            reader: Arc::clone(&dependencies.reader),
            metrics: dependencies.metrics.clone(),
            defaults,
            exemptions,
        })
    }

    /// It was not looked at.
    fn exempt(&self, admission: &Admission<'_>, by: &str) {
        annotate(admission, "exempt", by);
        self.metrics.pod_security_exemption(counted(admission));
    }

    /// It was held against a level.
    fn evaluated(&self, admission: &Admission<'_>, mode: &str, level: LevelVersion, refused: bool) {
        let version = match (level.level, level.minor) {
            (Level::Privileged, _) | (_, None) => "latest".to_owned(),
            (_, Some(minor)) if minor > CURRENT_MINOR => "future".to_owned(),
            (_, Some(minor)) => format!("v1.{minor}"),
        };
        let labels = (mode, level.level.name(), version.as_str());
        self.metrics
            .pod_security_evaluation(labels, refused, counted(admission));
    }

    /// What a request is exempt by, as the audit log has it.
    fn exemption(&self, admission: &Admission<'_>) -> Option<&'static str> {
        let is_in = |list: &[String], name: &str| list.iter().any(|listed| listed == name);
        if is_in(&self.exemptions.namespaces, admission.namespace()) {
            Some("namespace")
        } else if is_in(&self.exemptions.usernames, &admission.user.name) {
            Some("user")
        } else {
            None
        }
    }

    fn is_exempt_class(&self, spec: &Object) -> bool {
        let class = lookup::text(spec, &["runtimeClassName"]);
        !class.is_empty() && self.exemptions.runtime_classes.iter().any(|c| c == class)
    }

    /// A pod, or the template of pods, which is never refused: the pods will be.
    async fn evaluate(
        &self,
        admission: &Admission<'_>,
        pod: &Object,
        enforces: bool,
    ) -> Result<(), Status> {
        if let Some(by) = self.exemption(admission) {
            self.exempt(admission, by);
            return Ok(());
        }
        let name = admission.request.namespace.as_str();
        let Ok(namespace) = matching::namespace(&self.reader, name).await else {
            let failure = format!("failed to lookup namespace {name:?}");
            self.metrics.pod_security_error(true, counted(admission));
            if enforces {
                return Err(Status::internal(failure));
            }
            annotate(admission, "error", failure);
            return Ok(());
        };
        let (policy, errors) = Policy::of(&namespace, self.defaults);
        let Some(spec) = lookup::map(pod, &["spec"]) else {
            return Ok(());
        };
        if self.is_exempt_class(spec) {
            self.exempt(admission, "runtimeClass");
            return Ok(());
        }
        if !errors.is_empty() {
            self.metrics.pod_security_error(false, counted(admission));
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            let errors = match errors.as_slice() {
                [one] => one.clone(),
                many => format!("[{}]", many.join(", ")),
            };
            annotate(
                admission,
                "error",
                format!("Failed to parse policy: {errors}"),
            );
        } else if policy.is_privileged() {
            if enforces {
                annotate(admission, "enforce-policy", "privileged:latest");
                self.evaluated(admission, "enforce", policy.enforce, false);
            }
            return Ok(());
        }
        let would_violate = |level: LevelVersion, found: &[Violation]| {
            format!("would violate PodSecurity \"{level}\": {}", describe(found))
        };
        let refused = if enforces {
            annotate(admission, "enforce-policy", policy.enforce.to_string());
            let refused = of_pod(pod, policy.enforce);
            self.evaluated(admission, "enforce", policy.enforce, !refused.is_empty());
            refused
        } else {
            Vec::new()
        };
        let audited = of_pod(pod, policy.audit);
        if !audited.is_empty() {
            let violation = would_violate(policy.audit, &audited);
            annotate(admission, "audit-violations", violation);
            self.evaluated(admission, "audit", policy.audit, true);
        }
        if !refused.is_empty() {
            return Err(admission.forbidden(format!(
                "violates PodSecurity \"{}\": {}",
                policy.enforce,
                describe(&refused)
            )));
        }
        let warned = of_pod(pod, policy.warn);
        if !warned.is_empty() {
            admission.notes.warn(would_violate(policy.warn, &warned));
            self.evaluated(admission, "warn", policy.warn, true);
        }
        Ok(())
    }

    /// A namespace's labels have to be right, unless they were wrong before; who raises its level is told of pods beyond it.
    fn check_namespace(&self, admission: &Admission<'_>, namespace: &Object) -> Result<(), Status> {
        let (new, errors) = Policy::of(namespace, self.defaults);
        let old = admission
            .old_object
            .map(|old| Policy::of(old, self.defaults));
        if !errors.is_empty() && old.as_ref().is_none_or(|(_, before)| *before != errors) {
            let name = meta::name(namespace);
            return Err(Status::invalid("", "Namespace", name, &errors));
        }
        let name = meta::name(namespace);
        let is_exempt = self.exemptions.namespaces.iter().any(|n| n == name);
        if let Some((old, _)) = old {
            let raised = new.enforce != old.enforce
                && new.enforce.level != Level::Privileged
                && (new.enforce.minor != old.enforce.minor
                    || new.enforce.level > old.enforce.level);
            if !raised {
                return Ok(());
            }
            if !is_exempt {
                for warning in self.existing_pods(name, new.enforce) {
                    admission.notes.warn(warning);
                }
                return Ok(());
            }
        }
        if is_exempt && !new.is_privileged() && !new.is_equivalent(&self.defaults) {
            let ignored = new.described_by(namespace);
            admission.notes.warn(format!(
                "namespace {name:?} is exempt from Pod Security, and the policy ({ignored}) will be ignored"
            ));
        }
        Ok(())
    }

    /// What happens to pods that are there when the level is raised: nothing, but who raises it is told. Of the pods of one controller the
    /// first is looked at first.
    fn existing_pods(&self, namespace: &str, enforce: LevelVersion) -> Vec<String> {
        let mut pods = self.reader.list(&PODS, namespace);
        pods.retain(|pod| {
            lookup::map(pod, &["spec"]).is_none_or(|spec| !self.is_exempt_class(spec))
        });
        let mut controllers = BTreeSet::new();
        let (first, others): (Vec<_>, Vec<_>) = pods.iter().partition(|pod| {
            meta::controller_of(pod).is_none_or(|controller| controllers.insert(controller.uid))
        });
        let mut by_reasons: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for pod in first.into_iter().chain(others).take(MAX_PODS) {
            let found = of_pod(pod, enforce);
            if !found.is_empty() {
                let reasons: Vec<&str> = found
                    .iter()
                    .map(|violation| violation.reason.as_str())
                    .collect();
                let names = by_reasons.entry(reasons.join(", ")).or_default();
                names.push(meta::name(pod));
            }
        }
        let mut lines: Vec<String> = by_reasons
            .into_iter()
            .map(|(reasons, names)| {
                let first = names.iter().min().copied().unwrap_or_default();
                match names.len() {
                    1 => format!("{first}: {reasons}"),
                    2 => format!("{first} (and 1 other pod): {reasons}"),
                    many => format!("{first} (and {} other pods): {reasons}", many - 1),
                }
            })
            .collect();
        lines.sort_unstable();
        if !lines.is_empty() {
            lines.insert(
                0,
                format!("existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{enforce}\""),
            );
        }
        if pods.len() > MAX_PODS {
            lines.insert(
                0,
                format!("new PodSecurity enforce level only checked against the first {MAX_PODS} of {} existing pods", pods.len()),
            );
        }
        lines
    }
}

/// What metrics tell requests apart by.
fn counted<'a>(admission: &'a Admission<'_>) -> (&'static str, &'static str, &'a str) {
    let operation = match admission.operation {
        Operation::Update => "update",
        _ => "create",
    };
    let resource = match admission.request.resource.as_str() {
        "pods" => "pod",
        "namespaces" => "namespace",
        _ => "controller",
    };
    (operation, resource, &admission.request.subresource)
}

/// Tells the audit log.
fn annotate(admission: &Admission<'_>, key: &str, value: impl Into<String>) {
    admission.notes.annotate(format!("{PREFIX}{key}"), value);
}

#[async_trait]
impl Plugin for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        let Some(object) = admission.new_object() else {
            return Ok(());
        };
        if admission.is("", "namespaces") {
            return self.check_namespace(admission, object);
        }
        if is_pod(admission) {
            if !is_significant(admission) {
                return Ok(());
            }
            return self.evaluate(admission, object, true).await;
        }
        match template(admission, object) {
            Some(template) => self.evaluate(admission, template, false).await,
            None => Ok(()),
        }
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
    !pod_containers::images(old).eq(pod_containers::images(new))
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
