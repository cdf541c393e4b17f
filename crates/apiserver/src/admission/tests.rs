//! The plugins as the registry calls them: what becomes of an object, and what is refused in which words.

use std::sync::Arc;

use apimachinery::{
    gvk::{GroupVersionKind, GroupVersionResource},
    managed_fields::Nulls,
};
use base::{Clock, TaskGroup};
use http::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    authz::{AlwaysDeny, rbac::RuleResolver},
    memory_reader::{MemoryReader, object},
    reader::ObjectReader,
    request_info::RequestInfo,
    user::UserInfo,
    webhook_client::WebhookClients,
};

mod optional;

/// A server that serves nothing: for plugins that ask nobody outside.
struct NoResources;

#[async_trait]
impl Resources for NoResources {
    fn equivalents(&self, _: &GroupVersionResource, _: &str) -> Vec<Equivalent> {
        Vec::new()
    }

    async fn convert(&self, object: Object, _: &GroupVersionKind) -> Result<Object, Status> {
        Ok(object)
    }

    fn complete(
        &self,
        object: Object,
        _: &GroupVersionKind,
        _: UnknownFields,
    ) -> Result<Object, String> {
        Ok(object)
    }

    fn resource_of(&self, _: &GroupVersionKind) -> Option<(GroupVersionResource, bool)> {
        None
    }

    fn merge(
        &self,
        object: &Object,
        _: &Object,
        _: &GroupVersionKind,
        _: Nulls,
    ) -> Result<Object, String> {
        Ok(object.clone())
    }

    async fn objects(
        &self,
        _: &GroupVersionKind,
        _: &str,
        _: Option<&str>,
    ) -> Result<Vec<Object>, Status> {
        Ok(Vec::new())
    }
}

fn dependencies(memory: &Arc<MemoryReader>) -> Dependencies {
    let reader: Arc<dyn ObjectReader> = Arc::clone(memory) as _;
    let tasks = TaskGroup::new(&CancellationToken::new());
    Dependencies {
        rules: Arc::new(RuleResolver::new(&reader)),
        webhooks: WebhookClients::new(Arc::clone(&reader), tasks),
        reader,
        writer: Arc::clone(memory) as _,
        authorizer: Arc::new(AlwaysDeny),
        clock: Clock::system(),
        resources: Arc::new(NoResources),
        metrics: AdmissionMetrics::new(&base::metrics::Registry::new()),
    }
}

/// A request at the gates of a server with these plugins enabled beyond the default ones.
struct Gate {
    chain: Chain,
    user: UserInfo,
}

impl Gate {
    fn of(reader: &Arc<MemoryReader>) -> Self {
        let dependencies = dependencies(reader);
        let enable = ["NodeRestriction".to_owned()];
        let plugins = plugins(
            &enable,
            &[],
            &AdmissionConfiguration::default(),
            &dependencies,
        )
        .unwrap();
        Self {
            chain: Chain::new(plugins, &dependencies.metrics),
            user: UserInfo::default(),
        }
    }

    fn by(mut self, name: &str, groups: &[&str]) -> Self {
        self.user.name = name.to_owned();
        self.user.groups = groups.iter().map(|group| (*group).to_owned()).collect();
        self
    }

    /// The object as it comes out of the gates, with warnings; or the refusal.
    async fn pass(
        &self,
        method: Method,
        path: &str,
        new: Option<Value>,
        old: Option<Value>,
    ) -> Result<(Value, Vec<String>), Status> {
        let operation = match method {
            Method::POST => Operation::Create,
            Method::DELETE => Operation::Delete,
            _ => Operation::Update,
        };
        let mut request = RequestInfo::parse(&method, &path.parse().unwrap());
        let mut new = new.map(object);
        if let Some(new) = &new
            && request.name.is_empty()
        {
            request.name = meta::name(new).to_owned();
        }
        let old = old.map(object);
        let options = Object::new();
        let mut admission = Admission {
            operation,
            request: &request,
            kind: &GroupVersionKind::default(),
            user: &self.user,
            object: new.as_mut(),
            old_object: old.as_ref(),
            dry_run: false,
            options: &options,
            notes: Notes::default(),
            reinvocation: Reinvocation::default(),
        };
        self.chain.admit(&mut admission).await?;
        self.chain.validate(&admission).await?;
        let warnings = admission.notes.take().0;
        Ok((new.map(Value::Object).unwrap_or_default(), warnings))
    }

