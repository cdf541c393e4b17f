//! Fields of gates that 1.36 leaves closed: taken for what they are while a write is booked, gone before it is judged and kept
//! (`pkg/api/pod/util.go`, `DropDisabledPodFields`).

use apimachinery::Object;

use crate::fields::Fields;

/// Of a pod, or of the template in `spec` of a workload.
pub fn drop_from_template(owner: &mut Object) {
    if let Some(template) = owner
        .object_mut("spec")
        .and_then(|s| s.object_mut("template"))
    {
        drop_from_pod(template);
    }
}

/// Of a pod, or a template.
pub fn drop_from_pod(pod: &mut Object) {
    let Some(spec) = pod.object_mut("spec") else {
        return;
    };
    spec.remove("schedulingGroup");
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        spec.each_object(list, |container| {
            if let Some(lifecycle) = container.object_mut("lifecycle")
                && lifecycle.remove("stopSignal").is_some()
                && lifecycle.is_empty()
            {
                container.remove("lifecycle");
            }
        });
    }
    spec.each_object("volumes", |volume| {
        if let Some(projected) = volume.object_mut("projected") {
            projected.each_object("sources", |source| {
                source.remove("clusterTrustBundle");
                source.remove("podCertificate");
            });
        }
    });
}
