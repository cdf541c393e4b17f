//! Internal structs that differ from their served form in the order of their fields, and Go's names of fields.

/// A field of an internal struct.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) go_name: &'static str,
    /// Its name in the served version.
    pub(super) field: &'static str,
    /// Whether parts of it stand beside it in the served version.
    pub(super) filled_from_parent: bool,
    /// Whether it is a truth value without a pointer, where the served type does not say.
    pub(super) flag: bool,
}

const fn slot(go_name: &'static str, field: &'static str) -> Slot {
    Slot {
        go_name,
        field,
        filled_from_parent: false,
        flag: false,
    }
}

const fn flag(go_name: &'static str, field: &'static str) -> Slot {
    Slot {
        go_name,
        field,
        filled_from_parent: false,
        flag: true,
    }
}

/// What the served `PodSpec` has, and the internal security context.
pub(super) const MOVED_INTO_SECURITY_CONTEXT: &[&str] = &[
    "hostNetwork",
    "hostPID",
    "hostIPC",
    "shareProcessNamespace",
    "hostUsers",
];

const POD_SPEC: &[Slot] = &[
    slot("Volumes", "volumes"),
    slot("InitContainers", "initContainers"),
    slot("Containers", "containers"),
    slot("EphemeralContainers", "ephemeralContainers"),
    slot("RestartPolicy", "restartPolicy"),
    slot(
        "TerminationGracePeriodSeconds",
        "terminationGracePeriodSeconds",
    ),
    slot("ActiveDeadlineSeconds", "activeDeadlineSeconds"),
    slot("DNSPolicy", "dnsPolicy"),
    slot("NodeSelector", "nodeSelector"),
    slot("ServiceAccountName", "serviceAccountName"),
    slot(
        "AutomountServiceAccountToken",
        "automountServiceAccountToken",
    ),
    slot("NodeName", "nodeName"),
    Slot {
        go_name: "SecurityContext",
        field: "securityContext",
        filled_from_parent: true,
        flag: false,
    },
    slot("ImagePullSecrets", "imagePullSecrets"),
    slot("Hostname", "hostname"),
    slot("Subdomain", "subdomain"),
    slot("SetHostnameAsFQDN", "setHostnameAsFQDN"),
    slot("Affinity", "affinity"),
    slot("SchedulerName", "schedulerName"),
    slot("Tolerations", "tolerations"),
    slot("HostAliases", "hostAliases"),
    slot("PriorityClassName", "priorityClassName"),
    slot("Priority", "priority"),
    slot("PreemptionPolicy", "preemptionPolicy"),
    slot("DNSConfig", "dnsConfig"),
    slot("ReadinessGates", "readinessGates"),
    slot("RuntimeClassName", "runtimeClassName"),
    slot("Overhead", "overhead"),
    slot("EnableServiceLinks", "enableServiceLinks"),
    slot("TopologySpreadConstraints", "topologySpreadConstraints"),
    slot("OS", "os"),
    slot("SchedulingGates", "schedulingGates"),
    slot("ResourceClaims", "resourceClaims"),
    slot("Resources", "resources"),
    slot("HostnameOverride", "hostnameOverride"),
    slot("SchedulingGroup", "schedulingGroup"),
];

const POD_SECURITY_CONTEXT: &[Slot] = &[
    flag("HostNetwork", "hostNetwork"),
    flag("HostPID", "hostPID"),
    flag("HostIPC", "hostIPC"),
    slot("ShareProcessNamespace", "shareProcessNamespace"),
    slot("HostUsers", "hostUsers"),
    slot("SELinuxOptions", "seLinuxOptions"),
    slot("WindowsOptions", "windowsOptions"),
    slot("RunAsUser", "runAsUser"),
    slot("RunAsGroup", "runAsGroup"),
    slot("RunAsNonRoot", "runAsNonRoot"),
    slot("SupplementalGroups", "supplementalGroups"),
    slot("SupplementalGroupsPolicy", "supplementalGroupsPolicy"),
    slot("FSGroup", "fsGroup"),
    slot("FSGroupChangePolicy", "fsGroupChangePolicy"),
    slot("Sysctls", "sysctls"),
    slot("SeccompProfile", "seccompProfile"),
    slot("AppArmorProfile", "appArmorProfile"),
    slot("SELinuxChangePolicy", "seLinuxChangePolicy"),
];

