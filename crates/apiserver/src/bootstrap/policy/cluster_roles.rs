//! Cluster roles of components and users.
//!
//! Facts of upstream's bootstrap policy at v1.36, in order of name. `core` stands for the core API group.

use super::role::{Role, cluster, on, path};

/// One row a role.
#[rustfmt::skip]
pub(super) const ROLES: &[Role] = &[
    cluster("admin", &[])
        .aggregating("aggregate-to-admin"),
    cluster("cluster-admin", &[
        on("*", "*", "*"),
        path("*", "*"),
    ]),
    cluster("edit", &[])
        .aggregating("aggregate-to-edit")
        .aggregated("aggregate-to-admin"),
    cluster("system:aggregate-to-admin", &[
        on("create", "authorization.k8s.io", "localsubjectaccessreviews"),
        on("create delete deletecollection get list patch update watch", "rbac.authorization.k8s.io", "rolebindings roles"),
    ])
        .aggregated("aggregate-to-admin"),
    cluster("system:aggregate-to-edit", &[
        on("get list watch", "core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
        on("impersonate", "core", "serviceaccounts"),
        on("create delete deletecollection patch update", "core", "pods pods/attach pods/exec pods/portforward pods/proxy"),
        on("create", "core", "pods/eviction"),
        on("create delete deletecollection patch update", "core", "configmaps persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy"),
        on("create", "core", "serviceaccounts/token"),
        on("create delete deletecollection patch update", "core events.k8s.io", "events"),
        on("create delete deletecollection patch update", "apps", "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale"),
        on("create delete deletecollection patch update", "autoscaling", "horizontalpodautoscalers"),
        on("create delete deletecollection patch update", "batch", "cronjobs jobs"),
        on("create delete deletecollection patch update", "extensions", "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets replicasets/scale replicationcontrollers/scale"),
        on("create delete deletecollection patch update", "policy", "poddisruptionbudgets"),
        on("create delete deletecollection patch update", "networking.k8s.io", "ingresses networkpolicies"),
        on("create delete deletecollection get list patch update watch", "coordination.k8s.io", "leases"),
        on("create delete deletecollection patch update", "resource.k8s.io", "resourceclaims resourceclaimtemplates"),
    ])
        .aggregated("aggregate-to-edit"),
    cluster("system:aggregate-to-view", &[
        on("get list watch", "core", "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status"),
        on("get list watch", "core", "bindings limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status"),
        on("get list watch", "core", "namespaces"),
        on("get list watch", "core events.k8s.io", "events"),
        on("get list watch", "discovery.k8s.io", "endpointslices"),
        on("get list watch", "apps", "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status"),
        on("get list watch", "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
        on("get list watch", "batch", "cronjobs cronjobs/status jobs jobs/status"),
        on("get list watch", "extensions", "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status networkpolicies replicasets replicasets/scale replicasets/status replicationcontrollers/scale"),
        on("get list watch", "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
        on("get list watch", "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
        on("get list watch", "resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates"),
    ])
        .aggregated("aggregate-to-view"),
    cluster("system:auth-delegator", &[
        on("create", "authentication.k8s.io", "tokenreviews"),
        on("create", "authorization.k8s.io", "subjectaccessreviews"),
    ]),
    cluster("system:basic-user", &[
        on("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
        on("create", "authentication.k8s.io", "selfsubjectreviews"),
    ]),
    cluster("system:certificates.k8s.io:certificatesigningrequests:nodeclient", &[
        on("create", "certificates.k8s.io", "certificatesigningrequests/nodeclient"),
    ]),
    cluster("system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", &[
        on("create", "certificates.k8s.io", "certificatesigningrequests/selfnodeclient"),
    ]),
    cluster("system:certificates.k8s.io:kube-apiserver-client-approver", &[
        on("approve", "certificates.k8s.io", "signers").named("kubernetes.io/kube-apiserver-client"),
    ]),
    cluster("system:certificates.k8s.io:kube-apiserver-client-kubelet-approver", &[
        on("approve", "certificates.k8s.io", "signers").named("kubernetes.io/kube-apiserver-client-kubelet"),
    ]),
    cluster("system:certificates.k8s.io:kubelet-serving-approver", &[
        on("approve", "certificates.k8s.io", "signers").named("kubernetes.io/kubelet-serving"),
    ]),
    cluster("system:certificates.k8s.io:legacy-unknown-approver", &[
        on("approve", "certificates.k8s.io", "signers").named("kubernetes.io/legacy-unknown"),
    ]),
    cluster("system:discovery", &[
        path("get", "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/"),
    ]),
    cluster("system:heapster", &[
        on("get list watch", "core", "events namespaces nodes pods"),
        on("get list watch", "extensions", "deployments"),
    ]),
    cluster("system:kube-aggregator", &[
        on("get list watch", "core", "endpoints services"),
    ]),
    cluster("system:kube-controller-manager", &[
        on("create patch update", "core events.k8s.io", "events"),
        on("create", "coordination.k8s.io", "leases"),
        on("get update", "coordination.k8s.io", "leases").named("kube-controller-manager"),
        on("create", "core", "secrets serviceaccounts"),
        on("delete", "core", "secrets"),
        on("get", "core", "configmaps namespaces secrets serviceaccounts"),
        on("update", "core", "secrets serviceaccounts"),
        on("create", "authentication.k8s.io", "tokenreviews"),
        on("create", "authorization.k8s.io", "subjectaccessreviews"),
        on("list watch", "*", "*"),
        on("create", "core", "serviceaccounts/token"),
    ]),
    cluster("system:kube-dns", &[
        on("list watch", "core", "endpoints services"),
    ]),
    cluster("system:kube-scheduler", &[
        on("create patch update", "core events.k8s.io", "events"),
        on("create", "coordination.k8s.io", "leases"),
        on("get list update watch", "coordination.k8s.io", "leases").named("kube-scheduler"),
        on("create delete deletecollection get list patch update watch", "coordination.k8s.io", "leasecandidates"),
        on("get list watch", "core", "nodes"),
        on("delete get list watch", "core", "pods"),
        on("create", "core", "bindings pods/binding"),
        on("patch update", "core", "pods/status"),
        on("get list watch", "core", "replicationcontrollers services"),
        on("get list watch", "apps extensions", "replicasets"),
        on("get list watch", "apps", "statefulsets"),
        on("get list watch", "policy", "poddisruptionbudgets"),
        on("get list watch", "core", "persistentvolumeclaims persistentvolumes"),
        on("create", "authentication.k8s.io", "tokenreviews"),
        on("create", "authorization.k8s.io", "subjectaccessreviews"),
        on("get list watch", "storage.k8s.io", "csinodes"),
        on("get list watch", "storage.k8s.io", "volumeattachments"),
        on("get list watch", "core", "namespaces"),
        on("get list watch", "storage.k8s.io", "csidrivers"),
        on("get list watch", "storage.k8s.io", "csistoragecapacities"),
        on("get list watch", "resource.k8s.io", "deviceclasses"),
        on("get list patch update watch", "resource.k8s.io", "resourceclaims"),
        on("get list patch update watch", "resource.k8s.io", "resourceclaims/status"),
        on("update", "core", "pods/finalizers"),
        on("get list watch", "resource.k8s.io", "resourceslices"),
        on("create delete", "resource.k8s.io", "resourceclaims"),
        on("patch update", "resource.k8s.io", "resourceclaims/binding"),
    ]),
    cluster("system:kubelet-api-admin", &[
        on("get list watch", "core", "nodes"),
        on("proxy", "core", "nodes"),
        on("*", "core", "nodes/log nodes/metrics nodes/proxy nodes/stats"),
        on("*", "core", "nodes/configz nodes/healthz nodes/pods"),
    ]),
    cluster("system:monitoring", &[
        path("get", "/flagz /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/* /statusz"),
        on("get", "core", "nodes/metrics"),
    ]),
    cluster("system:node", &[
        on("create", "authentication.k8s.io", "tokenreviews"),
        on("create", "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"),
        on("get list watch", "core", "services"),
        on("create get list watch", "core", "nodes"),
        on("patch update", "core", "nodes/status"),
        on("patch update", "core", "nodes"),
        on("create patch update", "core events.k8s.io", "events"),
        on("get list watch", "core", "pods"),
        on("create delete", "core", "pods"),
        on("patch update", "core", "pods/status"),
        on("create", "core", "pods/eviction"),
        on("get list watch", "core", "configmaps secrets"),
        on("get", "core", "persistentvolumeclaims persistentvolumes"),
        on("get", "core", "endpoints"),
        on("create get list watch", "certificates.k8s.io", "certificatesigningrequests"),
        on("create delete get patch update", "coordination.k8s.io", "leases"),
        on("get", "storage.k8s.io", "volumeattachments"),
        on("create", "core", "serviceaccounts/token"),
        on("get patch update", "core", "persistentvolumeclaims/status"),
        on("get list watch", "storage.k8s.io", "csidrivers"),
        on("create delete get patch update", "storage.k8s.io", "csinodes"),
        on("get list watch", "node.k8s.io", "runtimeclasses"),
        on("get", "resource.k8s.io", "resourceclaims"),
        on("deletecollection", "resource.k8s.io", "resourceslices"),
        on("get", "core", "serviceaccounts"),
    ]),
    cluster("system:node-bootstrapper", &[
        on("create get list watch", "certificates.k8s.io", "certificatesigningrequests"),
    ]),
    cluster("system:node-problem-detector", &[
        on("get", "core", "nodes"),
        on("patch", "core", "nodes/status"),
        on("create patch update", "core events.k8s.io", "events"),
    ]),
    cluster("system:node-proxier", &[
        on("list watch", "core", "endpoints services"),
        on("get list watch", "core", "nodes"),
        on("create patch update", "core events.k8s.io", "events"),
        on("list watch", "networking.k8s.io", "servicecidrs"),
        on("list watch", "discovery.k8s.io", "endpointslices"),
    ]),
    cluster("system:persistent-volume-provisioner", &[
        on("create delete get list watch", "core", "persistentvolumes"),
        on("get list update watch", "core", "persistentvolumeclaims"),
        on("get list watch", "storage.k8s.io", "storageclasses"),
        on("watch", "core", "events"),
        on("create patch update", "core events.k8s.io", "events"),
    ]),
    cluster("system:public-info-viewer", &[
        path("get", "/healthz /livez /readyz /version /version/"),
    ]),
    cluster("system:service-account-issuer-discovery", &[
        path("get", "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/"),
    ]),
    cluster("system:volume-scheduler", &[
        on("get list patch update watch", "core", "persistentvolumes"),
        on("get list watch", "storage.k8s.io", "storageclasses"),
        on("get list patch update watch", "core", "persistentvolumeclaims"),
    ]),
    cluster("view", &[])
        .aggregating("aggregate-to-view")
        .aggregated("aggregate-to-edit"),
];
