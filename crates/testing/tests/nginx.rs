//! A server that others wrote, from Debian's packages: as an ordinary user on a read-only root, with its configuration from a
//! ConfigMap, looked after by probes of every kind, behind a Service.

use std::time::Duration;

use anyhow::ensure;
use testing::{Cluster, Kubectl, Options, beside_clients, eventually, rootfs_archive};

const PATIENCE: Duration = Duration::from_secs(30);

const MANIFEST: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data:
  nginx.conf: |
    pid /run/nginx/pid;
    error_log stderr;
    events {}
    http {
      access_log off;
      client_body_temp_path /run/nginx/body;
      proxy_temp_path /run/nginx/proxy;
      fastcgi_temp_path /run/nginx/fastcgi;
      uwsgi_temp_path /run/nginx/uwsgi;
      scgi_temp_path /run/nginx/scgi;
      server {
        listen 8080;
        root /srv;
        location = /ready { root /run/nginx; }
      }
    }
  index.html: "served by nginx\n"
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      securityContext: {runAsUser: 33, runAsGroup: 33, fsGroup: 33, runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: nginx
        image: nginx.test/nginx:1
        command: [/usr/sbin/nginx, -c, /etc/web/nginx.conf, -g, "daemon off;"]
        securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
        ports: [{name: http, containerPort: 8080}]
        startupProbe: {tcpSocket: {port: http}, periodSeconds: 1}
        readinessProbe: {httpGet: {path: /ready, port: http}, periodSeconds: 1, failureThreshold: 1}
        livenessProbe: {httpGet: {path: /, port: 8080, httpHeaders: [{name: Host, value: web}]}, periodSeconds: 1}
        volumeMounts:
        - {name: settings, mountPath: /etc/web}
        - {name: settings, mountPath: /srv/index.html, subPath: index.html}
        - {name: run, mountPath: /run/nginx}
      - name: hands
        image: "busybox.test/busybox:1"
        command: [sleep, "1000"]
        volumeMounts: [{name: run, mountPath: /run/nginx}]
      terminationGracePeriodSeconds: 1
      volumes:
      - {name: settings, configMap: {name: web}}
      - {name: run, emptyDir: {medium: Memory}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: http}]
"#;

#[test]
fn nginx_of_debian_is_probed_and_served() {
    let rootfs = beside_clients("nginx");
    let cluster = Cluster::start(Options::default()).expect("the cluster starts");
    let archive = rootfs_archive(cluster.directory(), "nginx.test/nginx:1", &rootfs, &[])
        .expect("the packages are unpacked");
    let imported = cluster
        .ironclad(&["image", "import"])
        .arg(&archive)
        .output()
        .expect("ironclad runs");
    assert!(imported.status.success(), "{imported:?}");

    let k = Kubectl::new(&cluster, "kubectl", "nginx");
    k.apply(MANIFEST);
    // Alive, but not ready: the file that readiness asks for is not there yet.
    k.until(
        "get deployment web -o jsonpath='{.status.unavailableReplicas}'",
        "2",
    );
    let started = "get pods -l app=web -o jsonpath='{.items[*].status.containerStatuses[?(@.name==\"nginx\")].started}'";
    k.until(started, "true true");
    let addresses = "get endpoints web -o jsonpath='{.subsets[*].addresses[*].ip}'";
    assert_eq!(k.run(addresses), "");

    let pods = k.run("get pods -l app=web -o name");
    let pods: Vec<&str> = pods.lines().collect();
    for pod in &pods {
        k.run(&format!("exec {pod} -c hands -- touch /run/nginx/ready"));
    }
    k.run("rollout status deployment/web --timeout=30s");
    let address = k.run("get service web -o jsonpath='{.spec.clusterIP}'");
    let served = || {
        let url = format!("http://{address}/");
        let output = cluster
            .command("curl")
            .args(["--silent", "--fail", "--max-time", "2", &url])
            .output()?;
        let body = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(body == "served by nginx\n", "{body:?}");
        Ok(())
    };
    eventually(PATIENCE, served);

    // One is no longer ready: it gets no more requests, and is not restarted.
    k.run(&format!("exec {} -c hands -- rm /run/nginx/ready", pods[0]));
    eventually(PATIENCE, || {
        let left = k.attempt(addresses)?;
        ensure!(left.split_whitespace().count() == 1, "{left:?}");
        Ok(())
    });
    served().expect("the other one serves");
    let restarts =
        "get pods -l app=web -o jsonpath='{.items[*].status.containerStatuses[*].restartCount}'";
    assert_eq!(k.run(restarts), "0 0 0 0");

    // nginx ends (its process is stopped by a user of its own): it is started again, the other container is not.
    k.run(&format!(
        "exec {} -c nginx -- /usr/sbin/nginx -c /etc/web/nginx.conf -s stop",
        pods[1]
    ));
    k.until(restarts, "1");
    eventually(PATIENCE, served);
}
