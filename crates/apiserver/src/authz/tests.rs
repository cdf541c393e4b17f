use std::sync::Arc;

use http::Method;
use serde_json::json;

use super::*;
use crate::{
    authz::rbac::{Rbac, RuleResolver},
    memory_reader::MemoryReader,
    reader::ObjectReader,
    user::MASTERS,
};

fn user(name: &str, groups: &[&str]) -> UserInfo {
    UserInfo {
        name: name.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ..UserInfo::default()
    }
}

async fn decide(
    authorizer: &dyn Authorizer,
    user: &UserInfo,
    method: Method,
    uri: &str,
) -> (Decision, String) {
    let request = RequestInfo::parse(&method, &uri.parse().unwrap());
    authorizer
        .authorize(Attributes {
            user,
            request: &request,
        })
        .await
}

fn roles() -> Arc<MemoryReader> {
    let group = "rbac.authorization.k8s.io";
    let rule =
        |resource: &str| json!([{"verbs": ["get"], "apiGroups": [""], "resources": [resource]}]);
    MemoryReader::with([
        (
            "clusterroles.rbac.authorization.k8s.io",
            json!({"metadata": {"name": "reader"}, "rules": rule("pods")}),
        ),
        (
            "roles.rbac.authorization.k8s.io",
            json!({"metadata": {"name": "r", "namespace": "a"}, "rules": rule("secrets")}),
        ),
        (
            "clusterrolebindings.rbac.authorization.k8s.io",
            json!({"metadata": {"name": "all"}, "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "reader"},
                "subjects": [{"kind": "Group", "apiGroup": group, "name": "readers"}]}),
        ),
        (
            "rolebindings.rbac.authorization.k8s.io",
            json!({"metadata": {"name": "b", "namespace": "a"}, "roleRef": {"apiGroup": group, "kind": "Role", "name": "r"},
                "subjects": [{"kind": "User", "name": "alice"}, {"kind": "ServiceAccount", "name": "sa"}]}),
        ),
        (
            "rolebindings.rbac.authorization.k8s.io",
            json!({"metadata": {"name": "dangling", "namespace": "a"},
                "roleRef": {"apiGroup": group, "kind": "Role", "name": "nosuch"},
                "subjects": [{"kind": "User", "name": "bob"}]}),
        ),
    ])
}

fn rbac(reader: &Arc<MemoryReader>) -> Rbac {
    let reader: Arc<dyn ObjectReader> = Arc::clone(reader) as _;
    Rbac::new(Arc::new(RuleResolver::new(&reader)))
}

