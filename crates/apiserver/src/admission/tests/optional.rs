//! Plugins that are off unless named, those that are told something by a file, and those that came with in-place resizing.

use super::*;
use crate::webhook_client::test_server::TestServer;

impl Gate {
    /// With these plugins besides the default ones, told this.
    fn told(
        reader: &Arc<MemoryReader>,
        enable: &[&str],
        plugins: Value,
    ) -> Result<Self, PluginError> {
        Self::deciding(reader, enable, plugins, Arc::new(AlwaysDeny))
    }

    fn deciding(
        reader: &Arc<MemoryReader>,
        enable: &[&str],
        configuration: Value,
        authorizer: Arc<dyn crate::authz::Authorizer>,
    ) -> Result<Self, PluginError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admission.json");
        let file = json!({
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AdmissionConfiguration",
            "plugins": configuration,
        });
        std::fs::write(&path, file.to_string()).unwrap();
        let configuration = AdmissionConfiguration::read(&path)?;
        let enable: Vec<String> = enable.iter().map(|name| (*name).to_owned()).collect();
        let dependencies = Dependencies {
            authorizer,
            ..dependencies(reader)
        };
        let plugins = plugins(&enable, &[], &configuration, &dependencies)?;
        Ok(Self {
            chain: Chain::new(plugins, &dependencies.metrics),
            user: UserInfo::default(),
        })
    }

    fn enabling(reader: &Arc<MemoryReader>, enable: &[&str]) -> Self {
        Self::told(reader, enable, json!([])).unwrap()
    }
}

const POD: &str = "/api/v1/namespaces/ns/pods/p";

#[tokio::test]
async fn namespaces_come_with_their_first_object() {
    let reader = world();
    let gate = Gate::enabling(&reader, &["NamespaceAutoProvision"]);
    let path = "/api/v1/namespaces/fresh/configmaps";
    gate.create(path, json!({"metadata": {"name": "a"}}))
        .await
        .unwrap();
    let namespaces = apimachinery::gvk::GroupResource::new("", "namespaces");
    assert!(reader.get(&namespaces, "", "fresh").is_some());
    let gate = Gate::enabling(&reader, &["AlwaysDeny"]);
    let refused = gate.create(path, json!({"metadata": {"name": "a"}})).await;
    assert_eq!(
        refused.unwrap_err().message,
        "configmaps \"a\" is forbidden: admission control is denying all modifications"
    );
}

#[tokio::test]
async fn images_are_always_pulled() {
    let gate = Gate::enabling(&world(), &["AlwaysPullImages"]);
    let spec =
        json!({"volumes": [{"name": "v", "image": {"reference": "r", "pullPolicy": "Never"}}]});
    let created = gate.create(PODS, pod(spec)).await.unwrap();
    assert_eq!(
        created["spec"]["containers"][0]["imagePullPolicy"],
        "Always"
    );
    let volumes = created["spec"]["volumes"].as_array().unwrap();
    let volume = volumes.iter().find(|volume| volume["name"] == "v").unwrap();
    assert_eq!(volume["image"]["pullPolicy"], "Always");
    // A change that brings no new image leaves everything as it is.
    let (updated, _) = gate
        .pass(Method::PUT, POD, Some(pod(json!({}))), Some(pod(json!({}))))
        .await
        .unwrap();
    assert_eq!(
        updated["spec"]["containers"][0].get("imagePullPolicy"),
        None
    );
}

