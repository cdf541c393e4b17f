//! Services: by name, by address, by node port, headless, and the cluster's DNS.

use testing::Kubectl;

pub(crate) fn names_and_addresses(k: &Kubectl<'_>) {
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
      containers:
      - name: web
        image: "busybox.test/busybox:1"
        command: [sh, -c, "mkdir /tmp/w; hostname > /tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w"]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
---
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: NodePort, selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: web-pods}, spec: {clusterIP: None, selector: {app: web}, ports: [{name: http, port: 8080, targetPort: http}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: elsewhere}, spec: {type: ExternalName, externalName: web.names.svc.cluster.local}}
"#,
    );
    k.run("run client --image=busybox.test/busybox:1 -- sleep 1000");
    k.wait_ready("pod/client");
    k.run("rollout status deployment/web --timeout=40s");

    let address = k.run("get service web -o jsonpath='{.spec.clusterIP}'");
    let namespace = k.namespace();
    k.until("get endpointslices -l kubernetes.io/service-name=web -o jsonpath='{.items[*].endpoints[*].conditions.ready}'", "true true");
    k.shows("get endpoints web", &[":8080,", "10.244."]);
    // Busybox asks for IPv6 too and complains when there is none.
    let lookup = |name: &str| format!("exec client -- sh -c 'nslookup -type=a {name} || true'");
    k.until(
        &lookup(&format!("web.{namespace}.svc.cluster.local")),
        &address,
    );
    k.until(&lookup("kubernetes.default.svc.cluster.local"), "10.96.0.1");
    let headless = lookup(&format!("web-pods.{namespace}.svc.cluster.local"));
    for pod in k
        .run("get pods -l app=web -o jsonpath='{.items[*].status.podIP}'")
        .split(' ')
    {
        k.until(&headless, pod);
    }
    k.until(
        &lookup(&format!("elsewhere.{namespace}.svc.cluster.local")),
        "canonical name",
    );
    k.until(
        &lookup(&format!("absent.{namespace}.svc.cluster.local")),
        "NXDOMAIN",
    );
    k.shows(
        "exec client -- cat /etc/resolv.conf",
        &[
            &format!("search {namespace}.svc.cluster.local svc.cluster.local cluster.local"),
            "nameserver 10.96.0.10",
            "ndots:5",
        ],
    );

    // Balanced: half a million to one that twenty visits see both.
    let visit = crate::fetch_in_pod(&address, "80");
    k.until(&visit, "web-");
    let visits: Vec<String> = (0..20).map(|_| k.run(&visit)).collect();
    let mut seen: Vec<&str> = visits
        .iter()
        .filter_map(|visit| visit.lines().last())
        .collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 2, "{seen:?}");

    // From the node: the node's port, the Service's address.
    let port = k.run("get service web -o jsonpath='{.spec.ports[0].nodePort}'");
    for url in [
        format!("http://172.31.255.1:{port}"),
        format!("http://{address}"),
    ] {
        let fetched = k
            .shell(&format!("curl --silent --max-time 5 {url}"))
            .output()
            .expect("sh runs");
        let fetched = String::from_utf8_lossy(&fetched.stdout).into_owned();
        assert!(fetched.starts_with("web-"), "{url}: {fetched:?}");
    }
    k.until(&crate::fetch_in_pod("172.31.255.1", &port), "web-");
    // A Pod speaks with the API server by the Service's environment variables.
    k.until(
        "exec client -- sh -c 'echo $KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT'",
        "10.96.0.1:443",
    );
    k.until(
        "exec client -- sh -c 'nc -w 2 10.96.0.1 443 </dev/null && echo reached'",
        "reached",
    );

    k.run("scale deployment web --replicas=0");
    k.until(
        "get endpointslices -l kubernetes.io/service-name=web -o jsonpath='{.items[*].endpoints}-'",
        "-",
    );
    k.run("wait --for=delete pod -l app=web --timeout=60s");
    let refused = k.output(&visit);
    assert!(!refused.status.success());
}
