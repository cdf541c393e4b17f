//! `ironclad down --purge` leaves nothing: no process, mount, link, table, cgroup, file.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};

use testing::{Cluster, Families, Kubectl, NetworkNamespace, Options};

#[test]
fn down_leaves_nothing_behind() {
    leaves_nothing(Options::default());
}

#[test]
fn down_leaves_nothing_of_several_nodes_behind() {
    leaves_nothing(Options {
        arguments: vec!["--nodes=2".to_owned()],
        ..Options::default()
    });
}

/// Whoever reads what `up --detach` says, as `ironclad up --detach 2>&1 | tail` does, comes to its end while the cluster runs.
#[test]
fn a_detached_cluster_lets_go_of_its_callers_output() {
    let netns = NetworkNamespace::create(Families::Ipv4).expect("a namespace is made");
    let directory = tempfile::tempdir().expect("a directory is made");
    let place = directory.path().to_owned();
    let ironclad = |arguments: &[&str]| {
        let binary = std::env::var_os("IRONCLAD_BINARY").expect("cargo xtask test names it");
        let mut command = netns.command(binary);
        command.args(arguments);
        command.arg("--data-dir").arg(place.join("data"));
        command
    };
    let mut up = ironclad(&["up", "--detach"]);
    up.arg("--kubeconfig").arg(place.join("kubeconfig"));
    let (said, hear) = mpsc::channel();
    thread::spawn(move || said.send(up.output()));
    let heard = hear.recv_timeout(Duration::from_secs(60));
    let running = processes(&place.display().to_string());
    let down = ironclad(&["down", "--purge"]).output();

    let up = heard.expect("the output ends").expect("ironclad runs");
    let said = String::from_utf8_lossy(&up.stderr);
    assert!(up.status.success(), "{said}");
    assert!(said.contains("running in the background"), "{said}");
    assert!(!running.is_empty(), "the cluster runs on");
    assert!(down.expect("ironclad runs").status.success());
}

fn leaves_nothing(options: Options) {
    let cluster = Cluster::start(options).expect("the cluster starts");
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
    let roots = cgroup_roots(&data);
    for root in &roots {
        assert!(!cgroups(root).is_empty(), "a pod has cgroups");
    }

    let down = cluster
        .ironclad(&["down", "--purge"])
        .output()
        .expect("ironclad runs");
    assert!(
        down.status.success(),
        "{}",
        String::from_utf8_lossy(&down.stderr)
    );

    assert_eq!(processes(&data), Vec::<PathBuf>::new());
    assert_eq!(mounts(&data), 0);
    assert_eq!(printed(&cluster, "nft", &["list", "tables"]), "");
    let links = printed(&cluster, "ip", &["-brief", "link"]);
    let links: Vec<&str> = links
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(links, ["lo", "uplink"]);
    for root in &roots {
        assert_eq!(cgroups(root), Vec::<String>::new());
    }
    assert!(!Path::new(&data).exists(), "{data} is still there");
}

/// Running processes whose command lines name the directory, this test's `ironclad up` having ended too.
fn processes(directory: &str) -> Vec<PathBuf> {
    let names_it = |process: &PathBuf| {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(directory)
    };
    let all = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    all.map(|entry| entry.path()).filter(names_it).collect()
}

/// The mounts of the directory's, here and in the mount namespaces of its processes.
fn mounts(directory: &str) -> usize {
    let here = PathBuf::from("/proc/self");
    let all = processes(directory).into_iter().chain([here]);
    let tables = all.filter_map(|process| fs::read_to_string(process.join("mountinfo")).ok());
    let of_table = |table: String| table.lines().filter(|l| l.contains(directory)).count();
    tables.map(of_table).sum()
}

/// The names of the cgroups that the cluster's shims are below, one a node with pods; other clusters of this machine have other names.
fn cgroup_roots(directory: &str) -> BTreeSet<String> {
    let of_process = |process: PathBuf| {
        let cgroups = fs::read_to_string(process.join("cgroup")).ok()?;
        let mut names = cgroups.lines().flat_map(|line| line.split('/'));
        names
            .find(|name| name.starts_with("ironclad"))
            .map(str::to_owned)
    };
    let roots: BTreeSet<_> = processes(directory)
        .into_iter()
        .filter_map(of_process)
        .collect();
    assert!(!roots.is_empty(), "a shim is in a cgroup of the cluster");
    roots
}

/// That cgroup in all hierarchies, and what is below.
fn cgroups(root: &str) -> Vec<String> {
    let output = Command::new("find")
        .args(["/sys/fs/cgroup", "-type", "d", "-path"])
        .arg(format!("*/{root}*"))
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
