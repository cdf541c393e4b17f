//! What makes a pod of a StatefulSet that pod: its name, its host name, its claims.

use client::{Kind as _, Labels, Object as _};
use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{
            PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
        },
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{history::REVISION_LABEL, pods};

const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

/// The pod of an ordinal, from a template of this revision.
pub(super) fn pod(
    set: &StatefulSet,
    template: &PodTemplateSpec,
    revision: &str,
    ordinal: i32,
) -> Pod {
    let name = format!("{}-{ordinal}", set.name());
    let mut pod = pods::from_template(template, set.name(), set.controller_owner_reference());
    pod.metadata = ObjectMeta {
        generate_name: None,
        name: Some(name.clone()),
        namespace: Some(set.namespace().to_owned()),
        ..pod.metadata
    };
    let labels: &mut Labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME_LABEL.to_owned(), name.clone());
    labels.insert(POD_INDEX_LABEL.to_owned(), ordinal.to_string());
    labels.insert(REVISION_LABEL.to_owned(), revision.to_owned());
    let claims = claims(set, ordinal);
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(name);
    spec.subdomain = set
        .spec
        .as_ref()
        .and_then(|spec| spec.service_name.clone())
        .filter(|service| !service.is_empty());
    let volumes = spec.volumes.get_or_insert_default();
    for (template, claim) in &claims {
        volumes.retain(|volume| volume.name != *template);
        volumes.push(Volume {
            name: template.clone(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim.name().to_owned(),
                read_only: None,
            }),
            ..Volume::default()
        });
    }
    if volumes.is_empty() {
        spec.volumes = None;
    }
    pod
}

/// The claims of an ordinal, by the name of their template.
pub(super) fn claims(set: &StatefulSet, ordinal: i32) -> Vec<(String, PersistentVolumeClaim)> {
    let Some(spec) = &set.spec else {
        return Vec::new();
    };
    let templates = spec.volume_claim_templates.iter().flatten();
    templates
        .map(|template| {
            let mut claim = template.clone();
            claim.metadata.name = Some(format!("{}-{}-{ordinal}", template.name(), set.name()));
            claim.metadata.namespace = Some(set.namespace().to_owned());
            let labels = claim.metadata.labels.get_or_insert_default();
            labels.extend(spec.selector.match_labels.clone().unwrap_or_default());
            claim.status = None;
            (template.name().to_owned(), claim)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::StatefulSetSpec;

    use super::*;

    #[test]
    fn a_pod_has_its_name_and_its_claims() {
        let claim = PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some("data".to_owned()),
                ..ObjectMeta::default()
            },
            ..PersistentVolumeClaim::default()
        };
        let set = StatefulSet {
            metadata: ObjectMeta {
                name: Some("db".to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(StatefulSetSpec {
                service_name: Some("peers".to_owned()),
                volume_claim_templates: Some(vec![claim]),
                ..StatefulSetSpec::default()
            }),
            status: None,
        };
        let pod = pod(&set, &PodTemplateSpec::default(), "db-abc", 2);
        assert_eq!(
            (
                pod.name(),
                pod.label(POD_NAME_LABEL),
                pod.label(POD_INDEX_LABEL)
            ),
            ("db-2", Some("db-2"), Some("2"))
        );
        let spec = pod.spec.unwrap();
        assert_eq!(
            (spec.hostname.as_deref(), spec.subdomain.as_deref()),
            (Some("db-2"), Some("peers"))
        );
        let volume = &spec.volumes.unwrap()[0];
        assert_eq!(volume.name, "data");
        assert_eq!(
            volume.persistent_volume_claim.as_ref().unwrap().claim_name,
            "data-db-2"
        );
    }
}
