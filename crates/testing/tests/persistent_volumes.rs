//! PersistentVolumes on a real cluster, with stock kubectl: a StatefulSet's claims are bound to disks of the node, its pods find their data
//! again whatever is killed, and nobody but its owner deletes what is on a disk.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use anyhow::ensure;
use testing::{Cluster, Options, eventually};

/// What a pod, a rollout or a restart may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const GROUP: u32 = 2345;

#[test]
fn a_statefulset_keeps_its_data_on_local_disks() {
    let mut cluster = Cluster::start(Options::default()).unwrap();
    let disks = tempfile::tempdir().unwrap();
    let node = cluster.kubectl(&["get", "nodes", "-o=jsonpath={.items[0].metadata.name}"]);
    for disk in ["disk-0", "disk-1"] {
        let path = disks.path().join(disk);
        fs::create_dir(&path).unwrap();
        cluster.apply(&local_volume(disk, &path, &node));
    }
    cluster.apply(&class_and_set());
    rolled_out(&cluster);
    eventually(PATIENCE, || {
        let phases = get(&cluster, "pv", "{.items[*].status.phase}")?;
        ensure!(phases == "Bound Bound", "{phases}");
        anyhow::Ok(())
    });
    // Each pod has written its name, with the group of its pod, and options hold.
    let on_disks = |line: &str| {
        let mut found: Vec<String> = ["disk-0", "disk-1"]
            .iter()
            .filter_map(|disk| fs::read_to_string(disks.path().join(disk).join("log")).ok())
            .filter_map(|log| log.lines().find(|found| *found == line).map(str::to_owned))
            .collect();
        found.dedup();
        found
    };
    for pod in ["db-0", "db-1"] {
        assert_eq!(on_disks(pod), [pod]);
    }
    let disk = fs::metadata(disks.path().join("disk-0")).unwrap();
    assert_eq!((disk.gid(), disk.mode() & 0o2070), (GROUP, 0o2070));
    let mounts = cluster.kubectl(&["exec", "db-0", "--", "grep", " /data ", "/proc/mounts"]);
    assert!(mounts.contains("noexec"), "{mounts}");

    // Another pod of the same name finds what the first one wrote, and adds to it.
    cluster.kubectl(&["delete", "pod", "db-0", "--timeout=60s"]);
    rolled_out(&cluster);
    let read =
        |cluster: &Cluster, pod: &str| cluster.kubectl(&["exec", pod, "--", "cat", "/data/log"]);
    assert_eq!(read(&cluster, "db-0"), "db-0\ndb-0");

    // A kubelet that is killed and comes back leaves the pods and their mounts as they are.
    let ids = "{.items[*].status.containerStatuses[0].containerID}";
    let before = get(&cluster, "pods", ids).unwrap();
    cluster.kill().unwrap();
    cluster.spawn().unwrap();
    eventually(PATIENCE, || {
        cluster.try_kubectl(&["exec", "db-1", "--", "true"])
    });
    rolled_out(&cluster);
    assert_eq!(get(&cluster, "pods", ids).unwrap(), before);
    cluster.kubectl(&["exec", "db-1", "--", "sh", "-c", "echo again >> /data/log"]);
    assert_eq!(read(&cluster, "db-1"), "db-1\nagain");

    // What is released is kept.
    cluster.kubectl(&[
        "delete",
        "statefulset/db",
        "--cascade=foreground",
        "--timeout=60s",
    ]);
    cluster.kubectl(&["delete", "pvc", "--all", "--timeout=60s"]);
    eventually(PATIENCE, || {
        let phases = get(&cluster, "pv", "{.items[*].status.phase}")?;
        ensure!(phases == "Released Released", "{phases}");
        anyhow::Ok(())
    });
    eventually(PATIENCE, || {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let ours = cluster.data_dir().display().to_string();
        let left = mounts
            .lines()
            .find(|line| line.contains(&ours) && line.contains("local-volume"));
        ensure!(left.is_none(), "{left:?}");
        anyhow::Ok(())
    });
    drop(cluster);
    assert_eq!(
        on_disks("again"),
        ["again"],
        "the cluster goes, the data stay"
    );
}