#[tokio::test]
async fn pods_are_kept_where_their_namespace_says() {
    let reader = world();
    reader.put(
        "namespaces",
        json!({"metadata": {"name": "ns", "annotations": {
            "scheduler.alpha.kubernetes.io/node-selector": "zone=a",
            "scheduler.alpha.kubernetes.io/defaultTolerations": "[{\"key\":\"k\",\"operator\":\"Exists\"}]",
        }}, "status": {"phase": "Active"}}),
    );
    let configuration = json!([
        {"name": "PodNodeSelector", "configuration": {"podNodeSelectorPluginConfig": {"ns": "zone=a,disk=ssd"}}},
        {"name": "PodTolerationRestriction", "configuration": {
            "apiVersion": "podtolerationrestriction.admission.k8s.io/v1alpha1", "kind": "Configuration",
            "whitelist": [{"key": "k", "operator": "Exists"}, {"key": "node.kubernetes.io/not-ready", "operator": "Exists"},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists"}],
        }},
    ]);
    let enable = ["PodNodeSelector", "PodTolerationRestriction"];
    let gate = Gate::told(&reader, &enable, configuration).unwrap();
    let created = gate.create(PODS, pod(json!({}))).await.unwrap();
    assert_eq!(created["spec"]["nodeSelector"], json!({"zone": "a"}));
    let tolerations = created["spec"]["tolerations"].as_array().unwrap();
    assert!(tolerations.contains(&json!({"key": "k", "operator": "Exists"})));
    let cases = [
        (
            json!({"nodeSelector": {"zone": "b"}}),
            "pods \"p\" is forbidden: pod node label selector conflicts with its namespace node label selector",
        ),
        (
            json!({"nodeSelector": {"other": "b"}}),
            "pods \"p\" is forbidden: pod node label selector labels conflict with its namespace whitelist",
        ),
        (
            json!({"tolerations": [{"key": "x", "operator": "Exists"}]}),
            "pod tolerations (possibly merged with namespace default tolerations) conflict with its cluster whitelist",
        ),
    ];
    for (spec, reason) in cases {
        let refused = gate.why_not(Method::POST, PODS, pod(spec), None).await;
        assert_eq!(refused, reason);
    }
}

#[tokio::test]
async fn small_plugins_do_their_one_thing() {
    let names = [
        "ExtendedResourceToleration",
        "DenyServiceExternalIPs",
        "LimitPodHardAntiAffinityTopology",
    ];
    let gate = Gate::enabling(&world(), &names);
    let mut wants = pod(json!({}));
    wants["spec"]["containers"][0]["resources"] =
        json!({"requests": {"example.com/gpu": "1", "cpu": "1"}});
    let created = gate.create(PODS, wants).await.unwrap();
    let toleration =
        json!({"key": "example.com/gpu", "operator": "Exists", "effect": "NoSchedule"});
    let tolerations = created["spec"]["tolerations"].as_array().unwrap();
    assert_eq!(tolerations.iter().filter(|t| **t == toleration).count(), 1);
    assert_eq!(tolerations.len(), 3, "and two by default: {tolerations:?}");

    let terms = json!([{"topologyKey": "zone"}]);
    let affinity = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}});
    assert_eq!(
        gate.why_not(Method::POST, PODS, pod(affinity), None).await,
        "pods \"p\" is forbidden: affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone but only key kubernetes.io/hostname is allowed"
    );
    let service = |ips: Value| json!({"metadata": {"name": "s", "namespace": "ns"}, "spec": {"externalIPs": ips}});
    let services = "/api/v1/namespaces/ns/services";
    let one = "/api/v1/namespaces/ns/services/s";
    let refused = gate
        .why_not(Method::POST, services, service(json!(["1.2.3.4"])), None)
        .await;
    assert_eq!(
        refused,
        "services \"s\" is forbidden: Use of external IPs is denied by admission control"
    );
    let old = Some(service(json!(["1.2.3.4", "5.6.7.8"])));
    let fewer = Some(service(json!(["1.2.3.4"])));
    assert!(gate.pass(Method::PUT, one, fewer, old).await.is_ok());
}

#[tokio::test]
async fn events_beyond_the_limit_are_refused() {
    let configuration = |limits: Value| {
        json!([{"name": "EventRateLimit", "configuration": {
            "apiVersion": "eventratelimit.admission.k8s.io/v1alpha1", "kind": "Configuration", "limits": limits,
        }}])
    };
    let limits = json!([{"type": "Namespace", "qps": 1, "burst": 2}]);
    let gate = Gate::told(&world(), &["EventRateLimit"], configuration(limits)).unwrap();
    let kind = GroupVersionKind::new("", "v1", "Event");
    let event = || json!({"metadata": {"name": "e", "namespace": "ns"}});
    let path = "/api/v1/namespaces/ns/events";
    let mut last = Ok(());
    for _ in 0..3 {
        last = gate.validate_kind(&kind, path, event()).await;
    }
    let refused = last.unwrap_err();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (429, "limit reached on type Namespace for key ns")
    );
    for wrong in [
        json!([]),
        json!([{"type": "Sometimes", "qps": 1, "burst": 1}]),
        json!([{"type": "User", "qps": 0, "burst": 1}]),
        json!([{"type": "User", "qps": 1, "burst": 1, "cacheSize": -1}]),
    ] {
        assert!(Gate::told(&world(), &["EventRateLimit"], configuration(wrong)).is_err());
    }
    assert!(Gate::told(&world(), &["ImagePolicyWebhook"], json!([])).is_err());
}

