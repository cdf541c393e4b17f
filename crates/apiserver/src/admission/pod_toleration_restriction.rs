//! PodTolerationRestriction: a namespace says by annotations what its pods tolerate and what they may. Off by default.
//!
//! Its configuration (`podtolerationrestriction.admission.k8s.io/v1alpha1 Configuration`) holds the same for namespaces that say nothing.

use std::sync::Arc;

use api::kinds::core::pod_spec::qos;
use apimachinery::{Object, lookup, meta, status::Status};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Admission, Operation, Plugin, configuration, matching, tolerations};
use crate::reader::ObjectReader;

const DEFAULTS: &str = "scheduler.alpha.kubernetes.io/defaultTolerations";
const ALLOWED: &str = "scheduler.alpha.kubernetes.io/tolerationsWhitelist";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    #[serde(default)]
    default: Vec<Value>,
    #[serde(default)]
    whitelist: Vec<Value>,
}

pub(super) struct PodTolerationRestriction {
    reader: Arc<dyn ObjectReader>,
    cluster: Configuration,
}

impl PodTolerationRestriction {
    pub(super) fn new(
        reader: Arc<dyn ObjectReader>,
        configuration: Option<&Object>,
    ) -> Result<Self, String> {
        let versions = &["podtolerationrestriction.admission.k8s.io/v1alpha1"];
        let cluster = configuration
            .map(|given| configuration::decode_as(given, "Configuration", versions))
            .transpose()?;
        Ok(Self {
            reader,
            cluster: cluster.unwrap_or_default(),
        })
    }

    /// The tolerations in an annotation of the namespace; none if it has no such annotation.
    async fn annotated(&self, namespace: &str, key: &str) -> Result<Option<Vec<Value>>, Status> {
        let namespace = matching::namespace(&self.reader, namespace).await?;
        match meta::annotation(&namespace, key) {
            None => Ok(None),
            Some("") => Ok(Some(Vec::new())),
            Some(text) => serde_json::from_str(text)
                .map(Some)
                .map_err(Status::unclassified),
        }
    }
}

#[async_trait]
impl Plugin for PodTolerationRestriction {
    fn name(&self) -> &'static str {
        "PodTolerationRestriction"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if !admission.is("", "pods") {
            return Ok(());
        }
        let mut extra = Vec::new();
        if admission.operation == Operation::Create {
            let annotated = self.annotated(admission.namespace(), DEFAULTS).await?;
            extra = annotated.unwrap_or_else(|| self.cluster.default.clone());
        }
        let Some(pod) = admission.object.as_deref_mut() else {
            return Ok(());
        };
        if qos::class(pod) != "BestEffort" {
            extra.push(json!({
                "key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule",
            }));
        }
        if !extra.is_empty() {
            let own = lookup::list(pod, &["spec", "tolerations"]);
            let merged = tolerations::merge(own, &extra);
            lookup::set(pod, &["spec", "tolerations"], merged);
        }
        self.validate(admission).await
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        let Some(pod) = admission.new_object().filter(|_| admission.is("", "pods")) else {
            return Ok(());
        };
        let own = lookup::list(pod, &["spec", "tolerations"]);
        if own.is_empty() {
            return Ok(());
        }
        let annotated = self.annotated(admission.namespace(), ALLOWED).await?;
        let (allowed, whose) = match annotated {
            Some(allowed) => (allowed, "namespace"),
            None => (self.cluster.whitelist.clone(), "cluster"),
        };
        if tolerations::are_within(own, &allowed) {
            return Ok(());
        }
        Err(Status::unclassified(format!(
            "pod tolerations (possibly merged with namespace default tolerations) conflict with its {whose} whitelist"
        )))
    }
}
