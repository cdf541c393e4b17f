//! Objects: made, read, changed in every way kubectl knows, and deleted.

use testing::Kubectl;

pub(crate) fn create_read_change_delete(k: &Kubectl<'_>) {
    assert_eq!(
        k.run("create configmap one --from-literal=a=1"),
        "configmap/one created"
    );
    k.refuses("create configmap one", r#"configmaps "one" already exists"#);
    assert_eq!(
        k.run("label configmap one colour=red"),
        "configmap/one labeled"
    );
    assert_eq!(
        k.run("annotate configmap one note='a b'"),
        "configmap/one annotated"
    );
    k.refuses("label configmap one colour=blue", "--overwrite");
    k.run("label configmap one colour=blue --overwrite");
    assert_eq!(
        k.run("get configmap -l colour=blue -o name"),
        "configmap/one"
    );
    assert_eq!(k.run("get configmap -l 'colour in (red)' -o name"), "");
    assert_eq!(
        k.run("get configmap --field-selector metadata.name=one -o name"),
        "configmap/one"
    );
    k.run("label configmap one colour-");

    // apply: made, unchanged, changed; a field that the manifest no longer names goes.
    let manifest = |data: &str| {
        format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: two}}, data: {data}}}")
    };
    assert_eq!(
        k.apply(&manifest("{a: x, b: \"y\"}")),
        "configmap/two created"
    );
    assert_eq!(
        k.apply(&manifest("{a: x, b: \"y\"}")),
        "configmap/two unchanged"
    );
    let difference = k.shell("echo '{apiVersion: v1, kind: ConfigMap, metadata: {name: two}, data: {a: z}}' | $KUBECTL diff -f -")
        .output()
        .expect("sh runs");
    assert_eq!(difference.status.code(), Some(1), "diff found a difference");
    let difference = String::from_utf8_lossy(&difference.stdout);
    assert!(difference.contains("+  a: z"), "{difference}");
    assert_eq!(k.apply(&manifest("{a: z}")), "configmap/two configured");
    assert_eq!(
        k.run("get configmap two -o jsonpath='{.data}'"),
        r#"{"a":"z"}"#
    );

    // edit, with an editor that is a script.
    assert_eq!(
        run_shell(
            k,
            "EDITOR='sed -i s/a:.z/a:\\ edited/' $KUBECTL edit configmap two"
        ),
        "configmap/two edited"
    );
    assert_eq!(k.run("get configmap two -o jsonpath='{.data.a}'"), "edited");
    assert_eq!(
        run_shell(k, "EDITOR=true $KUBECTL edit configmap two"),
        "Edit cancelled, no changes made."
    );

    // replace, also against a version that has passed.
    assert_eq!(
        k.run_with("replace -f -", &manifest("{replaced: '1'}")),
        "configmap/two replaced"
    );
    assert_eq!(
        k.run("get configmap two -o jsonpath='{.data}'"),
        r#"{"replaced":"1"}"#
    );
    let stale = k
        .shell("$KUBECTL get configmap two -o yaml > stale.yaml; $KUBECTL label configmap two moved=on >&2; $KUBECTL replace -f stale.yaml")
        .output()
        .expect("sh runs");
    let stale = String::from_utf8_lossy(&stale.stderr).into_owned();
    assert!(
        stale.contains("Error from server (Conflict)")
            && stale.contains("the object has been modified; please apply your changes to the latest version and try again"),
        "{stale}"
    );

    assert_eq!(
        k.run("create configmap three --dry-run=server -o name"),
        "configmap/three"
    );
    k.refuses(
        "get configmap three",
        r#"Error from server (NotFound): configmaps "three" not found"#,
    );
    assert!(
        k.run("delete configmap one two")
            .contains(r#"configmap "two" deleted"#)
    );
    k.refuses("get configmap one", "NotFound");
    assert_eq!(k.run("delete configmap one --ignore-not-found"), "");
}

