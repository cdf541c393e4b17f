//! Pods: run, exposed, prepared by init containers, restarted when they fail their probes.

use testing::Kubectl;

pub(crate) fn run_and_expose(k: &Kubectl<'_>) {
    assert_eq!(
        k.run("run server --image=busybox.test/busybox:1 --port=8080 --labels=app=server -- sh -c 'mkdir /tmp/w; echo served > /tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w'"),
        "pod/server created"
    );
    k.wait_ready("pod/server");
    assert_eq!(
        k.run("expose pod server --port=80 --target-port=8080"),
        "service/server exposed"
    );
    k.run("run client --image=busybox.test/busybox:1 -- sleep 1000");
    k.wait_ready("pod/client");
    let address = k.run("get service server -o jsonpath='{.spec.clusterIP}'");
    k.until(&crate::fetch_in_pod(&address, "80"), "served");

    // One that ends says how it ended, and `--rm -i` brings its output and its exit code.
    let ended = k.run_with(
        "run once --rm -i --restart=Never --image=busybox.test/busybox:1 --command -- sh -c 'cat; echo done'",
        "input\n",
    );
    assert!(ended.contains("input") && ended.contains("done"), "{ended}");
    k.refuses("get pod once", "NotFound");
    let failed = k.output("run fails --rm -i --restart=Never --image=busybox.test/busybox:1 -- sh -c 'sleep 1; exit 3'");
    assert_eq!(failed.status.code(), Some(3));

    k.run("delete pod server --now");
    k.refused("get pod server");
}

pub(crate) fn init_containers(k: &Kubectl<'_>) {
    k.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: prepared}
spec:
  volumes: [{name: work, emptyDir: {}}]
  initContainers:
  - {name: first, image: "busybox.test/busybox:1", command: [sh, -c, "echo first >> /work/log"], volumeMounts: [{name: work, mountPath: /work}]}
  - {name: second, image: "busybox.test/busybox:1", command: [sh, -c, "echo second >> /work/log"], volumeMounts: [{name: work, mountPath: /work}]}
  - {name: side, image: "busybox.test/busybox:1", restartPolicy: Always, command: [sh, -c, "echo side >> /work/log; exec sleep 1000"], volumeMounts: [{name: work, mountPath: /work}]}
  containers:
  - {name: main, image: "busybox.test/busybox:1", command: [sh, -c, "cat /work/log; exec sleep 1000"], volumeMounts: [{name: work, mountPath: /work}]}
"#,
    );
    k.wait_ready("pod/prepared");
    k.until("logs prepared -c main", "first\nsecond\nside");
    k.shows("get pod prepared", &["2/2"]);
    assert_eq!(
        k.run("get pod prepared -o jsonpath='{.status.initContainerStatuses[*].state.terminated.reason}'"),
        "Completed Completed"
    );
    k.apply(
        r#"{apiVersion: v1, kind: Pod, metadata: {name: unprepared}, spec: {restartPolicy: Never, initContainers: [{name: bad, image: "busybox.test/busybox:1", command: ["false"]}], containers: [{name: main, image: "busybox.test/busybox:1"}]}}"#,
    );
    k.until("get pod unprepared", "Init:Error");
    k.until("get pod unprepared -o jsonpath='{.status.phase}'", "Failed");
}

pub(crate) fn liveness_restart(k: &Kubectl<'_>) {
    k.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: sick}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: "busybox.test/busybox:1"
    command: [sh, -c, "touch /tmp/healthy; sleep 1000"]
    livenessProbe: {exec: {command: [cat, /tmp/healthy]}, periodSeconds: 1, failureThreshold: 1}
    readinessProbe: {exec: {command: [cat, /tmp/ready]}, periodSeconds: 1}
"#,
    );
    k.until("get pod sick -o jsonpath='{.status.phase}'", "Running");
    k.until("exec sick -- touch /tmp/ready", "");
    k.wait_ready("pod/sick");
    k.run("exec sick -- rm /tmp/healthy");
    k.until(
        "get pod sick -o jsonpath='{.status.containerStatuses[0].restartCount}'",
        "1",
    );
    k.until("describe pod sick", "Liveness probe failed");
    k.shows(
        "describe pod sick",
        &["Unhealthy", "Killing", "Last State:"],
    );
    k.run("apply -f - <<E\n{apiVersion: v1, kind: Pod, metadata: {name: crashes}, spec: {containers: [{name: main, image: 'busybox.test/busybox:1', command: [sh, -c, 'echo crashed; exit 7']}]}}\nE");
    k.until("get pod crashes", "CrashLoopBackOff");
    k.until("logs crashes --previous", "crashed");
    k.shows("describe pod crashes", &["Exit Code:    7"]);
    k.run("run nowhere --image=busybox.test/absent:1 --image-pull-policy=Never");
    k.until("get pod nowhere", "ErrImageNeverPull");
    k.run("delete pod sick crashes nowhere --now");
}