impl Gate {
    async fn validate_kind(
        &self,
        kind: &GroupVersionKind,
        path: &str,
        object: Value,
    ) -> Result<(), Status> {
        let request = RequestInfo::parse(&Method::POST, &path.parse().unwrap());
        let mut object = super::object(object);
        let options = Object::new();
        let admission = Admission {
            operation: Operation::Create,
            request: &request,
            kind,
            user: &self.user,
            object: Some(&mut object),
            old_object: None,
            dry_run: false,
            options: &options,
            notes: Notes::default(),
            reinvocation: Reinvocation::default(),
        };
        self.chain.validate(&admission).await
    }
}

#[tokio::test]
async fn owners_are_named_by_who_may_delete_and_finalize() {
    let may = |verb: &'static str, resource: &'static str| MayOnly { verb, resource };
    let owned = |block: bool| {
        json!({"metadata": {"name": "a", "namespace": "ns", "ownerReferences": [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u", "blockOwnerDeletion": block},
        ]}})
    };
    let path = "/api/v1/namespaces/ns/configmaps/a";
    let free = || Some(json!({"metadata": {"name": "a", "namespace": "ns"}}));
    let enable = ["OwnerReferencesPermissionEnforcement"];
    let gate = |may: MayOnly| Gate::deciding(&world(), &enable, json!([]), Arc::new(may)).unwrap();
    let refused = gate(may("get", "configmaps"))
        .why_not(Method::PUT, path, owned(false), free())
        .await;
    assert_eq!(
        refused,
        "configmaps \"a\" is forbidden: cannot set an ownerRef on a resource you can't delete: no, <nil>"
    );
    let gate = gate(may("delete", "configmaps"));
    let passed = gate.pass(Method::PUT, path, Some(owned(false)), free());
    assert!(passed.await.is_ok());
    let passed = gate.pass(Method::PUT, path, Some(owned(true)), Some(owned(true)));
    assert!(passed.await.is_ok(), "nothing changes");
    assert_eq!(
        gate.why_not(Method::PUT, path, owned(true), Some(owned(false)))
            .await,
        "configmaps \"a\" is forbidden: cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion v1 Kind ConfigMap: no matches for kind \"ConfigMap\" in version \"v1\""
    );
}

/// Allows one verb on one resource.
struct MayOnly {
    verb: &'static str,
    resource: &'static str,
}

#[async_trait]
impl crate::authz::Authorizer for MayOnly {
    async fn authorize(
        &self,
        attributes: crate::authz::Attributes<'_>,
    ) -> (crate::authz::Decision, String) {
        let request = attributes.request;
        if request.verb == self.verb && request.resource == self.resource {
            (crate::authz::Decision::Allow, String::new())
        } else {
            (crate::authz::Decision::NoOpinion, "no".to_owned())
        }
    }
}

