//! `ironclad down --purge` leaves nothing: no process, mount, link, table, cgroup, file.

use std::{fs, path::Path, process::Command};

use testing::{Cluster, Kubectl, Options};

#[test]
fn down_leaves_nothing_behind() {
    // Other clusters of this machine are none of this test's.
    let others = cgroups();
    let cluster = Cluster::start(Options::default()).expect("the cluster starts");
    let k = Kubectl::new(&cluster, "kubectl", "down");
    k.run("create configmap settings --from-literal=a=1");
    k.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: stays}
spec:
  containers:
  - name: main
    image: "busybox.test/busybox:1"
    command: [sh, -c, "trap '' TERM; while true; do sleep 1; done"]
    volumeMounts: [{name: memory, mountPath: /memory}, {name: settings, mountPath: /settings}]
  volumes: [{name: memory, emptyDir: {medium: Memory}}, {name: settings, configMap: {name: settings}}]
"#,
    );
    k.wait_ready("pod/stays");
    k.run("expose pod stays --port=80 --name=stays --selector=a=b");

    let data = cluster.data_dir();
    let data = data.to_str().expect("the name is ours").to_owned();
    assert!(
        !processes(&data).is_empty(),
        "a pod's shim names the directory"
    );
    assert!(mounts(&data) > 0, "a pod has mounts");
    assert!(printed(&cluster, "nft", &["list", "tables"]).contains("table"));
    assert_ne!(cgroups(), others, "a pod has a cgroup");

    let down = cluster
        .ironclad(&["down", "--purge"])
        .output()
        .expect("ironclad runs");
    assert!(
        down.status.success(),
        "{}",
        String::from_utf8_lossy(&down.stderr)
    );

    assert_eq!(processes(&data), Vec::<String>::new());
    assert_eq!(mounts(&data), 0);
    assert_eq!(printed(&cluster, "nft", &["list", "tables"]), "");
    let links = printed(&cluster, "ip", &["-brief", "link"]);
    let links: Vec<&str> = links
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(links, ["lo", "uplink"]);
    assert_eq!(cgroups(), others);
    assert!(!Path::new(&data).exists(), "{data} is still there");
}

/// Command lines of running processes that name the directory, this test's `ironclad up` having ended too.
fn processes(directory: &str) -> Vec<String> {
    let lines = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&line).replace('\0', " "))
        });
    lines.filter(|line| line.contains(directory)).collect()
}

fn mounts(directory: &str) -> usize {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts
        .lines()
        .filter(|line| line.contains(directory))
        .count()
}

/// Folders of pods anywhere in the tree of cgroups.
fn cgroups() -> Vec<String> {
    let output = Command::new("find")
        .args([
            "/sys/fs/cgroup",
            "-type",
            "d",
            "-path",
            "*ironclad*",
            "-name",
            "*pod*",
        ])
        .output()
        .expect("find runs");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

fn printed(cluster: &Cluster, program: &str, arguments: &[&str]) -> String {
    let output = cluster
        .command(program)
        .args(arguments)
        .output()
        .expect("it is installed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
