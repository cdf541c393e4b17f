//! What keeps `ironclad up` from starting is one clear message and a failing exit code, and leaves nothing half started behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;
use testing::{Cluster, Families, NetworkNamespace, Options};

#[test]
fn without_root() {
    let room = Room::new();
    // Where the user may write and execute: the binary's own place need not be open to everybody.
    fs::set_permissions(room.directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let copy = room.directory.path().join("ironclad");
    fs::copy(binary(), &copy).unwrap();
    let mut command = room.netns.command("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(copy);
    let complaint = room.refused(room.up(command));
    assert_eq!(
        complaint,
        "ironclad: a node needs root: it makes namespaces, mounts and nftables rules (try sudo)"
    );
    assert!(!room.data_dir().exists());
}

#[test]
fn with_a_taken_port() {
    let room = Room::new();
    for (port, whose) in [(6443, "the API server"), (10250, "the kubelet")] {
        let taken = room.listen(port);
        let complaint = room.refused(room.up(room.netns.command(binary())));
        assert_eq!(
            complaint,
            format!(
                "ironclad: {whose} cannot listen on 0.0.0.0:{port}: Address already in use (os error 98)"
            )
        );
        assert!(!room.data_dir().exists());
        drop(taken);
    }
}

#[test]
fn with_a_manifest_that_is_not_there() {
    let room = Room::new();
    let mut command = room.up(room.netns.command(binary()));
    command.args(["-f", "/nonexistent/hello.yaml"]);
    assert_eq!(
        room.refused(command),
        "ironclad: reading /nonexistent/hello.yaml: No such file or directory (os error 2)"
    );
    assert!(!room.data_dir().exists());
}

#[test]
fn on_the_data_directory_of_another_server_and_on_a_damaged_store() {
    let mut cluster = Cluster::start(Options::default()).unwrap();
    let expected = format!(
        "ironclad: {} is in use by process {}; `ironclad status` shows it, `ironclad down` stops it",
        cluster.data_dir().display(),
        cluster.pid().unwrap()
    );
    let kubeconfig = cluster.directory().join("other.kubeconfig");
    for ports in [
        ["--secure-port=6443", "--kubelet-port=10250"],
        ["--secure-port=7443", "--kubelet-port=11250"],
    ] {
        let mut command = cluster.ironclad(&["up"]);
        command.args(ports).arg("--kubeconfig").arg(&kubeconfig);
        assert_eq!(refused(command), expected);
    }
    assert!(!kubeconfig.exists());
    // The first one has not noticed.
    assert_eq!(cluster.kubectl(&["get", "--raw=/readyz"]), "ok");

    cluster.kill().unwrap();
    let (segment, whole) = damage(&cluster.data_dir().join("etcd"));
    let mut command = cluster.ironclad(&["up"]);
    command.arg("--kubeconfig").arg(&kubeconfig);
    let complaint = refused(command);
    let beginning = format!(
        "ironclad: opening the store at {}: data is damaged: {} at offset ",
        cluster.data_dir().join("etcd").display(),
        segment.display()
    );
    assert!(complaint.starts_with(&beginning), "{complaint}");
    assert!(
        complaint.ends_with("; restore a snapshot, or the file from a copy"),
        "{complaint}"
    );
    assert!(!kubeconfig.exists());

    // The advice helps.
    fs::write(segment, whole).unwrap();
    cluster.spawn().unwrap();
}

/// Changes a byte in the middle of a segment of the log. Answers which file, and what it was.
fn damage(store: &Path) -> (PathBuf, Vec<u8>) {
    let files = fs::read_dir(store)
        .unwrap()
        .map(|file| file.unwrap().path());
    let segment = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    let whole = fs::read(&segment).unwrap();
    let mut damaged = whole.clone();
    damaged[1000] ^= 0x20;
    fs::write(&segment, damaged).unwrap();
    (segment, whole)
}

/// A machine on which nothing runs.
struct Room {
    netns: NetworkNamespace,
    directory: TempDir,
}

impl Room {
    fn new() -> Self {
        Self {
            netns: NetworkNamespace::create(Families::Ipv4).unwrap(),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// The rest of a command that begins with the program.
    fn up(&self, mut command: Command) -> Command {
        command
            .arg("up")
            .arg("--data-dir")
            .arg(self.data_dir())
            .arg("--kubeconfig")
            .arg(self.kubeconfig());
        command
    }

    /// What was complained about; nothing is in the network afterwards that was not there before.
    fn refused(&self, command: Command) -> String {
        let links = self.links();
        let complaint = refused(command);
        assert_eq!(self.links(), links);
        assert!(!self.kubeconfig().exists());
        complaint
    }

    fn links(&self) -> String {
        let output = self.netns.command("ip").args(["-o", "link"]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    }

    /// Takes a port in the namespace.
    fn listen(&self, port: u16) -> std::net::TcpListener {
        let door = self.netns.door().unwrap();
        let listen = move || {
            door.enter().unwrap();
            std::net::TcpListener::bind(("0.0.0.0", port)).unwrap()
        };
        std::thread::spawn(listen).join().unwrap()
    }
}

/// Runs what must fail, and answers its one line on standard error.
fn refused(mut command: Command) -> String {
    let output: Output = command.stdin(Stdio::null()).output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert_eq!(output.stdout, b"", "{complaint}");
    let lines: Vec<&str> = complaint.lines().collect();
    let [line] = lines.as_slice() else {
        panic!("not one line: {complaint}")
    };
    (*line).to_owned()
}

/// The binary under test.
fn binary() -> PathBuf {
    std::env::var_os("IRONCLAD_BINARY").unwrap().into()
}