#[tokio::test]
async fn pods_learn_where_they_are_and_grow_as_far_as_their_node() {
    let reader = world();
    reader.put(
        "nodes",
        json!({
            "metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": "z", "other": "o", "kubernetes.io/os": "linux"}},
            "status": {"allocatable": {"cpu": "1", "memory": "1Gi"}, "declaredFeatures": ["InPlacePodVerticalScalingInitContainers"]},
        }),
    );
    let gate = Gate::of(&reader);
    let binding = json!({"metadata": {"name": "p", "namespace": "ns"}, "target": {"kind": "Node", "name": "n"}});
    let bound = gate
        .create("/api/v1/namespaces/ns/pods/p/binding", binding)
        .await
        .unwrap();
    let zone = json!({"topology.kubernetes.io/zone": "z"});
    assert_eq!(bound["metadata"]["labels"], zone);
    let on_node = gate.create(PODS, pod(json!({"nodeName": "n"}))).await;
    assert_eq!(on_node.unwrap()["metadata"]["labels"], zone);

    let of_size = |cpu: &str, more: Value| {
        let mut pod = pod(json!({"nodeName": "n"}));
        pod["spec"]["containers"][0]["resources"] =
            json!({"requests": {"cpu": cpu, "memory": "2Gi"}});
        for (field, value) in more.as_object().unwrap() {
            pod["spec"][field] = value.clone();
        }
        pod
    };
    let resize = format!("{POD}/resize");
    let small = || of_size("500m", json!({}));
    let refused = gate
        .pass(
            Method::PUT,
            &resize,
            Some(of_size("1500m", json!({}))),
            Some(small()),
        )
        .await
        .unwrap_err();
    assert_eq!(
        refused.message,
        "pods \"p\" is forbidden: node didn't have enough allocatable resources: cpu, requested: 1500, allocatable: 1000; memory, requested: 2147483648, allocatable: 1073741824"
    );
    let causes = serde_json::to_value(&refused).unwrap()["details"]["causes"].clone();
    assert_eq!(causes[0]["reason"], "NodeCapacity");
    let whole = json!({"resources": {"requests": {"cpu": "1"}}});
    assert_eq!(
        gate.why_not(Method::PUT, &resize, of_size("500m", whole), Some(small()))
            .await,
        "pods \"p\" is forbidden: pod update requires features InPlacePodLevelResourcesVerticalScaling which are not available on node \"n\""
    );
}

