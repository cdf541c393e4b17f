//! Priority: a pod's priority is the number behind its class's name, and there is one default class at most.

use std::{collections::HashMap, sync::Arc};

use apimachinery::{Object, gvk::GroupResource, meta, status::Status};
use async_trait::async_trait;

use super::{Admission, Operation, Plugin};
use crate::{derived::Derived, lookup, reader::ObjectReader};

const GROUP: &str = "scheduling.k8s.io";
const PRIORITY_CLASSES: GroupResource = GroupResource::new(GROUP, "priorityclasses");
const PREEMPT: &str = "PreemptLowerPriority";

#[derive(Clone, Debug)]
struct Class {
    name: String,
    value: i64,
    preemption_policy: String,
}

#[derive(Default)]
struct Classes {
    by_name: HashMap<String, Class>,
    /// Of several, the one of the lowest value.
    default: Option<Class>,
}

pub(super) struct Priority {
    reader: Arc<dyn ObjectReader>,
    classes: Derived<Classes>,
}

impl Priority {
    pub(super) fn new(reader: &Arc<dyn ObjectReader>) -> Self {
        let classes = Derived::new(Arc::clone(reader), PRIORITY_CLASSES, index);
        Self {
            reader: Arc::clone(reader),
            classes,
        }
    }

    async fn class_of(&self, admission: &Admission<'_>, pod: &Object) -> Result<Class, Status> {
        let name = lookup::text(pod, &["spec", "priorityClassName"]);
        let classes = self.classes.get();
        if name.is_empty() {
            let none = Class {
                name: String::new(),
                value: 0,
                preemption_policy: PREEMPT.to_owned(),
            };
            return Ok(classes.default.clone().unwrap_or(none));
        }
        if let Some(class) = classes.by_name.get(name) {
            return Ok(class.clone());
        }
        let fresh = self.reader.get_fresh(&PRIORITY_CLASSES, "", name).await?;
        fresh.map(|class| read(&class)).ok_or_else(|| {
            admission.forbidden(format!("no PriorityClass with name {name} was found"))
        })
    }
}

/// Whether it is one of the classes that the server makes for itself.
fn is_of_system(class: &str) -> bool {
    matches!(class, "system-node-critical" | "system-cluster-critical")
}

#[async_trait]
impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation != Operation::Connect
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if !admission.is("", "pods") || admission.operation == Operation::Delete {
            return Ok(());
        }
        let Some(pod) = admission.new_object() else {
            return Ok(());
        };
        if admission.operation == Operation::Update {
            keep_old(admission);
            return Ok(());
        }
        let class = self.class_of(admission, pod).await?;
        let given = lookup::number(pod, &["spec", "priority"]);
        if let Some(given) = given.filter(|given| *given != class.value) {
            return Err(admission.forbidden(format!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {} from the given PriorityClass name",
                class.value
            )));
        }
        let given = lookup::text(pod, &["spec", "preemptionPolicy"]);
        let policy = &class.preemption_policy;
        if !given.is_empty() && !policy.is_empty() && given != policy {
            return Err(admission.forbidden(format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
            )));
        }
        if let Some(pod) = admission.object.as_deref_mut() {
            lookup::set(pod, &["spec", "priority"], class.value);
            if !class.name.is_empty() {
                lookup::set(pod, &["spec", "priorityClassName"], class.name);
            }
            if !class.preemption_policy.is_empty() {
                lookup::set(pod, &["spec", "preemptionPolicy"], class.preemption_policy);
            }
        }
        Ok(())
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        if !admission.is(GROUP, "priorityclasses") {
            return Ok(());
        }
        // The server makes these for itself, and its own parts are of them.
        if admission.operation == Operation::Delete && is_of_system(admission.name()) {
            let reason = "this is a system priority class and cannot be deleted";
            return Err(admission.forbidden(reason));
        }
        let Some(class) = admission.new_object() else {
            return Ok(());
        };
        if lookup::flag(class, &["globalDefault"]) != Some(true) {
            return Ok(());
        }
        let other = self
            .classes
            .get()
            .default
            .as_ref()
            .map(|class| class.name.clone());
        match other {
            Some(other)
                if admission.operation == Operation::Create || other != meta::name(class) =>
            {
                Err(admission.forbidden(format!(
                    "PriorityClass {other} is already marked as default. Only one default can exist"
                )))
            }
            _ => Ok(()),
        }
    }
}

/// A client that does not know of the fields does not clear them.
fn keep_old(admission: &mut Admission<'_>) {
    let Some(old) = admission.old_object else {
        return;
    };
    let Some(pod) = admission.object.as_deref_mut() else {
        return;
    };
    for field in ["priority", "preemptionPolicy"] {
        let path = ["spec", field];
        if lookup::value(pod, &path).is_none()
            && let Some(value) = lookup::value(old, &path)
        {
            lookup::set(pod, &path, value.clone());
        }
    }
}

fn read(class: &Object) -> Class {
    Class {
        name: meta::name(class).to_owned(),
        value: lookup::number(class, &["value"]).unwrap_or_default(),
        preemption_policy: lookup::text(class, &["preemptionPolicy"]).to_owned(),
    }
}

fn index(objects: &[Arc<Object>]) -> Classes {
    let mut classes = Classes::default();
    for object in objects {
        let class = read(object);
        let lowest = classes
            .default
            .as_ref()
            .is_none_or(|default| class.value < default.value);
        if lookup::flag(object, &["globalDefault"]) == Some(true) && lowest {
            classes.default = Some(class.clone());
        }
        classes.by_name.insert(class.name.clone(), class);
    }
    classes
}
