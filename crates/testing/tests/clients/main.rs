//! Clients that others wrote, in the languages that Kubernetes' users write in, against one cluster each.

mod kube_crate;

use std::{
    fs,
    os::unix::fs::symlink,
    process::{Command, Stdio},
};

use testing::{Cluster, Options, beside_clients};

/// Runs a script to its end; what it printed is shown if it fails.
fn run(cluster: &Cluster, mut command: Command) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .expect("the interpreter runs");
    assert!(
        output.status.success(),
        "{}{}\nserver's log:\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        cluster.log()
    );
}

#[test]
fn python() {
    let interpreter = beside_clients("python/bin/python");
    let cluster = Cluster::start(Options::default()).expect("the cluster starts");
    let script = cluster.directory().join("python_client.py");
    fs::write(&script, include_str!("python_client.py")).expect("the directory is ours");
    let mut command = cluster.command(interpreter.to_str().expect("paths of tests are UTF-8"));
    command.arg(script);
    run(&cluster, command);
}

#[test]
fn javascript() {
    let modules = beside_clients("node_modules");
    let cluster = Cluster::start(Options::default()).expect("the cluster starts");
    let script = cluster.directory().join("javascript_client.mjs");
    fs::write(&script, include_str!("javascript_client.mjs")).expect("the directory is ours");
    // Imports are looked for beside the script.
    symlink(modules, cluster.directory().join("node_modules")).expect("the directory is ours");
    let mut command = cluster.command("node");
    command.arg(script);
    run(&cluster, command);
}