#[tokio::test]
async fn roles_are_held_by_subjects_where_they_are_bound() {
    let rbac = rbac(&roles());
    let (secret, elsewhere) = (
        "/api/v1/namespaces/a/secrets/s",
        "/api/v1/namespaces/b/secrets/s",
    );
    let allowed_by = |grant: &str| (Decision::Allow, format!("RBAC: allowed by {grant}"));
    let nothing = (Decision::NoOpinion, String::new());
    let cases = [
        (
            user("x", &["readers"]),
            "/api/v1/namespaces/b/pods/p",
            allowed_by(r#"ClusterRoleBinding "all" of ClusterRole "reader" to Group "readers""#),
        ),
        (
            user("x", &[]),
            "/api/v1/namespaces/b/pods/p",
            nothing.clone(),
        ),
        (
            user("alice", &[]),
            secret,
            allowed_by(r#"RoleBinding "b/a" of Role "r" to User "alice""#),
        ),
        (user("alice", &[]), elsewhere, nothing.clone()),
        (
            user("system:serviceaccount:a:sa", &[]),
            secret,
            allowed_by(r#"RoleBinding "b/a" of Role "r" to ServiceAccount "sa/a""#),
        ),
        (
            user("system:serviceaccount:b:sa", &[]),
            secret,
            nothing.clone(),
        ),
        (
            user("bob", &[]),
            secret,
            (
                Decision::NoOpinion,
                "RBAC: role.rbac.authorization.k8s.io \"nosuch\" not found".to_owned(),
            ),
        ),
    ];
    for (user, uri, expected) in cases {
        assert_eq!(
            decide(&rbac, &user, Method::GET, uri).await,
            expected,
            "{user:?} {uri}"
        );
    }
}

#[tokio::test]
async fn a_changed_role_counts_at_once() {
    let reader = roles();
    let rbac = rbac(&reader);
    let alice = user("alice", &[]);
    assert_eq!(
        decide(
            &rbac,
            &alice,
            Method::DELETE,
            "/api/v1/namespaces/a/secrets/s"
        )
        .await
        .0,
        Decision::NoOpinion
    );
    let rules = json!([{"verbs": ["*"], "apiGroups": [""], "resources": ["secrets"]}]);
    reader.put(
        "roles.rbac.authorization.k8s.io",
        json!({"metadata": {"name": "r", "namespace": "a"}, "rules": rules}),
    );
    assert_eq!(
        decide(
            &rbac,
            &alice,
            Method::DELETE,
            "/api/v1/namespaces/a/secrets/s"
        )
        .await
        .0,
        Decision::Allow
    );
}

#[tokio::test]
async fn superusers_need_no_role() {
    let reader: Arc<dyn ObjectReader> = MemoryReader::with([]);
    let resolver = Arc::new(RuleResolver::new(&reader));
    let union = Union::new(
        [Mode::Node, Mode::Rbac]
            .into_iter()
            .filter_map(|mode| of_mode(mode, &reader, &resolver))
            .collect(),
    );
    let uri = "/api/v1/nodes";
    assert_eq!(
        decide(&union, &user("root", &[MASTERS]), Method::DELETE, uri)
            .await
            .0,
        Decision::Allow
    );
    assert_eq!(
        decide(&union, &user("root", &[]), Method::DELETE, uri)
            .await
            .0,
        Decision::NoOpinion
    );
}

#[test]
fn what_a_user_may_do_is_listed_by_those_who_can() {
    let reader: Arc<dyn ObjectReader> = MemoryReader::with([]);
    let resolver = Arc::new(RuleResolver::new(&reader));
    let union = |modes: &[Mode]| {
        let authorizers = modes.iter().map(|mode| of_mode(*mode, &reader, &resolver));
        Union::new(authorizers.flatten().collect())
    };
    let node = user("system:node:n1", &["system:nodes"]);
    let listed = union(&[Mode::Node, Mode::Rbac]).rules_for(&node, "ns");
    assert_eq!(
        listed.errors,
        ["node authorizer does not support user rule resolution"]
    );
    let listed = union(&[Mode::Node, Mode::Rbac]).rules_for(&user("u", &[]), "ns");
    assert!(listed.errors.is_empty() && listed.rules.is_empty());
    let listed = union(&[Mode::AlwaysAllow]).rules_for(&user("u", &[]), "ns");
    assert_eq!(listed.rules[0].resources, ["*"]);
    assert_eq!(listed.rules[1].non_resource_urls, ["*"]);
}

#[tokio::test]
async fn a_node_has_its_own_resource_slices() {
    let slice =
        |name: &str, node: &str| json!({"metadata": {"name": name}, "spec": {"nodeName": node}});
    let reader: Arc<dyn ObjectReader> = MemoryReader::with([
        ("resourceslices.resource.k8s.io", slice("own", "n1")),
        ("resourceslices.resource.k8s.io", slice("other", "n2")),
    ]);
    let authorizer = node::NodeAuthorizer::new(reader);
    let node = user("system:node:n1", &["system:nodes"]);
    let slices = "/apis/resource.k8s.io/v1/resourceslices";
    for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE] {
        for (name, decision) in [
            ("own", Decision::Allow),
            ("other", Decision::NoOpinion),
            ("none", Decision::NoOpinion),
        ] {
            let uri = format!("{slices}/{name}");
            let decided = decide(&authorizer, &node, method.clone(), &uri).await.0;
            assert_eq!(decided, decision, "{method} {name}");
        }
    }
    let decided = decide(&authorizer, &node, Method::POST, slices).await.0;
    assert_eq!(decided, Decision::Allow);
}

#[tokio::test]
async fn a_node_reads_what_its_pods_refer_to() {
    let reader: Arc<dyn ObjectReader> = MemoryReader::with([
        (
            "pods",
            json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": {
            "nodeName": "n1", "serviceAccountName": "sa",
            "imagePullSecrets": [{"name": "pull"}],
            "containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "env"}}],
                "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "key", "key": "k"}}}]}],
            "volumes": [
                {"name": "v", "secret": {"secretName": "volume"}},
                {"name": "w", "projected": {"sources": [{"configMap": {"name": "projected"}}]}},
                {"name": "d", "persistentVolumeClaim": {"claimName": "claim"}},
                {"name": "e", "ephemeral": {}},
            ]}}),
        ),
        (
            "pods",
            json!({"metadata": {"name": "mirror", "namespace": "ns", "annotations": {"kubernetes.io/config.mirror": "x"}},
                "spec": {"nodeName": "n1", "volumes": [{"name": "v", "secret": {"secretName": "stolen"}}]}}),
        ),
        (
            "persistentvolumeclaims",
            json!({"metadata": {"name": "claim", "namespace": "ns"}, "spec": {"volumeName": "pv"}}),
        ),
        (
            "persistentvolumes",
            json!({"metadata": {"name": "pv"}, "spec": {"claimRef": {"namespace": "ns", "name": "claim"},
                "csi": {"nodeStageSecretRef": {"namespace": "storage", "name": "stage"}}}}),
        ),
    ]);
    let authorizer = node::NodeAuthorizer::new(reader);
    let unrelated = "no relationship found between node 'n1' and this object";
    let cases = [
        (Method::GET, "/api/v1/namespaces/ns/secrets/volume", ""),
        (Method::GET, "/api/v1/namespaces/ns/secrets/key", ""),
        (Method::GET, "/api/v1/namespaces/ns/secrets/pull", ""),
        (Method::GET, "/api/v1/namespaces/storage/secrets/stage", ""),
        (
            Method::GET,
            "/api/v1/namespaces/ns/secrets/stolen",
            unrelated,
        ),
        (
            Method::GET,
            "/api/v1/namespaces/other/secrets/volume",
            unrelated,
        ),
        (
            Method::GET,
            "/api/v1/namespaces/ns/secrets",
            "No Object name found",
        ),
        (
            Method::GET,
            "/api/v1/namespaces/ns/secrets?fieldSelector=metadata.name%3Dvolume",
            "",
        ),
        (
            Method::PUT,
            "/api/v1/namespaces/ns/secrets/volume",
            "can only read resources of this type",
        ),
        (Method::GET, "/api/v1/namespaces/ns/configmaps/env", ""),
        (
            Method::GET,
            "/api/v1/namespaces/ns/configmaps/projected",
            "",
        ),
        (
            Method::GET,
            "/api/v1/namespaces/ns/configmaps/other",
            unrelated,
        ),
        (
            Method::GET,
            "/api/v1/namespaces/ns/persistentvolumeclaims/claim",
            "",
        ),
        (
            Method::GET,
            "/api/v1/namespaces/ns/persistentvolumeclaims/p-e",
            "",
        ),
        (Method::GET, "/api/v1/persistentvolumes/pv", ""),
        (
            Method::POST,
            "/api/v1/namespaces/ns/serviceaccounts/sa/token",
            "",
        ),
        (
            Method::POST,
            "/api/v1/namespaces/ns/serviceaccounts/admin/token",
            unrelated,
        ),
        (
            Method::GET,
            "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1",
            "",
        ),
        (
            Method::GET,
            "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2",
            "can only list/watch pods with spec.nodeName field selector",
        ),
        (Method::GET, "/api/v1/namespaces/ns/pods/p", ""),
        (Method::GET, "/api/v1/nodes/n1", ""),
        (
            Method::GET,
            "/api/v1/nodes/n2",
            "node 'n1' cannot read 'n2', only its own Node object",
        ),
        (
            Method::GET,
            "/api/v1/nodes",
            "node 'n1' cannot read all nodes, only its own Node object",
        ),
        (Method::PATCH, "/api/v1/nodes/n1/status", ""),
        (
            Method::PUT,
            "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1",
            "",
        ),
        (
            Method::PUT,
            "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n2",
            "can only access node lease with the same name as the requesting node",
        ),
        (
            Method::PUT,
            "/apis/coordination.k8s.io/v1/namespaces/default/leases/n1",
            "can only access leases in the \"kube-node-lease\" system namespace",
        ),
        (Method::GET, "/api/v1/services", ""),
        (Method::POST, "/api/v1/namespaces/ns/events", ""),
    ];
    let node = user("system:node:n1", &["system:nodes"]);
    for (method, uri, refusal) in cases {
        let (decision, reason) = decide(&authorizer, &node, method.clone(), uri).await;
        assert_eq!(reason, refusal, "{method} {uri}");
        assert_eq!(
            decision == Decision::Allow,
            refusal.is_empty(),
            "{method} {uri}"
        );
    }
    let (decision, reason) = decide(&authorizer, &node, Method::DELETE, "/api/v1/nodes/n1").await;
    assert_eq!((decision, reason.as_str()), (Decision::NoOpinion, ""));
    let stranger = user("system:node:n1", &[]);
    let (decision, _) = decide(&authorizer, &stranger, Method::GET, "/api/v1/nodes/n1").await;
    assert_eq!(decision, Decision::NoOpinion);
}

#[test]
fn refusals_are_worded_as_upstream_words_them() {
    let asker = user("u", &[]);
    for (method, uri, expected) in [
        (
            Method::GET,
            "/api/v1/namespaces/ns/pods/p/log",
            r#"pods "p" is forbidden: User "u" cannot get resource "pods/log" in API group "" in the namespace "ns""#,
        ),
        (
            Method::GET,
            "/apis/apps/v1/deployments",
            r#"deployments.apps is forbidden: User "u" cannot list resource "deployments" in API group "apps" at the cluster scope"#,
        ),
        (
            Method::POST,
            "/xyz",
            r#"forbidden: User "u" cannot post path "/xyz""#,
        ),
    ] {
        let request = RequestInfo::parse(&method, &uri.parse().unwrap());
        let status = forbidden(
            Attributes {
                user: &asker,
                request: &request,
            },
            "",
        );
        assert_eq!((status.code, status.message.as_str()), (403, expected));
    }
}
