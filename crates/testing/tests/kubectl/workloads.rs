//! Workloads: rollouts there and back, scaling, sets and jobs.

use testing::Kubectl;

pub(crate) fn rollout(k: &Kubectl<'_>) {
    k.apply(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: web, image: "busybox.test/busybox:1", command: [sleep, "1000"]}]
"#,
    );
    k.shows(
        "rollout status deployment/web --timeout=40s",
        &["successfully rolled out"],
    );
    assert_eq!(
        k.run("scale deployment web --replicas=3"),
        "deployment.apps/web scaled"
    );
    k.run("rollout status deployment/web --timeout=40s");
    k.shows("get deployment web", &["3/3"]);
    k.refuses(
        "scale deployment web --current-replicas=9 --replicas=1",
        "9",
    );

    // A new image that does not exist: the rollout stops half way and nothing that serves goes.
    k.run("set image deployment/web web=busybox.test/absent:1");
    k.refuses("rollout status deployment/web --timeout=2s", "timed out");
    k.until(
        "get deployment web -o jsonpath='{.status.availableReplicas}'",
        "3",
    );
    k.shows("rollout history deployment/web", &["REVISION", "1 ", "2 "]);
    k.shows(
        "rollout history deployment/web --revision=2",
        &["busybox.test/absent:1"],
    );
    k.shows("rollout undo deployment/web", &["rolled back"]);
    k.run("rollout status deployment/web --timeout=40s");
    assert_eq!(
        k.run("get deployment web -o jsonpath='{.spec.template.spec.containers[0].image}'"),
        "busybox.test/busybox:1"
    );
    let before = k.run("get pods -l app=web -o jsonpath='{.items[*].metadata.name}'");
    k.shows("rollout restart deployment/web", &["restarted"]);
    k.run("rollout status deployment/web --timeout=40s");
    k.run("wait --for=jsonpath='{.status.replicas}'=3 deployment/web --timeout=60s");
    let after = k.run("get pods -l app=web -o jsonpath='{.items[*].metadata.name}'");
    for pod in before.split(' ') {
        assert!(!after.contains(pod), "{pod} is still there: {after}");
    }
    k.run("rollout pause deployment/web");
    k.run("rollout resume deployment/web");
    k.run("autoscale deployment web --min=1 --max=3");
    k.run("delete deployment web");
    k.run("wait --for=delete pod -l app=web --timeout=60s");
}

pub(crate) fn sets_and_jobs(k: &Kubectl<'_>) {
    k.apply(
        r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: db, image: "busybox.test/busybox:1", command: [sleep, "1000"]}]
---
{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {clusterIP: None, selector: {app: db}, ports: [{port: 1234}]}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: agent, image: "busybox.test/busybox:1", command: [sleep, "1000"]}]
"#,
    );
    k.run("rollout status statefulset/db --timeout=40s");
    k.run("rollout status daemonset/agent --timeout=40s");
    k.shows("get pods -l app=db", &["db-0", "db-1"]);
    let address = k.run("get pod db-0 -o jsonpath='{.status.podIP}'");
    k.until(
        &format!(
            "exec db-1 -- sh -c 'nslookup -type=a db-0.db.{}.svc.cluster.local || true'",
            k.namespace()
        ),
        &address,
    );
    k.run("create job sum --image=busybox.test/busybox:1 -- sh -c 'echo $((1+1))'");
    k.run("wait --for=condition=Complete job/sum --timeout=40s");
    assert_eq!(k.run("logs job/sum"), "2");
    k.shows("get job sum", &["Complete", "1/1"]);
    k.run("create cronjob tick --image=busybox.test/busybox:1 --schedule='0 0 1 1 *' -- true");
    k.run("create job now --from=cronjob/tick");
    k.run("wait --for=condition=Complete job/now --timeout=40s");
    k.run("scale statefulset db --replicas=1");
    k.run("wait --for=delete pod/db-1 --timeout=60s");
    k.run("delete statefulset/db daemonset/agent job/sum cronjob/tick");
    k.run("wait --for=delete pod -l app=db --timeout=60s");
}
