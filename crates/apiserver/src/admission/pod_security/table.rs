//! Which checks of the Pod Security Standards hold at a level, by the version of the rules: one row a check, sorted by upstream's name of it within
//! its level, which is the order of its messages.
//!
//! A check of the restricted level may replace one of the baseline level, from the version on that brought it.

use apimachinery::Object;

use super::{
    checks::{self as check, Pod, Violation},
    policy::{Level, LevelVersion},
};

type Rule = fn(&Pod<'_>) -> Option<Violation>;

struct Check {
    name: &'static str,
    level: Level,
    /// The minor version that brought each form of the check, ascending.
    rules: &'static [(u32, Rule)],
    /// The check that this one stands for under the restricted level.
    replaces: &'static str,
}

const fn baseline(name: &'static str, rules: &'static [(u32, Rule)]) -> Check {
    Check {
        name,
        level: Level::Baseline,
        rules,
        replaces: "",
    }
}

const fn restricted(name: &'static str, rules: &'static [(u32, Rule)]) -> Check {
    Check {
        name,
        level: Level::Restricted,
        rules,
        replaces: "",
    }
}

const fn replacing(replaces: &'static str, check: Check) -> Check {
    Check { replaces, ..check }
}

const CHECKS: &[Check] = &[
    baseline("appArmorProfile", &[(0, check::app_armor_profile)]),
    baseline(
        "capabilities_baseline",
        &[(0, check::capabilities_baseline)],
    ),
    baseline("hostNamespaces", &[(0, check::host_namespaces)]),
    baseline("hostPathVolumes", &[(0, check::host_path_volumes)]),
    baseline("hostPorts", &[(0, check::host_ports)]),
    baseline("hostProbesAndHostLifecycle", &[(34, check::host_probes)]),
    baseline("privileged", &[(0, check::privileged)]),
    baseline(
        "procMount",
        &[
            (0, check::proc_mount),
            (35, |pod| {
                unless(pod.in_user_namespace(), pod, check::proc_mount)
            }),
        ],
    ),
    baseline(
        "seLinuxOptions",
        &[
            (0, |pod| check::se_linux_options(pod, 0)),
            (31, |pod| check::se_linux_options(pod, 31)),
        ],
    ),
    baseline(
        "seccompProfile_baseline",
        &[
            (0, check::seccomp_annotations),
            (19, check::seccomp_baseline),
        ],
    ),
    baseline(
        "sysctls",
        &[
            (0, |pod| check::sysctls(pod, 0)),
            (27, |pod| check::sysctls(pod, 27)),
            (29, |pod| check::sysctls(pod, 29)),
            (32, |pod| check::sysctls(pod, 32)),
        ],
    ),
    baseline("windowsHostProcess", &[(0, check::windows_host_process)]),
    restricted(
        "allowPrivilegeEscalation",
        &[
            (8, check::allow_privilege_escalation),
            (25, |pod| {
                unless(pod.on_windows(), pod, check::allow_privilege_escalation)
            }),
        ],
    ),
    replacing(
        "capabilities_baseline",
        restricted(
            "capabilities_restricted",
            &[
                (22, check::capabilities_restricted),
                (25, |pod| {
                    unless(pod.on_windows(), pod, check::capabilities_restricted)
                }),
            ],
        ),
    ),
    replacing(
        "procMount",
        restricted("procMount_restricted", &[(35, check::proc_mount)]),
    ),
    replacing(
        "hostPathVolumes",
        restricted("restrictedVolumes", &[(0, check::restricted_volumes)]),
    ),
    restricted(
        "runAsNonRoot",
        &[
            (0, check::run_as_non_root),
            (35, |pod| {
                unless(pod.in_user_namespace(), pod, check::run_as_non_root)
            }),
        ],
    ),
    restricted(
        "runAsUser",
        &[
            (23, check::run_as_user),
            (35, |pod| {
                unless(pod.in_user_namespace(), pod, check::run_as_user)
            }),
        ],
    ),
    replacing(
        "seccompProfile_baseline",
        restricted(
            "seccompProfile_restricted",
            &[
                (19, check::seccomp_restricted),
                (25, |pod| {
                    unless(pod.on_windows(), pod, check::seccomp_restricted)
                }),
            ],
        ),
    ),
];

fn unless(exempt: bool, pod: &Pod<'_>, rule: Rule) -> Option<Violation> {
    if exempt { None } else { rule(pod) }
}

impl Check {
    /// The form of the check that holds in a version, if there is one yet.
    fn rule(&self, policy: LevelVersion) -> Option<Rule> {
        if policy.level < self.level {
            return None;
        }
        let known = |(since, _): &&(u32, Rule)| policy.minor.is_none_or(|minor| minor >= *since);
        self.rules.iter().rev().find(known).map(|(_, rule)| *rule)
    }
}

/// What a pod, or a pod template, does against a level.
pub(super) fn violations(metadata: &Object, spec: &Object, policy: LevelVersion) -> Vec<Violation> {
    let pod = Pod { metadata, spec };
    let is_replaced = |name: &str| {
        let mut others = CHECKS.iter().filter(|check| check.replaces == name);
        others.any(|check| check.rule(policy).is_some())
    };
    CHECKS
        .iter()
        .filter(|check| !is_replaced(check.name))
        .filter_map(|check| check.rule(policy)?(&pod))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(level: Level, minor: Option<u32>, metadata: Value, spec: Value) -> Vec<String> {
        let violations = violations(
            metadata.as_object().unwrap(),
            spec.as_object().unwrap(),
            LevelVersion { level, minor },
        );
        violations.iter().map(Violation::describe).collect()
    }

    #[test]
    fn rows_are_sorted_within_their_level() {
        let names: Vec<_> = CHECKS
            .iter()
            .map(|check| (check.level, check.name))
            .collect();
        assert!(names.is_sorted(), "{names:?}");
    }

    #[test]
    fn checks_follow_the_version_of_the_rules() {
        let sysctl =
            |name: &str| json!({"securityContext": {"sysctls": [{"name": name, "value": "1"}]}});
        for (minor, name, expected) in [
            (Some(26), "net.ipv4.ip_local_reserved_ports", 1),
            (Some(27), "net.ipv4.ip_local_reserved_ports", 0),
            (Some(28), "net.ipv4.tcp_keepalive_time", 1),
            (None, "net.ipv4.tcp_rmem", 0),
        ] {
            let violations = found(Level::Baseline, minor, json!({}), sysctl(name));
            assert_eq!(violations.len(), expected, "{minor:?} {name}");
        }
        let engine = json!({"securityContext": {"seLinuxOptions": {"type": "container_engine_t"}}});
        assert_eq!(
            found(Level::Baseline, Some(30), json!({}), engine.clone()).len(),
            1
        );
        assert_eq!(found(Level::Baseline, Some(31), json!({}), engine).len(), 0);
        let annotated =
            json!({"annotations": {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}});
        let none = json!({"containers": []});
        assert_eq!(
            found(Level::Baseline, Some(18), annotated.clone(), none.clone()),
            [
                r#"seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod="unconfined")"#
            ]
        );
        assert!(found(Level::Baseline, Some(19), annotated, none).is_empty());
    }

    #[test]
    fn what_is_replaced_is_said_once() {
        let spec = json!({
            "containers": [{"name": "c", "securityContext": {
                "allowPrivilegeEscalation": false, "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            }}],
            "volumes": [{"name": "v", "hostPath": {"path": "/"}}],
        });
        assert_eq!(
            found(Level::Restricted, None, json!({}), spec.clone()),
            [r#"restricted volume types (volume "v" uses restricted volume type "hostPath")"#]
        );
        assert_eq!(
            found(Level::Baseline, None, json!({}), spec),
            [r#"hostPath volumes (volume "v")"#]
        );
        let added = json!({"containers": [{"name": "c", "securityContext": {
            "runAsNonRoot": true, "capabilities": {"add": ["FOO"]},
        }}]});
        assert_eq!(
            found(Level::Restricted, Some(7), json!({}), added),
            [
                r#"non-default capabilities (container "c" must not include "FOO" in securityContext.capabilities.add)"#
            ]
        );
    }

    #[test]
    fn hosts_of_probes_and_handlers_are_forbidden_since_they_are_judged() {
        let spec = json!({"containers": [{
            "name": "c",
            "livenessProbe": {"httpGet": {"host": "evil"}},
            "lifecycle": {"preStop": {"tcpSocket": {"host": "also"}}},
        }]});
        assert_eq!(
            found(Level::Baseline, Some(34), json!({}), spec.clone()),
            [
                r#"probe or lifecycle host (container "c" uses probe or lifecycle hosts "also", "evil")"#
            ]
        );
        assert!(found(Level::Baseline, Some(33), json!({}), spec).is_empty());
    }

    #[test]
    fn app_armor_fields_and_annotations_are_one_complaint() {
        let metadata = json!({"annotations": {"container.apparmor.security.beta.kubernetes.io/c": "unconfined"}});
        let spec = json!({"containers": [{
            "name": "c", "securityContext": {"appArmorProfile": {"type": "Unconfined"}},
        }]});
        assert_eq!(
            found(Level::Baseline, None, metadata, spec),
            [concat!(
                r#"forbidden AppArmor profiles (container "c" and annotation must not set AppArmor profile type to "#,
                r#""Unconfined", "container.apparmor.security.beta.kubernetes.io/c="unconfined"")"#
            )]
        );
    }

    #[test]
    fn ports_are_listed_as_text() {
        let spec =
            json!({"containers": [{"name": "c", "ports": [{"hostPort": 90}, {"hostPort": 8081}]}]});
        assert_eq!(
            found(Level::Baseline, None, json!({}), spec),
            [r#"hostPort (container "c" uses hostPorts 8081, 90)"#]
        );
    }
}