pub(crate) fn patches(k: &Kubectl<'_>) {
    k.run("create deployment web --image=busybox.test/busybox:1 --replicas=0 -- sleep 1000");
    assert_eq!(
        k.run(r#"patch deployment web --type=json -p '[{"op":"add","path":"/metadata/labels/j","value":"1"}]'"#),
        "deployment.apps/web patched"
    );
    k.run(r#"patch deployment web --type=merge -p '{"metadata":{"labels":{"m":"1","j":null}}}'"#);
    assert_eq!(
        k.run("get deployment web -o jsonpath='{.metadata.labels}'"),
        r#"{"app":"web","m":"1"}"#
    );
    // Strategic: containers merge by name, so the image stays.
    k.run(r#"patch deployment web -p '{"spec":{"template":{"spec":{"containers":[{"name":"busybox","env":[{"name":"A","value":"1"}]}]}}}}'"#);
    k.run(r#"patch deployment web -p '{"spec":{"template":{"spec":{"containers":[{"name":"busybox","env":[{"name":"B","value":"2"}]}]}}}}'"#);
    assert_eq!(
        k.run("get deployment web -o jsonpath='{.spec.template.spec.containers[0].image} {.spec.template.spec.containers[0].env[*].name}'"),
        "busybox.test/busybox:1 B A"
    );
    k.run("set env deployment/web A- C=3");
    k.run("set resources deployment/web --limits=memory=32Mi");
    assert_eq!(
        k.run("get deployment web -o jsonpath='{.spec.template.spec.containers[0].env[*].name} {.spec.template.spec.containers[0].resources.limits.memory}'"),
        "B C 32Mi"
    );
    k.refuses(r#"patch deployment web --type=json -p '[{"op":"test","path":"/spec/replicas","value":9}]'"#, "The request is invalid");
    k.refuses(r#"patch deployment web -p '{"spec":{"replicas":-1}}'"#, r#"The Deployment "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"#);
    k.refuses(
        r#"patch deployment web -p '{"spec":{"selector":{"matchLabels":{"x":"y"}}}}'"#,
        "field is immutable",
    );
    k.run("patch deployment web --subresource=scale --type=merge -p '{\"spec\":{\"replicas\":0}}'");
}

pub(crate) fn server_side_apply(k: &Kubectl<'_>) {
    let manifest = |value: &str| {
        format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: shared}}, data: {{key: {value}}}}}"
        )
    };
    assert_eq!(
        k.run_with("apply --server-side -f -", &manifest("a")),
        "configmap/shared serverside-applied"
    );
    let conflict = k
        .shell("echo '{apiVersion: v1, kind: ConfigMap, metadata: {name: shared}, data: {key: b}}' | $KUBECTL apply --server-side --field-manager=other -f -")
        .output()
        .expect("sh runs");
    let conflict = String::from_utf8_lossy(&conflict.stderr).into_owned();
    assert!(
        conflict.contains(r#"Apply failed with 1 conflict: conflict with "kubectl": .data.key"#),
        "{conflict}"
    );
    k.run_with(
        "apply --server-side --field-manager=other --force-conflicts -f -",
        &manifest("b"),
    );
    assert_eq!(k.run("get configmap shared -o jsonpath='{.data.key}'"), "b");
    let managers = k.run(
        "get configmap shared --show-managed-fields -o jsonpath='{.metadata.managedFields[*].manager}'",
    );
    assert!(managers.contains("other"), "{managers}");
    // What was applied on the client's side migrates.
    k.apply(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: migrated}, data: {a: '1', b: '2'}}",
    );
    k.run_with(
        "apply --server-side -f -",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: migrated}, data: {a: '1'}}",
    );
    assert_eq!(
        k.run("get configmap migrated -o jsonpath='{.data}'"),
        r#"{"a":"1"}"#
    );
}

