//! The checks of the Pod Security Standards, one function each; [`super::table`] says which of them hold when.

use std::collections::BTreeSet;

use apimachinery::{Object, meta, quote};
use serde_json::Value;

use crate::lookup;

/// What a pod does against a check.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Violation {
    /// `hostPath volumes`
    pub(super) reason: String,
    /// `volume "v"`; may be empty.
    pub(super) detail: String,
}

impl Violation {
    fn new(reason: impl Into<String>, detail: impl Into<String>) -> Option<Self> {
        Some(Self {
            reason: reason.into(),
            detail: detail.into(),
        })
    }

    /// With its detail.
    pub(super) fn describe(&self) -> String {
        if self.detail.is_empty() {
            self.reason.clone()
        } else {
            format!("{} ({})", self.reason, self.detail)
        }
    }
}

/// A pod as checks see it.
pub(super) struct Pod<'a> {
    pub(super) metadata: &'a Object,
    pub(super) spec: &'a Object,
}

impl<'a> Pod<'a> {
    fn containers(&self) -> impl Iterator<Item = &'a Object> + use<'a> {
        let spec = self.spec;
        ["initContainers", "containers", "ephemeralContainers"]
            .into_iter()
            .flat_map(move |field| lookup::objects(spec, &[field]))
    }

    /// Names of the containers for which it holds.
    fn named(&self, holds: impl Fn(&Object) -> bool) -> Vec<&'a str> {
        self.containers()
            .filter(|container| holds(container))
            .map(|container| lookup::text(container, &["name"]))
            .collect()
    }

    /// The security contexts: the pod's, then each container's, with what to call it.
    fn contexts(&self) -> impl Iterator<Item = (Option<&'a str>, &'a Object)> + use<'a> {
        let own = lookup::map(self.spec, &["securityContext"]).map(|context| (None, context));
        let theirs = self.containers().filter_map(|container| {
            Some((
                Some(lookup::text(container, &["name"])),
                lookup::map(container, &["securityContext"])?,
            ))
        });
        own.into_iter().chain(theirs)
    }

    /// In a user namespace, root in the container is nobody outside.
    pub(super) fn in_user_namespace(&self) -> bool {
        lookup::flag(self.spec, &["hostUsers"]) == Some(false)
    }

    pub(super) fn on_windows(&self) -> bool {
        lookup::text(self.spec, &["os", "name"]) == "windows"
    }
}

/// `container "a"`, `containers "a", "b"`.
fn containers(names: &[&str]) -> String {
    let noun = if names.len() == 1 {
        "container"
    } else {
        "containers"
    };
    format!("{noun} {}", quoted(names))
}

fn quoted<S: AsRef<str>>(names: &[S]) -> String {
    names
        .iter()
        .map(|name| quote(name.as_ref()))
        .collect::<Vec<_>>()
        .join(", ")
}

/// `pod` and the containers that set it themselves: `pod and container "a"`.
fn setters(pod: bool, names: &[&str]) -> String {
    match (pod, names) {
        (true, []) => "pod".to_owned(),
        (true, names) => format!("pod and {}", containers(names)),
        (false, names) => containers(names),
    }
}

/// Who sets a forbidden value at this path of the security context; and the values, sorted.
fn forbidden_values<'a>(
    pod: &Pod<'a>,
    path: &[&str],
    forbidden: impl Fn(&Value) -> bool,
) -> Option<(String, Vec<&'a Value>)> {
    let mut in_pod = false;
    let mut names = Vec::new();
    let mut values: Vec<&Value> = Vec::new();
    for (name, context) in pod.contexts() {
        let Some(value) = lookup::value(context, path).filter(|value| forbidden(value)) else {
            continue;
        };
        match name {
            None => in_pod = true,
            Some(name) => names.push(name),
        }
        if !values.contains(&value) {
            values.push(value);
        }
    }
    values.sort_by_key(|value| value.to_string());
    (in_pod || !names.is_empty()).then(|| (setters(in_pod, &names), values))
}

