//! The flow schemas and priority levels that every cluster has. Facts of upstream's suggested and mandatory configuration at v1.36.

use api::kinds::flowcontrol::mandatory;
use apimachinery::{Object, go, gvk::GroupResource, meta};
use serde_json::{Value, json};

use super::{Wanted, objects::object};
use crate::lookup;

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
/// Of its objects.
pub(super) const RESOURCES: [GroupResource; 2] = [
    GroupResource::new(GROUP, "flowschemas"),
    GroupResource::new(GROUP, "prioritylevelconfigurations"),
];
const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

/// Name, nominal shares, percentage that can be lent, queues and hand size of the suggested levels.
const LEVELS: &[(&str, u32, u32, u32, u32)] = &[
    ("global-default", 20, 50, 128, 6),
    ("leader-election", 10, 0, 16, 4),
    ("node-high", 40, 25, 64, 6),
    ("system", 30, 33, 64, 6),
    ("workload-high", 40, 50, 128, 6),
    ("workload-low", 100, 90, 128, 6),
];

const QUEUE_LENGTH: u32 = 50;

/// Whose requests.
#[derive(Clone, Copy)]
enum Subject {
    Group(&'static str),
    User(&'static str),
    /// All service accounts of a namespace.
    Accounts(&'static str),
}

/// Which requests.
#[derive(Clone, Copy)]
enum Requests {
    Everything,
    LeaderElection,
    NodeHealth,
    Probes,
}

struct Schema {
    name: &'static str,
    level: &'static str,
    precedence: u32,
    /// Empty for none.
    distinguisher: &'static str,
    subjects: &'static [Subject],
    requests: Requests,
}

const fn schema(
    name: &'static str,
    level: &'static str,
    precedence: u32,
    distinguisher: &'static str,
    subjects: &'static [Subject],
    requests: Requests,
) -> Schema {
    Schema {
        name,
        level,
        precedence,
        distinguisher,
        subjects,
        requests,
    }
}

const EVERYBODY: &[Subject] = &[
    Subject::Group("system:unauthenticated"),
    Subject::Group("system:authenticated"),
];
const MANAGER: Subject = Subject::User("system:kube-controller-manager");
const SCHEDULER: Subject = Subject::User("system:kube-scheduler");
const SYSTEM_ACCOUNTS: Subject = Subject::Accounts("kube-system");
const NODES: Subject = Subject::Group("system:nodes");

#[rustfmt::skip]
const SCHEMAS: &[Schema] = &[
    schema("probes", "exempt", 2, "", EVERYBODY, Requests::Probes),
    schema("system-leader-election", "leader-election", 100, "ByUser", &[MANAGER, SCHEDULER, SYSTEM_ACCOUNTS], Requests::LeaderElection),
    schema("system-node-high", "node-high", 400, "ByUser", &[NODES], Requests::NodeHealth),
    schema("system-nodes", "system", 500, "ByUser", &[NODES], Requests::Everything),
    schema("kube-controller-manager", "workload-high", 800, "ByNamespace", &[MANAGER], Requests::Everything),
    schema("kube-scheduler", "workload-high", 800, "ByNamespace", &[SCHEDULER], Requests::Everything),
    schema("kube-system-service-accounts", "workload-high", 900, "ByNamespace", &[SYSTEM_ACCOUNTS], Requests::Everything),
    schema("service-accounts", "workload-low", 9000, "ByUser", &[Subject::Group("system:serviceaccounts")], Requests::Everything),
    schema("global-default", "global-default", 9900, "ByUser", EVERYBODY, Requests::Everything),
];

impl Subject {
    fn to_value(self) -> Value {
        match self {
            Self::Group(name) => json!({"kind": "Group", "group": {"name": name}}),
            Self::User(name) => json!({"kind": "User", "user": {"name": name}}),
            Self::Accounts(namespace) => {
                json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": "*"}})
            }
        }
    }
}

impl Requests {
    /// The rule of these subjects.
    fn rule(self, subjects: &[Subject]) -> Value {
        let subjects: Vec<Value> = subjects.iter().map(|subject| subject.to_value()).collect();
        let leases = |verbs: &[&str]| json!({"verbs": verbs, "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "namespaces": ["*"]});
        match self {
            Self::Everything => json!({
                "subjects": subjects,
                "resourceRules": [{
                    "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"],
                }],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            }),
            Self::LeaderElection => {
                json!({"subjects": subjects, "resourceRules": [leases(&["get", "create", "update"])]})
            }
            Self::NodeHealth => json!({
                "subjects": subjects,
                "resourceRules": [
                    {
                        "verbs": ["*"], "apiGroups": [""], "resources": ["nodes", "nodes/status"],
                        "clusterScope": true, "namespaces": ["*"],
                    },
                    leases(&["*"]),
                ],
            }),
            Self::Probes => json!({
                "subjects": subjects,
                "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}],
            }),
        }
    }
}

pub(super) fn objects() -> impl Iterator<Item = Wanted> {
    mandatory_objects().chain(suggested_objects())
}

fn mandatory_objects() -> impl Iterator<Item = Wanted> {
    mandatory::NAMES.into_iter().flat_map(|name| {
        let level = mandatory::priority_level_spec(name).map(|spec| level(name, spec));
        let schema = mandatory::flow_schema_spec(name).map(|spec| flow_schema(name, spec));
        level.into_iter().chain(schema)
    })
}

fn suggested_objects() -> impl Iterator<Item = Wanted> {
    let levels = LEVELS.iter().map(|(name, shares, lendable, queues, hand_size)| {
        let response = json!({
            "type": "Queue",
            "queuing": {"queues": queues, "handSize": hand_size, "queueLengthLimit": QUEUE_LENGTH},
        });
        let limited =
            json!({"nominalConcurrencyShares": shares, "limitResponse": response, "lendablePercent": lendable});
        level(name, json!({"type": "Limited", "limited": limited}))
    });
    let schemas = SCHEMAS.iter().map(|row| {
        let mut spec = json!({
            "priorityLevelConfiguration": {"name": row.level},
            "matchingPrecedence": row.precedence,
            "rules": [row.requests.rule(row.subjects)],
        });
        if !row.distinguisher.is_empty() {
            spec["distinguisherMethod"] = json!({"type": row.distinguisher});
        }
        flow_schema(row.name, spec)
    });
    levels.chain(schemas)
}

fn flow_schema(name: &str, spec: Value) -> Wanted {
    let level = &spec["priorityLevelConfiguration"]["name"];
    let condition = json!({
        "type": "Dangling", "status": "False", "reason": "Found",
        "message": format!("This FlowSchema references the PriorityLevelConfiguration object named {level} and it exists"),
    });
    let status = json!({"conditions": [condition]});
    wanted("flowschemas", "FlowSchema", name, spec, status)
}

fn level(name: &str, spec: Value) -> Wanted {
    wanted(
        "prioritylevelconfigurations",
        "PriorityLevelConfiguration",
        name,
        spec,
        json!({}),
    )
}

fn wanted(resource: &'static str, kind: &str, name: &str, spec: Value, status: Value) -> Wanted {
    Wanted {
        resource: GroupResource::new(GROUP, resource),
        object: object(json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": kind,
            "metadata": {"name": name, "annotations": {AUTOUPDATE: "true"}},
            "spec": spec, "status": status,
        })),
        mend: restore_spec,
    }
}

/// The mandatory FlowSchemas and PriorityLevelConfigurations: what holds before the objects are there.
pub(crate) fn mandatory_flow_control() -> (Vec<Object>, Vec<Object>) {
    mandatory_objects()
        .map(|wanted| wanted.object)
        .partition(|object| meta::kind(object) == "FlowSchema")
}

/// What an object's annotation says of following the server; `None` if nothing that can be understood.
fn says_to_follow(object: &Object) -> Option<bool> {
    meta::annotation(object, AUTOUPDATE).and_then(go::parse_bool)
}

/// Whether an object that is not among the server's own was one of them in another version, and goes.
pub(super) fn is_abandoned(object: &Object) -> bool {
    says_to_follow(object) == Some(true)
        && !objects().any(|wanted| {
            meta::kind(&wanted.object) == meta::kind(object)
                && meta::name(&wanted.object) == meta::name(object)
        })
}

/// A mandatory object follows the server, but for what level `exempt` lends. A suggested one does if it is annotated so, or if its
/// annotation says nothing and nobody has changed its spec yet.
fn restore_spec(existing: &Object, wanted: &Object) -> Option<Object> {
    let mandatory = mandatory::NAMES.contains(&meta::name(wanted));
    let says = says_to_follow(existing);
    let follows = mandatory || says.unwrap_or_else(|| meta::generation(existing) == 1);
    let mut mended = existing.clone();
    if mandatory || says.is_none() {
        meta::set_annotation(
            &mut mended,
            AUTOUPDATE,
            Some(if follows { "true" } else { "false" }),
        );
    }
    if follows {
        let mut spec = lookup::value(wanted, &["spec"])
            .cloned()
            .unwrap_or_default();
        if meta::name(wanted) == "exempt"
            && let Some(lent) = lookup::value(existing, &["spec", "exempt"])
        {
            spec["exempt"] = lent.clone();
        }
        lookup::set(&mut mended, &["spec"], spec);
    }
    (mended != *existing).then_some(mended)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(name: &str) -> Object {
        let found = objects().find(|w| {
            meta::name(&w.object) == name && meta::kind(&w.object) == "PriorityLevelConfiguration"
        });
        found.unwrap().object
    }

    fn changed(name: &str, annotation: Option<&str>, generation: i64) -> Object {
        let mut object = level(name);
        meta::set_annotation(&mut object, AUTOUPDATE, annotation);
        meta::set_generation(&mut object, generation);
        lookup::set(
            &mut object,
            &["spec", "limited", "nominalConcurrencyShares"],
            1,
        );
        object
    }

    fn shares(object: &Object) -> Option<i64> {
        lookup::number(object, &["spec", "limited", "nominalConcurrencyShares"])
    }

    #[test]
    fn objects_follow_the_server_as_their_annotation_says() {
        let restored = |name, annotation, generation| {
            let mended = restore_spec(&changed(name, annotation, generation), &level(name))?;
            let says = meta::annotation(&mended, AUTOUPDATE).map(str::to_owned);
            Some((shares(&mended), says))
        };
        let yes = Some("true".to_owned());
        assert_eq!(
            restored("system", Some("true"), 2),
            Some((Some(30), yes.clone()))
        );
        assert_eq!(restored("system", Some("false"), 2), None);
        assert_eq!(
            restored("system", Some("perhaps"), 2),
            Some((Some(1), Some("false".to_owned())))
        );
        assert_eq!(restored("system", None, 1), Some((Some(30), yes.clone())));
        let no = Some("false".to_owned());
        assert_eq!(restored("system", None, 2), Some((Some(1), no)));
        assert_eq!(
            restored("catch-all", Some("false"), 2),
            Some((Some(5), yes))
        );
        assert_eq!(restore_spec(&level("system"), &level("system")), None);
    }

    #[test]
    fn what_the_exempt_level_lends_is_left_alone() {
        let mut lending = level("exempt");
        lookup::set(&mut lending, &["spec", "exempt", "lendablePercent"], 40);
        assert_eq!(restore_spec(&lending, &level("exempt")), None);
    }

    #[test]
    fn what_was_ours_in_another_version_is_abandoned() {
        let of = |name: &str, annotation: &str| {
            let mut object = level("system");
            lookup::set(&mut object, &["metadata", "name"], name);
            meta::set_annotation(&mut object, AUTOUPDATE, Some(annotation));
            is_abandoned(&object)
        };
        assert!(of("stray", "true"));
        assert!(!of("stray", "false"));
        assert!(!of("system", "true"));
    }

    #[test]
    fn the_mandatory_objects_are_two_of_each() {
        let (schemas, levels) = mandatory_flow_control();
        assert_eq!((schemas.len(), levels.len()), (2, 2));
    }
}
