//! Nodes, as their keepers treat them: cordoned, tainted, drained; pods that make room for others, and pods looked into.
//!
//! What empties a node is done to one that nobody runs: the others' pods are on the real one.

use testing::Kubectl;

pub(crate) fn cordon_taint_and_drain(k: &Kubectl<'_>) {
    k.apply("{apiVersion: v1, kind: Node, metadata: {name: spare, labels: {pool: spare}}}");
    assert_eq!(k.run("cordon spare"), "node/spare cordoned");
    assert_eq!(k.run("cordon spare"), "node/spare already cordoned");
    k.shows("get node spare", &["SchedulingDisabled"]);
    assert_eq!(k.run("uncordon spare"), "node/spare uncordoned");
    assert_eq!(
        k.run("taint node spare dedicated=keeper:NoSchedule"),
        "node/spare tainted"
    );
    k.refuses(
        "taint node spare dedicated=keeper:NoSchedule",
        "already has",
    );
    k.shows("describe node spare", &["dedicated=keeper:NoSchedule"]);
    assert_eq!(k.run("taint node spare dedicated-"), "node/spare untainted");

    k.apply(
        r#"
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata: {name: guarded, labels: {app: guarded}}
  spec: {nodeName: spare, containers: [{name: main, image: "busybox.test/busybox:1"}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: free, labels: {app: free}}
  spec: {nodeName: spare, containers: [{name: main, image: "busybox.test/busybox:1"}]}
- apiVersion: policy/v1
  kind: PodDisruptionBudget
  metadata: {name: guard}
  spec: {minAvailable: 1, selector: {matchLabels: {app: guarded}}}
"#,
    );
    k.refuses("drain spare", "cannot delete");
    assert_eq!(
        k.run("drain spare --force --pod-selector=app=free --grace-period=0")
            .lines()
            .last(),
        Some("node/spare drained")
    );
    k.refuses("get pod free", "NotFound");
    // A pod that does not run yet is nothing that a budget guards.
    let ready = r#"{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}"#;
    k.run(&format!(
        "patch pod guarded --subresource=status --type=merge -p '{ready}'"
    ));
    k.run("wait pdb/guard --for=jsonpath='{.status.currentHealthy}'=1 --timeout=30s");
    k.refuses(
        "drain spare --force --pod-selector=app=guarded --grace-period=0 --timeout=3s",
        "Cannot evict pod as it would violate the pod's disruption budget",
    );
    k.run("delete poddisruptionbudget guard");
    k.run("drain spare --force --pod-selector=app=guarded --grace-period=0");
    k.refuses("get pod guarded", "NotFound");
    k.run("delete node spare");
}

pub(crate) fn preemption(k: &Kubectl<'_>) {
    k.apply("{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: pushing}, value: 1000}");
    let node = k.run("get nodes -l kubernetes.io/os=linux -o jsonpath='{.items[0].metadata.name}'");
    k.run(&format!(
        r#"patch node {node} --subresource=status --type=merge -p '{{"status":{{"capacity":{{"example.com/seat":"1"}},"allocatable":{{"example.com/seat":"1"}}}}}}'"#
    ));
    let seated = |name: &str, more: &str| {
        format!(
            r#"
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  {more}
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: "busybox.test/busybox:1"
    command: [sleep, "1000"]
    resources: {{limits: {{example.com/seat: "1"}}}}
"#
        )
    };
    k.apply(&seated("sitting", ""));
    k.wait_ready("pod/sitting");
    k.apply(&seated("waiting", ""));
    k.until("describe pod waiting", "Insufficient example.com/seat");
    k.apply(&seated("pusher", "priorityClassName: pushing"));
    k.wait_ready("pod/pusher");
    k.refuses("get pod sitting", "NotFound");
    k.until(
        "get events --field-selector reason=Preempted",
        "Preempted by pod",
    );
    k.run("delete pod pusher --now");
    k.wait_ready("pod/waiting");
    k.run("delete priorityclass pushing");
}

pub(crate) fn debug(k: &Kubectl<'_>) {
    k.run("run plain --image=busybox.test/busybox:1 -- sleep 1000");
    k.wait_ready("pod/plain");
    k.run("debug plain --image=busybox.test/busybox:1 --container=look --profile=general -- sh -c 'echo looked; sleep 1000'");
    k.until("logs plain -c look", "looked");
    k.shows("describe pod plain", &["Ephemeral Containers", "look:"]);
    assert_eq!(
        k.run("get pod plain -o jsonpath='{.status.ephemeralContainerStatuses[0].name}'"),
        "look"
    );
}
