//! Stock helm: a small chart, written here, installed, upgraded, rolled back and uninstalled.

use std::fs;

use testing::{Cluster, Kubectl, Options};

const DEPLOYMENT: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}-web
  labels: {app.kubernetes.io/managed-by: {{ .Release.Service }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: {{ .Values.image }}
        command: [sleep, "1000"]
        envFrom: [{configMapRef: {name: {{ .Release.Name }}-settings}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-settings}
data: {kube: {{ .Capabilities.KubeVersion.Version | quote }}}
"#;

const HOOK: &str = r#"apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-migrate
  annotations: {helm.sh/hook: pre-install, helm.sh/hook-delete-policy: hook-succeeded}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: migrate, image: {{ .Values.image }}, command: ["true"]}]
"#;

#[test]
fn a_chart_is_installed_upgraded_rolled_back_and_uninstalled() {
    let cluster = Cluster::start(Options::default()).expect("the cluster starts");
    let chart = cluster.directory().join("chart");
    fs::create_dir_all(chart.join("templates")).unwrap();
    for (file, content) in [
        (
            "Chart.yaml",
            "apiVersion: v2\nname: small\nversion: 0.1.0\n",
        ),
        (
            "values.yaml",
            "replicas: 1\nimage: busybox.test/busybox:1\n",
        ),
        ("templates/web.yaml", DEPLOYMENT),
        ("templates/hook.yaml", HOOK),
    ] {
        fs::write(chart.join(file), content).unwrap();
    }
    let helm = |line: &str| {
        let output = cluster
            .command("helm")
            .args(line.split(' '))
            .current_dir(cluster.directory())
            .output()
            .expect("helm runs");
        assert!(
            output.status.success(),
            "helm {line}: {}\n{}",
            String::from_utf8_lossy(&output.stderr),
            cluster.log()
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    };

    let k = Kubectl::new(&cluster, "kubectl", "charts");
    let installed = helm("install one ./chart -n charts --wait --timeout 60s");
    assert!(installed.contains("STATUS: deployed"), "{installed}");
    k.shows("get deployment one-web", &["1/1"]);
    k.shows("get configmap one-settings -o yaml", &["kube: v1.36"]);
    k.refuses("get job one-migrate", "NotFound");

    helm("upgrade one ./chart -n charts --set replicas=2 --wait --timeout 60s");
    k.shows("get deployment one-web", &["2/2"]);
    helm("rollback one 1 -n charts --wait --timeout 60s");
    assert!(helm("history one -n charts").contains("Rollback to 1"));
    k.until("get deployment one-web", "1/1");
    assert!(helm("list -n charts").contains("small-0.1.0"));
    helm("uninstall one -n charts --wait --timeout 60s");
    k.refuses("get deployment one-web", "NotFound");
}