pub(crate) fn printing(k: &Kubectl<'_>) {
    k.run("create deployment web --image=busybox.test/busybox:1 --replicas=1 -- sleep 1000");
    k.run("rollout status deployment/web --timeout=40s");
    k.shows(
        "get deployment",
        &["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "1/1"],
    );
    k.shows(
        "get deployment -o wide",
        &["CONTAINERS", "IMAGES", "SELECTOR", "busybox.test/busybox:1"],
    );
    k.shows(
        "get pods -o wide",
        &["NOMINATED NODE", "10.244.", "Running"],
    );
    k.shows(
        "get all",
        &["deployment.apps/web", "replicaset.apps/web-", "pod/web-"],
    );
    k.shows(
        "get nodes -o wide",
        &["CONTAINER-RUNTIME", "Ready", "172.31.255.1"],
    );
    k.shows("get namespaces", &["STATUS", "kube-system", "Active"]);
    k.shows("get pods -A", &["NAMESPACE", k.namespace()]);
    k.shows(
        "get pods -o custom-columns=N:.metadata.name,P:.status.phase",
        &["N ", "Running"],
    );
    k.shows(
        "get pods --sort-by=.metadata.name -o json",
        &["\"kind\": \"List\""],
    );
    k.shows(
        "get deployment web -o yaml",
        &["apiVersion: apps/v1", "kind: Deployment"],
    );
    k.shows(
        "describe deployment web",
        &[
            "StrategyType:",
            "RollingUpdate",
            "ScalingReplicaSet",
            "NewReplicaSet:",
        ],
    );
    k.shows(
        "describe pod -l app=web",
        &[
            "Status:",
            "Running",
            "Container ID:",
            "Scheduled",
            "Pulled",
            "Started",
            "QoS Class:",
        ],
    );
    k.shows(
        "describe node",
        &["Allocatable:", "Non-terminated Pods:", "Conditions:"],
    );
    k.shows("describe namespace kube-system", &["Status:", "Active"]);
    k.until("events --for deployment/web", "ScalingReplicaSet");
    k.shows("get events", &["Scheduled"]);
    // A watch shows what is, then what happens.
    let watched = run_shell(
        k,
        "timeout 5 $KUBECTL get configmap watched --watch -o name --ignore-not-found & sleep 0.5; $KUBECTL create configmap watched >/dev/null; $KUBECTL get configmap -w --request-timeout=1s -o name; wait || true",
    );
    assert!(watched.contains("configmap/watched"), "{watched}");
    let waited = run_shell(
        k,
        "$KUBECTL wait --for=delete configmap/watched --timeout=30s & sleep 0.3; $KUBECTL delete configmap watched >/dev/null; wait $!",
    );
    assert!(waited.contains("condition met"), "{waited}");
    k.run("wait --for=jsonpath='{.status.readyReplicas}'=1 deployment/web --timeout=30s");
    k.run("wait --for=condition=Available deployment/web --timeout=30s");
}

pub(crate) fn discovery(k: &Kubectl<'_>) {
    k.shows("version", &["Client Version", "Server Version: v1.36"]);
    k.shows(
        "cluster-info",
        &["Kubernetes control plane", "is running at"],
    );
    k.shows(
        "api-versions",
        &["apps/v1", "batch/v1", "networking.k8s.io/v1", "\nv1"],
    );
    k.shows(
        "api-resources",
        &[
            "SHORTNAMES",
            "deployments",
            "deploy",
            "customresourcedefinitions",
            "HorizontalPodAutoscaler",
        ],
    );
    k.shows(
        "api-resources --namespaced=false --verbs=list -o name",
        &["nodes", "persistentvolumes"],
    );
    k.shows(
        "explain pod",
        &[
            "KIND:       Pod",
            "VERSION:    v1",
            "FIELDS:",
            "spec",
            "<PodSpec>",
        ],
    );
    k.shows(
        "explain deployment.spec.strategy.rollingUpdate",
        &["GROUP:      apps", "maxSurge", "<IntOrString>"],
    );
    k.shows(
        "explain pod.spec.containers --recursive",
        &["livenessProbe", "periodSeconds"],
    );
    k.shows("get --raw /readyz", &["ok"]);
    k.shows("get --raw '/livez?verbose'", &["livez check passed"]);
    k.shows("get --raw /openapi/v3", &["apis/apps/v1"]);
    k.shows("config current-context", &["ironclad"]);
    k.refuses(
        "get nonsense",
        r#"the server doesn't have a resource type "nonsense""#,
    );
}

pub(crate) fn access(k: &Kubectl<'_>) {
    assert_eq!(k.run("auth can-i create pods"), "yes");
    k.shows("auth whoami", &["Username"]);
    k.run("create serviceaccount reader");
    k.run("create role reader --verb=get,list --resource=pods");
    k.run(&format!(
        "create rolebinding reader --role=reader --serviceaccount={}:reader",
        k.namespace()
    ));
    let reader = format!("--as=system:serviceaccount:{}:reader", k.namespace());
    k.until(&format!("auth can-i list pods {reader}"), "yes");
    let no = k.output(&format!("auth can-i delete pods {reader}"));
    assert_eq!(String::from_utf8_lossy(&no.stdout).trim_end(), "no");
    k.shows(
        &format!("auth can-i --list {reader}"),
        &["pods", "[get list]"],
    );
    let forbidden = k.refused(&format!("delete pod x {reader}"));
    assert!(
        forbidden.contains(&format!(
            r#"pods "x" is forbidden: User "system:serviceaccount:{0}:reader" cannot delete resource "pods" in API group "" in the namespace "{0}""#,
            k.namespace()
        )),
        "{forbidden}"
    );
    // A token that the server made is one it accepts.
    let listed = run_shell(
        k,
        "T=$($KUBECTL create token reader) && $KUBECTL --kubeconfig /dev/null --server https://127.0.0.1:6443 --insecure-skip-tls-verify --token $T get pods 2>&1",
    );
    assert!(listed.contains("No resources found"), "{listed}");
}

/// What a script of a few kubectl calls prints.
fn run_shell(k: &Kubectl<'_>, script: &str) -> String {
    let output = k.shell(script).output().expect("sh runs");
    assert!(
        output.status.success(),
        "{script}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned()
        + String::from_utf8_lossy(&output.stderr).trim_end()
}