fn shown(values: &[&Value]) -> String {
    values
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

pub(super) fn app_armor_profile(pod: &Pod<'_>) -> Option<Violation> {
    const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
    let allowed = |value: &str| {
        value.is_empty() || value == "runtime/default" || value.starts_with("localhost/")
    };
    let annotations: Vec<String> = meta_annotations(pod.metadata)
        .filter(|(key, value)| key.starts_with(PREFIX) && !allowed(value))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    let unconfined =
        |value: &Value| !matches!(value.as_str(), Some("RuntimeDefault" | "Localhost"));
    let fields = forbidden_values(pod, &["appArmorProfile", "type"], unconfined);
    let mut setters = Vec::new();
    let mut values = Vec::new();
    if let Some((who, forbidden)) = fields {
        setters.push(who);
        values.extend(forbidden.iter().map(ToString::to_string));
    }
    if !annotations.is_empty() {
        setters.push(plural("annotation", "annotations", annotations.len()).to_owned());
        // Upstream puts what is quoted already between quotes.
        values.extend(annotations.iter().map(|one| format!("\"{one}\"")));
    }
    if setters.is_empty() {
        return None;
    }
    let reason = plural(
        "forbidden AppArmor profile",
        "forbidden AppArmor profiles",
        values.len(),
    );
    let detail = format!(
        "{} must not set AppArmor profile type to {}",
        setters.join(" and "),
        values.join(", ")
    );
    Violation::new(reason, detail)
}

fn plural(one: &'static str, many: &'static str, count: usize) -> &'static str {
    if count == 1 { one } else { many }
}

fn meta_annotations(metadata: &Object) -> impl Iterator<Item = (&str, &str)> {
    let annotations = lookup::map(metadata, &["annotations"])
        .into_iter()
        .flatten();
    annotations.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

/// Capabilities that the usual runtimes give by themselves.
const DEFAULT_CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Who adds capabilities that are not allowed, and which.
fn added_capabilities<'a>(pod: &Pod<'a>, allowed: &[&str]) -> Option<(Vec<&'a str>, Vec<&'a str>)> {
    let added = |container: &'a Object| {
        let list = lookup::list(container, &["securityContext", "capabilities", "add"]);
        list.iter()
            .filter_map(Value::as_str)
            .filter(|capability| !allowed.contains(capability))
            .collect::<Vec<_>>()
    };
    let mut names = Vec::new();
    let mut all: Vec<&str> = Vec::new();
    for container in pod.containers() {
        let forbidden = added(container);
        if !forbidden.is_empty() {
            names.push(lookup::text(container, &["name"]));
            all.extend(forbidden);
        }
    }
    all.sort_unstable();
    all.dedup();
    (!names.is_empty()).then_some((names, all))
}

pub(super) fn capabilities_baseline(pod: &Pod<'_>) -> Option<Violation> {
    let (names, forbidden) = added_capabilities(pod, DEFAULT_CAPABILITIES)?;
    let detail = format!(
        "{} must not include {} in securityContext.capabilities.add",
        containers(&names),
        quoted(&forbidden)
    );
    Violation::new("non-default capabilities", detail)
}

pub(super) fn capabilities_restricted(pod: &Pod<'_>) -> Option<Violation> {
    let drops_all = |container: &Object| {
        let dropped = lookup::list(container, &["securityContext", "capabilities", "drop"]);
        dropped.iter().any(|capability| capability == "ALL")
    };
    let keeping = pod.named(|container| !drops_all(container));
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!(
            "{} must set securityContext.capabilities.drop=[\"ALL\"]",
            containers(&keeping)
        ));
    }
    if let Some((names, forbidden)) = added_capabilities(pod, &["NET_BIND_SERVICE"]) {
        details.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            containers(&names),
            quoted(&forbidden)
        ));
    }
    if details.is_empty() {
        None
    } else {
        Violation::new("unrestricted capabilities", details.join("; "))
    }
}

pub(super) fn host_namespaces(pod: &Pod<'_>) -> Option<Violation> {
    let used: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|field| lookup::flag(pod.spec, &[field]) == Some(true))
        .map(|field| format!("{field}=true"))
        .collect();
    if used.is_empty() {
        None
    } else {
        Violation::new("host namespaces", used.join(", "))
    }
}

