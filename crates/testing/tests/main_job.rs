//! The main job: `ironclad up -f examples/hello.yaml` on an empty machine, and what a person then does.

use std::{collections::BTreeSet, path::Path, time::Duration};

use testing::{Cluster, Options, eventually};

#[test]
fn up_deploys_the_example_and_its_service_balances() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/hello.yaml");
    let arguments = vec!["-f".to_owned(), example.display().to_string()];
    let cluster = Cluster::start(Options {
        arguments,
        ..Options::default()
    })
    .expect("a cluster");

    cluster.kubectl(&[
        "wait",
        "--for=condition=Available",
        "deployment/hello",
        "--timeout=60s",
    ]);
    let address = cluster.kubectl(&[
        "get",
        "service",
        "hello",
        "-o",
        "jsonpath={.spec.clusterIP}",
    ]);
    let mut answered = BTreeSet::new();
    eventually(Duration::from_secs(20), || {
        let output = cluster
            .command("curl")
            .args(["--silent", "--max-time", "2", &address])
            .output()?;
        answered.insert(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        anyhow::ensure!(
            answered.len() >= 3,
            "only these have answered: {answered:?}"
        );
        Ok::<(), anyhow::Error>(())
    });
    assert!(
        answered
            .iter()
            .all(|answer| answer.starts_with("Hello from hello-")),
        "{answered:?}"
    );

    // The user's kubeconfig was added to, and the cluster says what it is.
    let context = cluster.kubectl(&["config", "current-context"]);
    assert_eq!(context, "ironclad");
    assert!(cluster.kubectl(&["version"]).contains("+ironclad."));
    let status = cluster
        .ironclad(&["status"])
        .output()
        .expect("ironclad status");
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("3 of 3 running"), "{status}");
}
