//! PodNodeSelector: a namespace says by an annotation on which nodes its pods run. Off by default.
//!
//! Its configuration holds the selector of namespaces that say nothing (`clusterDefaultNodeSelector`), and by name of namespace all
//! the labels that pods there may select by.

use std::{collections::BTreeMap, sync::Arc};

use apimachinery::{
    Object,
    gvk::GroupResource,
    labels::{Operator, Requirement},
    lookup, meta,
    status::Status,
};
use async_trait::async_trait;

use super::{Admission, Operation, Plugin, matching};
use crate::reader::ObjectReader;

const PODS: GroupResource = GroupResource::new("", "pods");
const ANNOTATION: &str = "scheduler.alpha.kubernetes.io/node-selector";
const CLUSTER_DEFAULT: &str = "clusterDefaultNodeSelector";

type Labels = BTreeMap<String, String>;

pub(super) struct PodNodeSelector {
    reader: Arc<dyn ObjectReader>,
    /// Selectors by namespace, and the cluster's default.
    selectors: BTreeMap<String, String>,
}

impl PodNodeSelector {
    pub(super) fn new(
        reader: Arc<dyn ObjectReader>,
        configuration: Option<&Object>,
    ) -> Result<Self, String> {
        let selectors = configuration
            .and_then(|configuration| lookup::map(configuration, &["podNodeSelectorPluginConfig"]))
            .into_iter()
            .flatten()
            .map(|(namespace, selector)| match selector.as_str() {
                Some(selector) => Ok((namespace.clone(), selector.to_owned())),
                None => Err(format!(
                    "podNodeSelectorPluginConfig[{namespace}] is no string"
                )),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { reader, selectors })
    }

    fn configured(&self, name: &str) -> Result<Labels, Status> {
        parse(self.selectors.get(name).map_or("", String::as_str))
    }

    /// The labels of the nodes that a namespace's pods run on.
    async fn of_namespace(&self, name: &str) -> Result<Labels, Status> {
        let namespace = matching::namespace(&self.reader, name)
            .await
            .map_err(|_| Status::internal(format!("namespace {name} does not exist")))?;
        match meta::annotation(&namespace, ANNOTATION) {
            Some(selector) => parse(selector),
            None => self.configured(CLUSTER_DEFAULT),
        }
    }
}

/// `a=b,c=d`.
fn parse(selector: &str) -> Result<Labels, Status> {
    let mut labels = Labels::new();
    for part in selector.split(',').filter(|_| !selector.is_empty()) {
        let pieces: Vec<&str> = part.split('=').collect();
        let [key, value] = pieces.as_slice() else {
            let pieces = pieces.join(" ");
            return Err(Status::unclassified(format!(
                "invalid selector: [{pieces}]"
            )));
        };
        let (key, value) = (key.trim(), value.trim());
        Requirement::new(key, Operator::Equals, vec![value.to_owned()])
            .map_err(Status::unclassified)?;
        labels.insert(key.to_owned(), value.to_owned());
    }
    Ok(labels)
}

/// What the pod itself selects by.
fn of_pod(pod: &Object) -> Labels {
    let selector = lookup::map(pod, &["spec", "nodeSelector"]);
    let labels = selector.into_iter().flatten();
    labels
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}

fn conflict(a: &Labels, b: &Labels) -> bool {
    a.iter()
        .any(|(key, value)| b.get(key).is_some_and(|other| other != value))
}

#[async_trait]
impl Plugin for PodNodeSelector {
    fn name(&self) -> &'static str {
        "PodNodeSelector"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if !admission.is("", "pods") {
            return Ok(());
        }
        let wanted = self.of_namespace(admission.namespace()).await?;
        let Some(pod) = admission.object.as_deref_mut() else {
            return Ok(());
        };
        if !conflict(&wanted, &of_pod(pod)) {
            for (key, value) in wanted {
                lookup::set(pod, &["spec", "nodeSelector", &key], value);
            }
        }
        self.validate(admission).await
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        let Some(pod) = admission.new_object().filter(|_| admission.is("", "pods")) else {
            return Ok(());
        };
        let refuse = |reason: &str| Err(Status::forbidden(&PODS, meta::name(pod), reason));
        let (own, wanted) = (of_pod(pod), self.of_namespace(admission.namespace()).await?);
        if conflict(&wanted, &own) {
            return refuse(
                "pod node label selector conflicts with its namespace node label selector",
            );
        }
        let allowed = self.configured(admission.namespace())?;
        if !allowed.is_empty()
            && own
                .iter()
                .any(|(key, value)| allowed.get(key) != Some(value))
        {
            return refuse("pod node label selector labels conflict with its namespace whitelist");
        }
        Ok(())
    }
}