pub(super) fn host_path_volumes(pod: &Pod<'_>) -> Option<Violation> {
    let volumes = lookup::objects(pod.spec, &["volumes"])
        .filter(|volume| lookup::map(volume, &["hostPath"]).is_some());
    let names: Vec<&str> = volumes
        .map(|volume| lookup::text(volume, &["name"]))
        .collect();
    let noun = if names.len() == 1 {
        "volume"
    } else {
        "volumes"
    };
    if names.is_empty() {
        None
    } else {
        Violation::new("hostPath volumes", format!("{noun} {}", quoted(&names)))
    }
}

pub(super) fn host_ports(pod: &Pod<'_>) -> Option<Violation> {
    let ports_of = |container: &Object| -> Vec<i64> {
        let ports = lookup::objects(container, &["ports"])
            .filter_map(|port| lookup::number(port, &["hostPort"]));
        ports.filter(|port| *port != 0).collect()
    };
    let names = pod.named(|container| !ports_of(container).is_empty());
    // As text: upstream lists 8080 before 90.
    let ports: BTreeSet<String> = pod
        .containers()
        .flat_map(ports_of)
        .map(|port| port.to_string())
        .collect();
    if names.is_empty() {
        return None;
    }
    let verb = plural("uses", "use", names.len());
    let noun = plural("hostPort", "hostPorts", ports.len());
    let listed = ports.into_iter().collect::<Vec<_>>().join(", ");
    Violation::new(
        "hostPort",
        format!("{} {verb} {noun} {listed}", containers(&names)),
    )
}

/// A probe or a handler that names its host makes the kubelet ask somebody else.
pub(super) fn host_probes(pod: &Pod<'_>) -> Option<Violation> {
    const HANDLERS: [&[&str]; 5] = [
        &["livenessProbe"],
        &["readinessProbe"],
        &["startupProbe"],
        &["lifecycle", "postStart"],
        &["lifecycle", "preStop"],
    ];
    let mut names = BTreeSet::new();
    let mut hosts = BTreeSet::new();
    for container in pod.containers() {
        for handler in HANDLERS.iter().filter_map(|at| lookup::map(container, at)) {
            for sort in ["httpGet", "tcpSocket"] {
                let host = lookup::text(handler, &[sort, "host"]);
                if !host.is_empty() {
                    names.insert(lookup::text(container, &["name"]));
                    hosts.insert(host);
                }
            }
        }
    }
    let (names, hosts): (Vec<_>, Vec<_>) =
        (names.into_iter().collect(), hosts.into_iter().collect());
    if names.is_empty() {
        return None;
    }
    let verb = plural("uses", "use", names.len());
    let noun = plural(
        "probe or lifecycle host",
        "probe or lifecycle hosts",
        hosts.len(),
    );
    let detail = format!("{} {verb} {noun} {}", containers(&names), quoted(&hosts));
    Violation::new("probe or lifecycle host", detail)
}

pub(super) fn privileged(pod: &Pod<'_>) -> Option<Violation> {
    let names = pod.named(|container| {
        lookup::flag(container, &["securityContext", "privileged"]) == Some(true)
    });
    if names.is_empty() {
        return None;
    }
    Violation::new(
        "privileged",
        format!(
            "{} must not set securityContext.privileged=true",
            containers(&names)
        ),
    )
}

pub(super) fn proc_mount(pod: &Pod<'_>) -> Option<Violation> {
    let (setters, values) = forbidden_values(pod, &["procMount"], |value| value != "Default")?;
    Violation::new(
        "procMount",
        format!(
            "{setters} must not set securityContext.procMount to {}",
            shown(&values)
        ),
    )
}