const POD_DISRUPTION_BUDGET_SPEC: &[Slot] = &[
    slot("MinAvailable", "minAvailable"),
    slot("Selector", "selector"),
    slot("MaxUnavailable", "maxUnavailable"),
    slot("UnhealthyPodEvictionPolicy", "unhealthyPodEvictionPolicy"),
];

const DEVICE_ATTRIBUTE: &[Slot] = &[
    slot("IntValue", "int"),
    slot("BoolValue", "bool"),
    slot("StringValue", "string"),
    slot("VersionValue", "version"),
    slot("IntValues", "ints"),
    slot("BoolValues", "bools"),
    slot("StringValues", "strings"),
    slot("VersionValues", "versions"),
];

/// The layout of a struct that does not follow its served form.
pub(super) fn of(type_name: &str) -> Option<&'static [Slot]> {
    match type_name {
        "io.k8s.api.core.v1.PodSpec" => Some(POD_SPEC),
        "io.k8s.api.core.v1.PodSecurityContext" => Some(POD_SECURITY_CONTEXT),
        "io.k8s.api.resource.v1.DeviceAttribute" => Some(DEVICE_ATTRIBUTE),
        "io.k8s.api.policy.v1.PodDisruptionBudgetSpec" => Some(POD_DISRUPTION_BUDGET_SPEC),
        _ => None,
    }
}

/// The served fields of a volume's source, in the order of the internal struct.
const VOLUME: &[&str] = &[
    "name",
    "hostPath",
    "emptyDir",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "persistentVolumeClaim",
    "rbd",
    "quobyte",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "downwardAPI",
    "fc",
    "azureFile",
    "configMap",
    "vsphereVolume",
    "azureDisk",
    "photonPersistentDisk",
    "projected",
    "portworxVolume",
    "scaleIO",
    "storageos",
    "csi",
    "ephemeral",
    "image",
];

/// What stands between the capacity and the rest of [`PERSISTENT_VOLUME_SPEC`].
const PERSISTENT_VOLUME_SOURCE: &[&str] = PERSISTENT_VOLUME_SPEC
    .split_at(1)
    .1
    .split_at(PERSISTENT_VOLUME_SOURCES)
    .0;
const PERSISTENT_VOLUME_SOURCES: usize = 22;

const PERSISTENT_VOLUME_SPEC: &[&str] = &[
    "capacity",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "hostPath",
    "glusterfs",
    "nfs",
    "rbd",
    "quobyte",
    "iscsi",
    "flexVolume",
    "cinder",
    "cephfs",
    "fc",
    "flocker",
    "azureFile",
    "vsphereVolume",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "local",
    "storageos",
    "csi",
    "accessModes",
    "claimRef",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "mountOptions",
    "volumeMode",
    "nodeAffinity",
    "volumeAttributesClassName",
];

const SERVICE_SPEC: &[&str] = &[
    "type",
    "ports",
    "selector",
    "clusterIP",
    "clusterIPs",
    "ipFamilies",
    "ipFamilyPolicy",
    "externalName",
    "externalIPs",
    "loadBalancerIP",
    "sessionAffinity",
    "sessionAffinityConfig",
    "loadBalancerSourceRanges",
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "publishNotReadyAddresses",
    "allocateLoadBalancerNodePorts",
    "loadBalancerClass",
    "internalTrafficPolicy",
    "trafficDistribution",
];

const JOB_SPEC: &[&str] = &[
    "parallelism",
    "completions",
    "podFailurePolicy",
    "successPolicy",
    "activeDeadlineSeconds",
    "backoffLimit",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
    "selector",
    "manualSelector",
    "template",
    "ttlSecondsAfterFinished",
    "completionMode",
    "suspend",
    "podReplacementPolicy",
    "managedBy",
];

/// The fields of a struct that differs from its served form in their order alone.
pub(super) fn order(type_name: &str) -> Option<&'static [&'static str]> {
    match type_name {
        "io.k8s.api.core.v1.Volume" => Some(VOLUME),
        "io.k8s.api.core.v1.PersistentVolumeSource" => Some(PERSISTENT_VOLUME_SOURCE),
        "io.k8s.api.core.v1.PersistentVolumeSpec" => Some(PERSISTENT_VOLUME_SPEC),
        "io.k8s.api.core.v1.ServiceSpec" => Some(SERVICE_SPEC),
        "io.k8s.api.batch.v1.JobSpec" => Some(JOB_SPEC),
        "io.k8s.api.autoscaling.v2.ContainerResourceMetricSource" => {
            Some(&["name", "container", "target"])
        }
        _ => None,
    }
}