    async fn create(&self, path: &str, new: Value) -> Result<Value, Status> {
        self.pass(Method::POST, path, Some(new), None)
            .await
            .map(|(object, _)| object)
    }

    async fn why_not(&self, method: Method, path: &str, new: Value, old: Option<Value>) -> String {
        match self.pass(method.clone(), path, Some(new), old).await {
            Ok((object, _)) => panic!("{method} {path} was let through: {object}"),
            Err(status) => status.message,
        }
    }
}

fn world() -> Arc<MemoryReader> {
    MemoryReader::with([
        (
            "namespaces",
            json!({"metadata": {"name": "ns"}, "status": {"phase": "Active"}}),
        ),
        (
            "namespaces",
            json!({"metadata": {"name": "old"}, "status": {"phase": "Terminating"}}),
        ),
        (
            "serviceaccounts",
            json!({"metadata": {"name": "default", "namespace": "ns"}}),
        ),
    ])
}

fn pod(spec: Value) -> Value {
    let mut pod = json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    for (field, value) in spec.as_object().unwrap() {
        pod["spec"][field] = value.clone();
    }
    pod
}

const PODS: &str = "/api/v1/namespaces/ns/pods";

#[tokio::test]
async fn namespaces_must_be_there_and_live() {
    let gate = Gate::of(&world());
    let config_map = json!({"metadata": {"name": "a"}});
    let create = |namespace: &str| format!("/api/v1/namespaces/{namespace}/configmaps");
    assert!(gate.create(&create("ns"), config_map.clone()).await.is_ok());
    let missing = gate
        .create(&create("nosuch"), config_map.clone())
        .await
        .unwrap_err();
    assert_eq!(
        (missing.code, missing.message.as_str()),
        (404, "namespaces \"nosuch\" not found")
    );
    let ending = gate.create(&create("old"), config_map).await.unwrap_err();
    let words = "configmaps \"a\" is forbidden: unable to create new content in namespace old because it is being terminated";
    assert_eq!(ending.message, words);
    assert_eq!(
        ending.details.unwrap().causes[0].reason,
        "NamespaceTerminating"
    );
    let kept = gate
        .pass(Method::DELETE, "/api/v1/namespaces/default", None, None)
        .await
        .unwrap_err();
    assert_eq!(
        kept.message,
        "namespaces \"default\" is forbidden: this namespace may not be deleted"
    );
    assert!(
        gate.pass(Method::DELETE, "/api/v1/namespaces/ns", None, None)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_pod_gets_its_accounts_token_and_what_else_it_left_out() {
    let created = Gate::of(&world())
        .create(PODS, pod(json!({})))
        .await
        .unwrap();
    let spec = &created["spec"];
    assert_eq!(
        (&spec["serviceAccountName"], &spec["serviceAccount"]),
        (&json!("default"), &json!("default"))
    );
    let volume = spec["volumes"][0]["name"].as_str().unwrap();
    assert!(volume.starts_with("kube-api-access-"), "{volume}");
    let path = "/var/run/secrets/kubernetes.io/serviceaccount";
    let mount = json!({"name": volume, "readOnly": true, "mountPath": path});
    assert_eq!(spec["containers"][0]["volumeMounts"], json!([mount]));
    let sources = &spec["volumes"][0]["projected"]["sources"];
    assert_eq!(
        sources[0],
        json!({"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}})
    );
    assert_eq!(
        (&spec["priority"], &spec["preemptionPolicy"]),
        (&json!(0), &json!("PreemptLowerPriority"))
    );
    let keys: Vec<_> = spec["tolerations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|toleration| &toleration["key"])
        .collect();
    assert_eq!(
        keys,
        [
            "node.kubernetes.io/not-ready",
            "node.kubernetes.io/unreachable"
        ]
    );
}

#[tokio::test]
async fn tokens_are_not_mounted_where_nobody_wants_them() {
    let reader = world();
    reader.put(
        "serviceaccounts",
        json!({"metadata": {"name": "quiet", "namespace": "ns"}, "automountServiceAccountToken": false,
            "imagePullSecrets": [{"name": "pull"}]}),
    );
    let gate = Gate::of(&reader);
    let own = gate
        .create(PODS, pod(json!({"automountServiceAccountToken": false})))
        .await
        .unwrap();
    assert_eq!(own["spec"].get("volumes"), None);
    let accounts = gate
        .create(PODS, pod(json!({"serviceAccountName": "quiet"})))
        .await
        .unwrap();
    assert_eq!(accounts["spec"].get("volumes"), None);
    assert_eq!(
        accounts["spec"]["imagePullSecrets"],
        json!([{"name": "pull"}])
    );
    let missing = gate
        .why_not(
            Method::POST,
            PODS,
            pod(json!({"serviceAccountName": "x"})),
            None,
        )
        .await;
    assert_eq!(
        missing,
        "pods \"p\" is forbidden: error looking up service account ns/x: serviceaccount \"x\" not found"
    );
}

#[tokio::test]
async fn priorities_come_from_classes() {
    let reader = world();
    let class = |name: &str, value: i64, default: bool| json!({"metadata": {"name": name}, "value": value, "globalDefault": default, "preemptionPolicy": "Never"});
    reader.put(
        "priorityclasses.scheduling.k8s.io",
        class("high", 1000, false),
    );
    let gate = Gate::of(&reader);
    let high = gate
        .create(PODS, pod(json!({"priorityClassName": "high"})))
        .await
        .unwrap();
    assert_eq!(
        (&high["spec"]["priority"], &high["spec"]["preemptionPolicy"]),
        (&json!(1000), &json!("Never"))
    );
    let own = gate
        .why_not(Method::POST, PODS, pod(json!({"priority": 7})), None)
        .await;
    assert!(
        own.contains("the integer value of priority (7) must not be provided in pod spec"),
        "{own}"
    );
    let missing = gate
        .why_not(
            Method::POST,
            PODS,
            pod(json!({"priorityClassName": "x"})),
            None,
        )
        .await;
    assert_eq!(
        missing,
        "pods \"p\" is forbidden: no PriorityClass with name x was found"
    );
    reader.put(
        "priorityclasses.scheduling.k8s.io",
        class("usual", 10, true),
    );
    let usual = gate.create(PODS, pod(json!({}))).await.unwrap();
    assert_eq!(
        (
            &usual["spec"]["priorityClassName"],
            &usual["spec"]["priority"]
        ),
        (&json!("usual"), &json!(10))
    );
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let second = gate
        .why_not(Method::POST, classes, class("other", 5, true), None)
        .await;
    assert!(
        second.ends_with(
            "PriorityClass usual is already marked as default. Only one default can exist"
        ),
        "{second}"
    );
}

#[tokio::test]
async fn a_node_writes_itself_and_its_mirror_pods() {
    let reader = world();
    reader.put("nodes", json!({"metadata": {"name": "n1", "uid": "u"}}));
    reader.put("pods", json!({"metadata": {"name": "own", "namespace": "ns", "uid": "1"}, "spec": {
        "nodeName": "n1",
        "volumes": [{"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
    }}));
    reader.put("pods", json!({"metadata": {"name": "other", "namespace": "ns", "uid": "2"}, "spec": {"nodeName": "n2"}}));
    let gate = Gate::of(&reader).by("system:node:n1", &["system:nodes"]);
    let node = |name: &str, labels: Value| json!({"metadata": {"name": name, "labels": labels}});
    let nodes = "/api/v1/nodes";
    assert!(
        gate.create(
            nodes,
            node(
                "n1",
                json!({"kubernetes.io/hostname": "n1", "example.com/x": "y"})
            )
        )
        .await
        .is_ok()
    );
    for (method, path, new, old, words) in [
        (
            Method::POST,
            nodes,
            node("n2", json!({})),
            None,
            "node \"n1\" is not allowed to modify node \"n2\"",
        ),
        (
            Method::POST,
            nodes,
            node(
                "n1",
                json!({"node-restriction.kubernetes.io/a": "b", "kubernetes.io/x": "y"}),
            ),
            None,
            "node \"n1\" is not allowed to set the following labels: kubernetes.io/x, node-restriction.kubernetes.io/a",
        ),
        (
            Method::PUT,
            "/api/v1/nodes/n1",
            json!({"metadata": {"name": "n1"}, "spec": {"taints": []}}),
            Some(json!({"metadata": {"name": "n1"}, "spec": {"taints": [{"key": "a"}]}})),
            "node \"n1\" is not allowed to modify taints",
        ),
        (
            Method::PUT,
            "/api/v1/nodes/n1",
            node("n1", json!({"kubernetes.io/x": "y"})),
            Some(node("n1", json!({}))),
            "forbidden: is not allowed to modify labels: kubernetes.io/x",
        ),
        (
            Method::PUT,
            "/api/v1/nodes/n1",
            json!({"metadata": {"name": "n1"}, "spec": {"configSource": {"configMap": {}}}}),
            Some(node("n1", json!({}))),
            "node \"n1\" is not allowed to update configSource to a new non-nil configSource",
        ),
        (
            Method::PUT,
            "/api/v1/namespaces/ns/persistentvolumeclaims/c/status",
            json!({"metadata": {"name": "c"}, "status": {"currentVolumeAttributesClassName": "a"}}),
            Some(json!({"metadata": {"name": "c"}})),
            "node \"n1\" is not allowed to update fields other than status.quantity and status.conditions",
        ),
        (
            Method::PUT,
            "/api/v1/namespaces/ns/pods/own",
            pod(json!({})),
            Some(pod(json!({}))),
            "unexpected operation \"UPDATE\", node \"n1\" can only create and delete mirror pods",
        ),
        (
            Method::POST,
            PODS,
            pod(json!({"nodeName": "n1", "automountServiceAccountToken": false})),
            None,
            "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n1\" can only create mirror pods",
        ),
        (
            Method::PUT,
            "/api/v1/namespaces/ns/pods/other/status",
            json!({"metadata": {"name": "other"}}),
            Some(json!({"metadata": {"name": "other"}, "spec": {"nodeName": "n2"}})),
            "node \"n1\" can only update pod status for pods with spec.nodeName set to itself",
        ),
        (
            Method::POST,
            "/api/v1/namespaces/ns/serviceaccounts/default/token",
            json!({"spec": {}}),
            None,
            "node requested token not bound to a pod",
        ),
        (
            Method::POST,
            "/api/v1/namespaces/ns/serviceaccounts/default/token",
            json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "other", "uid": "2"}}}),
            None,
            "node requested token bound to a pod scheduled on a different node",
        ),
    ] {
        let refusal = gate.why_not(method, path, new, old).await;
        assert!(refusal.ends_with(words), "{refusal}");
    }
    let own = json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "own", "uid": "1"}}});
    let mut vault = own.clone();
    vault["spec"]["audiences"] = json!(["vault"]);
    let tokens = "/api/v1/namespaces/ns/serviceaccounts/default/token";
    let refusal = gate.why_not(Method::POST, tokens, vault, None).await;
    assert!(
        refusal.ends_with("audience \"vault\" not found in pod spec volume, system:node:n1 is not authorized to request tokens for this audience"),
        "{refusal}"
    );
    assert!(
        gate.create("/api/v1/namespaces/ns/serviceaccounts/default/token", own)
            .await
            .is_ok()
    );
    let mirror = json!({
        "metadata": {"name": "m", "namespace": "ns", "annotations": {"kubernetes.io/config.mirror": "x"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u", "controller": true}]},
        "spec": {"nodeName": "n1", "containers": []},
    });
    assert!(gate.create(PODS, mirror.clone()).await.is_ok());
    let refused = async |change: &dyn Fn(&mut Value), words: &str| {
        let mut pod = mirror.clone();
        change(&mut pod);
        let refusal = gate.why_not(Method::POST, PODS, pod, None).await;
        assert!(refusal.ends_with(words), "{refusal}");
    };
    let volume = |source: Value| move |pod: &mut Value| pod["spec"]["volumes"] = json!([source]);
    for (source, what) in [
        (
            json!({"name": "v", "csi": {"driver": "d"}}),
            "csidrivers (via CSI volumes)",
        ),
        (
            json!({"name": "v", "ephemeral": {}}),
            "persistentvolumeclaims (via ephemeral volumes)",
        ),
        (
            json!({"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"path": "a"}}]}}),
            "clustertrustbundles",
        ),
    ] {
        let words = format!("node \"n1\" can not create pods that reference {what}");
        refused(&volume(source), &words).await;
    }
    let owners =
        |change: Value| move |pod: &mut Value| pod["metadata"]["ownerReferences"] = change.clone();
    let owner = |controller: bool, uid: &str| json!([{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": uid, "controller": controller}]);
    for (change, words) in [
        (
            json!([]),
            "can only create pods with an owner reference set to itself",
        ),
        (
            owner(false, "u"),
            "can only create pods with a controller owner reference set to itself",
        ),
        (owner(true, "w"), "node n1 UID mismatch: expected w got u"),
    ] {
        refused(&owners(change), words).await;
    }
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_hold() {
    let group = "rbac.authorization.k8s.io";
    let reader = world();
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]);
    reader.put(
        "clusterroles.rbac.authorization.k8s.io",
        json!({"metadata": {"name": "some"}, "rules": rules}),
    );
    let all = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    reader.put(
        "clusterroles.rbac.authorization.k8s.io",
        json!({"metadata": {"name": "all"}, "rules": all}),
    );
    reader.put(
        "clusterrolebindings.rbac.authorization.k8s.io",
        json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "some"},
            "subjects": [{"kind": "User", "name": "u"}]}),
    );
    let gate = Gate::of(&reader).by("u", &["g"]);
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/ns/roles";
    let role = |verbs: &[&str]| json!({"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}]});
    assert!(gate.create(roles, role(&["get"])).await.is_ok());
    assert_eq!(
        gate.why_not(Method::POST, roles, role(&["get", "delete"]), None)
            .await,
        "roles.rbac.authorization.k8s.io \"r\" is forbidden: user \"u\" (groups=[\"g\"]) is attempting to grant RBAC \
         permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"configmaps\"], Verbs:[\"delete\"]}"
    );
    let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/ns/rolebindings";
    let binding = |role: &str| json!({"metadata": {"name": "b"}, "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role}});
    assert!(gate.create(bindings, binding("some")).await.is_ok());
    assert!(
        gate.why_not(Method::POST, bindings, binding("all"), None)
            .await
            .contains("not currently held")
    );
    let missing = gate
        .why_not(Method::POST, bindings, binding("nosuch"), None)
        .await;
    assert_eq!(
        missing,
        "rolebindings.rbac.authorization.k8s.io \"nosuch\" not found"
    );
    let mut other = binding("all");
    other["roleRef"]["kind"] = "Other".into();
    for (binding, expected) in [
        (binding(""), "Name parameter required."),
        (other, "unsupported role reference kind: \"Other\""),
    ] {
        let refusal = gate.why_not(Method::POST, bindings, binding, None).await;
        assert_eq!(refusal, expected);
    }
    let root = Gate::of(&reader).by("root", &[crate::user::MASTERS]);
    assert!(root.create(bindings, binding("all")).await.is_ok());
}

#[tokio::test]
async fn a_condition_of_a_certificate_request_is_its_signers_word() {
    let reader = world();
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests/c/status";
    let request = |status: Value| json!({"metadata": {"name": "c"}, "spec": {"signerName": "example.com/s"}, "status": status});
    let gate = Gate::of(&reader).by("u", &["g"]);
    let condition = |sort: &str| {
        let time = "2026-01-01T00:00:00Z";
        json!({"type": sort, "status": "True", "lastUpdateTime": time, "lastTransitionTime": time})
    };
    for status in [
        json!({"certificate": "YQ=="}),
        json!({"conditions": [condition("Failed")]}),
        json!({"conditions": [condition("Other")]}),
    ] {
        let refusal = gate
            .why_not(
                Method::PUT,
                path,
                request(status.clone()),
                Some(request(json!({}))),
            )
            .await;
        assert_eq!(
            refusal,
            "certificatesigningrequests.certificates.k8s.io \"c\" is forbidden: user not permitted to sign requests with signerName \"example.com/s\""
        );
        let same = gate.pass(
            Method::PUT,
            path,
            Some(request(status.clone())),
            Some(request(status)),
        );
        assert!(same.await.is_ok());
    }
}

#[tokio::test]
async fn limits_are_given_and_kept() {
    let reader = world();
    let limits = json!([{"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"},
        "max": {"cpu": "2"}, "min": {"cpu": "50m"}, "maxLimitRequestRatio": {"cpu": "8"}}]);
    reader.put(
        "limitranges",
        json!({"metadata": {"name": "l", "namespace": "ns"}, "spec": {"limits": limits}}),
    );
    let gate = Gate::of(&reader);
    let created = gate.create(PODS, pod(json!({}))).await.unwrap();
    let expected = json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "500m"}});
    assert_eq!(created["spec"]["containers"][0]["resources"], expected);
    assert_eq!(
        created["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    );
    for (requests, limits, words) in [
        (
            "1",
            "3",
            "maximum cpu usage per Container is 2, but limit is 3",
        ),
        (
            "10m",
            "40m",
            "minimum cpu usage per Container is 50m, but request is 10m",
        ),
        (
            "100m",
            "2",
            "cpu max limit to request ratio per Container is 8, but provided ratio is 20.000000",
        ),
    ] {
        let resources = json!({"requests": {"cpu": requests}, "limits": {"cpu": limits}});
        let containers = json!([{"name": "c", "image": "i", "resources": resources}]);
        let refusal = gate
            .why_not(
                Method::POST,
                PODS,
                pod(json!({ "containers": containers })),
                None,
            )
            .await;
        assert_eq!(refusal, format!("pods \"p\" is forbidden: {words}"));
    }
}

#[tokio::test]
async fn pods_stay_within_their_namespaces_level() {
    let reader = world();
    let namespace = |level: &str| {
        let labels = json!({"pod-security.kubernetes.io/enforce": level});
        json!({"metadata": {"name": "ns", "labels": labels}, "status": {"phase": "Active"}})
    };
    reader.put("namespaces", namespace("baseline"));
    let gate = Gate::of(&reader);
    let containers = json!([{"name": "c", "image": "i", "securityContext": {"privileged": true}}]);
    let privileged = pod(json!({ "containers": containers }));
    assert_eq!(
        gate.why_not(Method::POST, PODS, privileged.clone(), None)
            .await,
        "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"c\" must not set \
         securityContext.privileged=true)"
    );
    let relabelled = gate.pass(
        Method::PUT,
        "/api/v1/namespaces/ns/pods/p",
        Some(privileged.clone()),
        Some(privileged.clone()),
    );
    assert!(
        relabelled.await.is_ok(),
        "an update that runs nothing new is none of its business"
    );
    let template =
        json!({"metadata": {"name": "d"}, "spec": {"template": {"spec": privileged["spec"]}}});
    let deployments = "/apis/apps/v1/namespaces/ns/deployments";
    let (_, warnings) = gate
        .pass(Method::POST, deployments, Some(template), None)
        .await
        .unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let bad = gate
        .why_not(Method::POST, "/api/v1/namespaces", namespace("nope"), None)
        .await;
    assert!(
        bad.contains("must be one of privileged, baseline, restricted"),
        "{bad}"
    );
}

#[tokio::test]
async fn overhead_is_the_classes_alone() {
    let world = world();
    let classes = "runtimeclasses.node.k8s.io";
    world.put(
        classes,
        json!({"metadata": {"name": "plain"}, "handler": "runc"}),
    );
    let overhead = json!({"podFixed": {"cpu": "100m"}});
    world.put(
        classes,
        json!({"metadata": {"name": "vm"}, "handler": "vm", "overhead": overhead}),
    );
    let gate = Gate::of(&world);
    let of =
        |class: &str, cpu: &str| pod(json!({"runtimeClassName": class, "overhead": {"cpu": cpu}}));
    assert!(gate.create(PODS, of("vm", "100m")).await.is_ok());
    for (class, refusal) in [
        (
            "vm",
            "Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            "plain",
            "Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
    ] {
        let said = gate.why_not(Method::POST, PODS, of(class, "1"), None).await;
        let said = said.split_once("pod rejected: ").unwrap().1;
        assert_eq!(said, refusal);
    }
}

#[tokio::test]
async fn the_youngest_default_class_is_taken() {
    let world = world();
    for (name, day) in [("a", 1), ("c", 2), ("b", 2)] {
        let annotations = json!({"ingressclass.kubernetes.io/is-default-class": "true"});
        let created = format!("2026-01-0{day}T00:00:00Z");
        let metadata =
            json!({"name": name, "annotations": annotations, "creationTimestamp": created});
        world.put(
            "ingressclasses.networking.k8s.io",
            json!({"metadata": metadata}),
        );
    }
    let ingress = json!({"metadata": {"name": "i", "namespace": "ns"}, "spec": {}});
    let path = "/apis/networking.k8s.io/v1/namespaces/ns/ingresses";
    let made = Gate::of(&world).create(path, ingress).await.unwrap();
    assert_eq!(made["spec"]["ingressClassName"], "b");
}

#[test]
fn unknown_plugins_are_refused() {
    let dependencies = dependencies(&world());
    let off = ["PodSecurity".to_owned()];
    let configuration = AdmissionConfiguration::default();
    let links = plugins(&[], &off, &configuration, &dependencies).unwrap();
    let chain = Chain::new(links, &dependencies.metrics);
    let names: Vec<_> = chain.names().collect();
    assert!(
        !names.contains(&"PodSecurity")
            && !names.contains(&"NodeRestriction")
            && names.contains(&"Priority")
    );
    let error = plugins(&["Nonsense".to_owned()], &[], &configuration, &dependencies)
        .err()
        .unwrap();
    assert_eq!(error.to_string(), "unknown admission plugin: Nonsense");
}