/// `minor`: the version that the allowed types are of.
pub(super) fn se_linux_options(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    const TYPES: &[(&str, u32)] = &[
        ("", 0),
        ("container_t", 0),
        ("container_init_t", 0),
        ("container_kvm_t", 0),
        ("container_engine_t", 31),
    ];
    let bad = |context: &Object, field: &str| {
        let value = lookup::text(context, &["seLinuxOptions", field]).to_owned();
        let allowed = if field == "type" {
            is_known(TYPES, &value, minor)
        } else {
            value.is_empty()
        };
        (!allowed).then_some(value)
    };
    let mut in_pod = false;
    let mut names = Vec::new();
    let mut values: [Vec<String>; 3] = Default::default();
    for (name, context) in pod.contexts() {
        let mut forbidden = false;
        for (found, field) in values.iter_mut().zip(["type", "user", "role"]) {
            if let Some(value) = bad(context, field) {
                forbidden = true;
                if !found.contains(&value) {
                    found.push(value);
                }
            }
        }
        match name {
            _ if !forbidden => {}
            None => in_pod = true,
            Some(name) => names.push(name),
        }
    }
    let [mut types, users, roles] = values;
    types.sort_unstable();
    let mut details = Vec::new();
    if !types.is_empty() {
        let noun = if types.len() == 1 { "type" } else { "types" };
        details.push(format!("{noun} {}", quoted(&types)));
    }
    if !users.is_empty() {
        details.push("user may not be set".to_owned());
    }
    if !roles.is_empty() {
        details.push("role may not be set".to_owned());
    }
    if details.is_empty() {
        return None;
    }
    let who = setters(in_pod, &names);
    Violation::new(
        "seLinuxOptions",
        format!(
            "{who} set forbidden securityContext.seLinuxOptions: {}",
            details.join("; ")
        ),
    )
}

/// Before there were fields, profiles stood in annotations.
pub(super) fn seccomp_annotations(pod: &Pod<'_>) -> Option<Violation> {
    let of_containers = pod.containers().map(|container| {
        let name = lookup::text(container, &["name"]);
        format!("container.seccomp.security.alpha.kubernetes.io/{name}")
    });
    let of_pod = "seccomp.security.alpha.kubernetes.io/pod".to_owned();
    let allowed = |value: &str| {
        matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/")
    };
    let forbidden: BTreeSet<String> = of_containers
        .chain([of_pod])
        .filter_map(|key| {
            let value = lookup::map(pod.metadata, &["annotations"])?.get(&key)?;
            let value = value.as_str().filter(|value| !allowed(value))?;
            Some(format!("{key}={value:?}"))
        })
        .collect();
    if forbidden.is_empty() {
        return None;
    }
    let noun = plural("annotation", "annotations", forbidden.len());
    let listed = forbidden.into_iter().collect::<Vec<_>>().join(", ");
    Violation::new("seccompProfile", format!("forbidden {noun} {listed}"))
}

pub(super) fn seccomp_baseline(pod: &Pod<'_>) -> Option<Violation> {
    let known = |value: &Value| matches!(value.as_str(), Some("RuntimeDefault" | "Localhost"));
    let (setters, values) =
        forbidden_values(pod, &["seccompProfile", "type"], |value| !known(value))?;
    let detail = format!(
        "{setters} must not set securityContext.seccompProfile.type to {}",
        shown(&values)
    );
    Violation::new("seccompProfile", detail)
}

pub(super) fn seccomp_restricted(pod: &Pod<'_>) -> Option<Violation> {
    if let Some(violation) = seccomp_baseline(pod) {
        return Some(violation);
    }
    let path = ["securityContext", "seccompProfile", "type"];
    if lookup::value(pod.spec, &path).is_some() {
        return None;
    }
    let names = pod.named(|container| lookup::value(container, &path).is_none());
    if names.is_empty() {
        return None;
    }
    let who = containers(&names);
    Violation::new(
        "seccompProfile",
        format!(
            "pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\""
        ),
    )
}

/// Whether a list of what came with which version has it.
fn is_known(list: &[(&str, u32)], name: &str, minor: u32) -> bool {
    list.iter()
        .any(|(known, since)| *known == name && *since <= minor)
}

/// Parameters that are the pod's own, and the version that allowed them.
const SAFE_SYSCTLS: &[(&str, u32)] = &[
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.tcp_wmem", 32),
];