#[test]
fn a_claim_may_be_read_only_and_what_is_wrong_is_said() {
    let cluster = Cluster::start(Options::default()).unwrap();
    let disks = tempfile::tempdir().unwrap();
    let path = disks.path().join("shared");
    fs::create_dir_all(path.join("part")).unwrap();
    fs::write(path.join("part/greeting"), "hello").unwrap();
    cluster.apply(&format!(
        "{}---{}---{}",
        host_path_volume(&path),
        claim("shared", "shared"),
        reader("reader", "shared"),
    ));
    cluster.kubectl(&[
        "wait",
        "--for=condition=Ready",
        "pod/reader",
        "--timeout=60s",
    ]);
    let said = cluster.kubectl(&["exec", "reader", "--", "cat", "/data/greeting"]);
    assert_eq!(said, "hello");
    let refused = cluster.try_kubectl(&["exec", "reader", "--", "touch", "/data/new"]);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("Read-only file system"), "{refused}");

    let node = cluster.kubectl(&["get", "nodes", "-o=jsonpath={.items[0].metadata.name}"]);
    let missing = disks.path().join("missing");
    cluster.apply(&format!(
        "{}---{}---{}",
        local_volume("missing", &missing, &node),
        claim("missing", "disks"),
        reader("unlucky", "missing"),
    ));
    eventually(PATIENCE, || {
        let events = cluster.try_kubectl(&[
            "get",
            "events",
            "--field-selector=involvedObject.name=unlucky,reason=FailedMount",
            "-o=jsonpath={.items[*].message}",
        ])?;
        let expected = format!(
            "MountVolume.NewMounter initialization failed for volume \"missing\" : path \"{}\" does not exist",
            missing.display()
        );
        ensure!(events.contains(&expected), "{events}");
        anyhow::Ok(())
    });
    // The disk is put in, and the pod starts.
    fs::create_dir_all(missing.join("part")).unwrap();
    cluster.kubectl(&[
        "wait",
        "--for=condition=Ready",
        "pod/unlucky",
        "--timeout=60s",
    ]);
}

fn get(cluster: &Cluster, what: &str, path: &str) -> anyhow::Result<String> {
    cluster.try_kubectl(&["get", what, &format!("-o=jsonpath={path}")])
}

fn rolled_out(cluster: &Cluster) {
    eventually(PATIENCE, || {
        cluster.try_kubectl(&["rollout", "status", "statefulset/db", "--timeout=10s"])
    });
}

fn local_volume(name: &str, path: &Path, node: &str) -> String {
    format!(
        "
apiVersion: v1
kind: PersistentVolume
metadata: {{ name: {name} }}
spec:
  capacity: {{ storage: 1Gi }}
  accessModes: [ ReadWriteOnce ]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: disks
  mountOptions: [ noexec ]
  local: {{ path: {} }}
  nodeAffinity:
    required:
      nodeSelectorTerms:
      - matchExpressions: [ {{ key: kubernetes.io/hostname, operator: In, values: [ {node} ] }} ]
",
        path.display()
    )
}

fn class_and_set() -> String {
    format!(
        "
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {{ name: disks }}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{ name: db }}
spec:
  replicas: 2
  serviceName: db
  selector: {{ matchLabels: {{ app: db }} }}
  template:
    metadata: {{ labels: {{ app: db }} }}
    spec:
      terminationGracePeriodSeconds: 0
      securityContext: {{ fsGroup: {GROUP} }}
      containers:
      - name: db
        image: busybox.test/busybox:1
        command: [ sh, -c, 'echo $HOSTNAME >> /data/log; exec sleep 100000' ]
        readinessProbe: {{ exec: {{ command: [ test, -s, /data/log ] }}, periodSeconds: 1 }}
        volumeMounts: [ {{ name: data, mountPath: /data }} ]
  volumeClaimTemplates:
  - metadata: {{ name: data }}
    spec:
      accessModes: [ ReadWriteOnce ]
      storageClassName: disks
      resources: {{ requests: {{ storage: 1Gi }} }}
"
    )
}

fn host_path_volume(path: &Path) -> String {
    format!(
        "
apiVersion: v1
kind: PersistentVolume
metadata: {{ name: shared }}
spec:
  capacity: {{ storage: 1Gi }}
  accessModes: [ ReadWriteOnce ]
  storageClassName: shared
  hostPath: {{ path: {}, type: Directory }}
",
        path.display()
    )
}

fn claim(name: &str, class: &str) -> String {
    format!(
        "
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{ name: {name} }}
spec:
  accessModes: [ ReadWriteOnce ]
  storageClassName: {class}
  resources: {{ requests: {{ storage: 1Gi }} }}
"
    )
}

/// A pod that has a part of a claimed volume, read-only.
fn reader(name: &str, claim: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{ name: {name} }}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: reader
    image: busybox.test/busybox:1
    command: [ sleep, '100000' ]
    volumeMounts: [ {{ name: data, mountPath: /data, subPath: part }} ]
  volumes:
  - name: data
    persistentVolumeClaim: {{ claimName: {claim}, readOnly: true }}
"
    )
}