#[tokio::test]
async fn pod_security_has_defaults_and_exemptions() {
    let configuration = |more: Value| {
        let mut configuration = json!({
            "apiVersion": "pod-security.admission.config.k8s.io/v1", "kind": "PodSecurityConfiguration",
            "defaults": {"enforce": "baseline", "enforce-version": "v1.30"},
            "exemptions": {"usernames": ["trusted"], "namespaces": ["old"], "runtimeClasses": ["sandboxed"]},
        });
        for (field, value) in more.as_object().unwrap() {
            configuration[field] = value.clone();
        }
        json!([{"name": "PodSecurity", "configuration": configuration}])
    };
    let reader = world();
    reader.put(
        "runtimeclasses.node.k8s.io",
        json!({"metadata": {"name": "sandboxed"}, "handler": "h"}),
    );
    let gate = || Gate::told(&reader, &[], configuration(json!({}))).unwrap();
    let on_host = |more: Value| {
        let mut pod = pod(json!({"hostNetwork": true}));
        for (field, value) in more.as_object().unwrap() {
            pod["spec"][field] = value.clone();
        }
        pod
    };
    let refused = gate()
        .why_not(Method::POST, PODS, on_host(json!({})), None)
        .await;
    assert_eq!(
        refused,
        "pods \"p\" is forbidden: violates PodSecurity \"baseline:v1.30\": host namespaces (hostNetwork=true)"
    );
    let trusted = gate().by("trusted", &[]);
    assert!(trusted.create(PODS, on_host(json!({}))).await.is_ok());
    let sandboxed = on_host(json!({"runtimeClassName": "sandboxed"}));
    assert!(gate().create(PODS, sandboxed).await.is_ok());
    let namespace = json!({"metadata": {"name": "old", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let (_, warnings) = gate()
        .pass(Method::POST, "/api/v1/namespaces", Some(namespace), None)
        .await
        .unwrap();
    assert_eq!(
        warnings,
        [
            "namespace \"old\" is exempt from Pod Security, and the policy (enforce=restricted:v1.30) will be ignored"
        ]
    );
    for wrong in [
        json!({"defaults": {"enforce": "strict"}}),
        json!({"defaults": {"warn-version": "1.2"}}),
        json!({"exemptions": {"namespaces": ["a", "a"]}}),
        json!({"exemptions": {"usernames": [""]}}),
        json!({"kind": "Nonsense"}),
        json!({"nonsense": 1}),
    ] {
        let told = Gate::told(&reader, &[], configuration(wrong.clone()));
        assert!(told.is_err(), "{wrong} was accepted");
    }
}

#[tokio::test]
async fn what_is_limited_needs_a_quota() {
    let configuration = json!([{"name": "ResourceQuota", "configuration": {
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "ResourceQuotaConfiguration",
        "limitedResources": [
            {"resource": "pods", "matchContains": ["requests.cpu"]},
            {"resource": "pods", "matchScopes": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]},
        ],
    }}]);
    let reader = world();
    reader.put(
        "priorityclasses.scheduling.k8s.io",
        json!({"metadata": {"name": "high"}, "value": 7}),
    );
    let gate = Gate::told(&reader, &[], configuration).unwrap();
    assert!(gate.create(PODS, pod(json!({}))).await.is_ok());
    let mut wants = pod(json!({}));
    wants["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
    assert_eq!(
        gate.why_not(Method::POST, PODS, wants.clone(), None).await,
        "pods \"p\" is forbidden: insufficient quota to consume: requests.cpu"
    );
    let high = pod(json!({"priorityClassName": "high"}));
    assert_eq!(
        gate.why_not(Method::POST, PODS, high.clone(), None).await,
        "insufficient quota to match these scopes: [{PriorityClass In [high]}]"
    );
    let hard = json!({"requests.cpu": "2", "pods": "5"});
    let scope = json!({"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]});
    reader.put(
        "resourcequotas",
        json!({"metadata": {"name": "q", "namespace": "ns"}, "spec": {"hard": hard},
            "status": {"hard": hard, "used": {"requests.cpu": "0", "pods": "0"}}}),
    );
    assert!(gate.create(PODS, wants).await.is_ok());
    reader.put(
        "resourcequotas",
        json!({"metadata": {"name": "h", "namespace": "ns"}, "spec": {"hard": {"pods": "1"}, "scopeSelector": scope},
            "status": {"hard": {"pods": "1"}, "used": {"pods": "0"}}}),
    );
    let mut high = high;
    high["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
    assert!(gate.create(PODS, high).await.is_ok());
}

#[tokio::test]
async fn images_are_judged_by_a_server_outside() {
    let server = TestServer::start(&["127.0.0.1"], |called| {
        Box::pin(async move {
            let review = called.json();
            assert_eq!(review["apiVersion"], "imagepolicy.k8s.io/v1alpha1");
            assert_eq!(review["spec"]["namespace"], "ns");
            let allowed = review["spec"]["containers"][0]["image"] == "i";
            let status = json!({"allowed": allowed, "reason": "not from here"});
            let answer = json!({"status": status}).to_string();
            (http::StatusCode::OK, answer.into())
        })
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("images.kubeconfig");
    let cluster =
        json!({"server": server.url("/"), "certificate-authority-data": server.ca_bundle()});
    let file = json!({
        "current-context": "c",
        "clusters": [{"name": "images", "cluster": cluster}],
        "contexts": [{"name": "c", "context": {"cluster": "images"}}],
    });
    std::fs::write(&kubeconfig, file.to_string()).unwrap();
    let told = |allow_ttl: i64| {
        let policy = json!({"kubeConfigFile": kubeconfig, "allowTTL": allow_ttl});
        let configuration =
            json!([{"name": "ImagePolicyWebhook", "configuration": {"imagePolicy": policy}}]);
        Gate::told(&world(), &["ImagePolicyWebhook"], configuration)
    };
    let gate = told(30).unwrap();
    for _ in 0..2 {
        assert!(gate.create(PODS, pod(json!({}))).await.is_ok());
    }
    assert_eq!(server.peers.lock().unwrap().len(), 1, "it is remembered");
    let other = json!({"containers": [{"name": "c", "image": "x"}]});
    assert_eq!(
        gate.why_not(Method::POST, PODS, pod(other), None).await,
        "pods \"p\" is forbidden: image policy webhook backend denied one or more images: not from here"
    );
    assert!(told(1_000_000).is_err());
}