/// `minor`: the version that the allowed parameters are of.
pub(super) fn sysctls(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    let set = lookup::objects(pod.spec, &["securityContext", "sysctls"])
        .map(|sysctl| lookup::text(sysctl, &["name"]));
    let forbidden: Vec<&str> = set
        .filter(|name| !is_known(SAFE_SYSCTLS, name, minor))
        .collect();
    if forbidden.is_empty() {
        None
    } else {
        Violation::new("forbidden sysctls", forbidden.join(", "))
    }
}

pub(super) fn windows_host_process(pod: &Pod<'_>) -> Option<Violation> {
    let (setters, _) = forbidden_values(pod, &["windowsOptions", "hostProcess"], |value| {
        *value == true
    })?;
    Violation::new(
        "hostProcess",
        format!("{setters} must not set securityContext.windowsOptions.hostProcess=true"),
    )
}

pub(super) fn allow_privilege_escalation(pod: &Pod<'_>) -> Option<Violation> {
    let path = ["securityContext", "allowPrivilegeEscalation"];
    let names = pod.named(|container| lookup::flag(container, &path) != Some(false));
    if names.is_empty() {
        return None;
    }
    let detail = format!(
        "{} must set securityContext.allowPrivilegeEscalation=false",
        containers(&names)
    );
    Violation::new("allowPrivilegeEscalation != false", detail)
}

pub(super) fn restricted_volumes(pod: &Pod<'_>) -> Option<Violation> {
    const ALLOWED: &[&str] = &[
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    let mut names = Vec::new();
    let mut sorts: Vec<&str> = Vec::new();
    for volume in lookup::objects(pod.spec, &["volumes"]) {
        let sort = volume
            .iter()
            .find(|(key, value)| *key != "name" && !value.is_null())
            .map(|(key, _)| key.as_str());
        if let Some(sort) = sort.filter(|sort| !ALLOWED.contains(sort)) {
            names.push(lookup::text(volume, &["name"]));
            sorts.push(sort);
        }
    }
    sorts.sort_unstable();
    sorts.dedup();
    if names.is_empty() {
        return None;
    }
    let (noun, verb) = if names.len() == 1 {
        ("volume", "uses")
    } else {
        ("volumes", "use")
    };
    let types = if sorts.len() == 1 { "type" } else { "types" };
    let detail = format!(
        "{noun} {} {verb} restricted volume {types} {}",
        quoted(&names),
        quoted(&sorts)
    );
    Violation::new("restricted volume types", detail)
}

pub(super) fn run_as_non_root(pod: &Pod<'_>) -> Option<Violation> {
    let path = ["securityContext", "runAsNonRoot"];
    let own = lookup::flag(pod.spec, &path);
    let explicit = pod.named(|container| lookup::flag(container, &path) == Some(false));
    let mut bad = Vec::new();
    if own == Some(false) {
        bad.push("pod".to_owned());
    }
    if !explicit.is_empty() {
        bad.push(containers(&explicit));
    }
    if !bad.is_empty() {
        let detail = format!(
            "{} must not set securityContext.runAsNonRoot=false",
            bad.join(" and ")
        );
        return Violation::new("runAsNonRoot != true", detail);
    }
    let implicit = pod.named(|container| lookup::flag(container, &path).is_none());
    if own == Some(true) || implicit.is_empty() {
        return None;
    }
    let detail = format!(
        "pod or {} must set securityContext.runAsNonRoot=true",
        containers(&implicit)
    );
    Violation::new("runAsNonRoot != true", detail)
}

pub(super) fn run_as_user(pod: &Pod<'_>) -> Option<Violation> {
    let (setters, _) = forbidden_values(pod, &["runAsUser"], |value| value.as_i64() == Some(0))?;
    Violation::new("runAsUser=0", format!("{setters} must not set runAsUser=0"))
}

/// The metadata of an object, which checks read as such.
pub(super) fn metadata(object: &Object) -> Object {
    meta::metadata(object).cloned().unwrap_or_default()
}
