//! Command lines that upstream's manifests have.

use clap::Parser as _;

use super::*;

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    flags: Flags,
}

fn read(arguments: &[&str]) -> Result<Flags, clap::Error> {
    let arguments = ["kube-controller-manager"].iter().chain(arguments);
    Line::try_parse_from(arguments).map(|line| line.flags)
}

/// As `kubeadm init` writes it.
const KUBEADM: &[&str] = &[
    "--allocate-node-cidrs=true",
    "--authentication-kubeconfig=/etc/kubernetes/controller-manager.conf",
    "--authorization-kubeconfig=/etc/kubernetes/controller-manager.conf",
    "--bind-address=127.0.0.1",
    "--client-ca-file=/etc/kubernetes/pki/ca.crt",
    "--cluster-cidr=10.244.0.0/16",
    "--cluster-name=kubernetes",
    "--cluster-signing-cert-file=/etc/kubernetes/pki/ca.crt",
    "--cluster-signing-key-file=/etc/kubernetes/pki/ca.key",
    "--controllers=*,bootstrapsigner,tokencleaner",
    "--kubeconfig=/etc/kubernetes/controller-manager.conf",
    "--leader-elect=true",
    "--requestheader-client-ca-file=/etc/kubernetes/pki/front-proxy-ca.crt",
    "--root-ca-file=/etc/kubernetes/pki/ca.crt",
    "--service-account-private-key-file=/etc/kubernetes/pki/sa.key",
    "--service-cluster-ip-range=10.96.0.0/12",
    "--use-service-account-credentials=true",
];

#[test]
fn kubeadms_command_line_is_taken() {
    let flags = read(KUBEADM).unwrap();
    assert_eq!(
        flags.no_effect.given(),
        ["cluster-name", "service-cluster-ip-range"]
    );
    assert_eq!(flags.controllers, ["*", "bootstrapsigner", "tokencleaner"]);
}

#[test]
fn settings_reach_their_controllers() {
    let flags = read(&[
        "--concurrent-deployment-syncs=50",
        "--concurrent-gc-syncs=7",
        "--node-monitor-grace-period=20s",
        "--node-eviction-rate=0.5",
        "--terminated-pod-gc-threshold=-1",
        "--horizontal-pod-autoscaler-sync-period=1m",
        "--node-cidr-mask-size=25",
        "--leader-elect-lease-duration=1m",
        "--leader-elect-renew-deadline=40s",
        "--leader-elect-resource-name=other",
    ]);
    let config = flags.unwrap().config().unwrap();
    assert_eq!(config.concurrent_syncs.deployment, 50);
    assert_eq!(config.concurrent_syncs.garbage_collector, 7);
    assert_eq!(config.concurrent_syncs.daemon_set, 2);
    assert_eq!(config.node_monitor_grace_period, Duration::from_secs(20));
    assert!((config.node_eviction.rate - 0.5).abs() < f64::EPSILON);
    assert_eq!(config.terminated_pod_gc_threshold, 0);
    assert_eq!(config.autoscaling.sync_period, Duration::from_secs(60));
    assert_eq!(config.node_cidr_mask_size_ipv4, 25);
    let election = config.leader_election.unwrap();
    assert_eq!(election.lease_duration, Duration::from_secs(60));
    assert_eq!(election.resource_name, "other");
    assert_eq!(election.retry_period, Duration::from_secs(2));
}

#[test]
fn what_cannot_be_is_said() {
    let refused = |arguments: &[&str]| {
        let outcome = read(arguments).map_err(|error| error.to_string());
        let outcome = outcome.and_then(|flags| flags.config().map_err(|error| error.to_string()));
        outcome.map(drop).unwrap_err()
    };
    for (arguments, expected) in [
        (
            &["--leader-elect-renew-deadline=20s"] as &[&str],
            "leaseDuration must be greater than renewDeadline",
        ),
        (
            &[
                "--cluster-cidr=10.0.0.0/16,fd00::/48",
                "--node-cidr-mask-size=24",
            ],
            "usage of --node-cidr-mask-size is not allowed with dual-stack clusters",
        ),
        (
            &["--flex-volume-plugin-dir=/plugins"],
            "--flex-volume-plugin-dir: there are no flex volumes here",
        ),
        (
            &["--cluster-signing-kubelet-client-key-file=/key"],
            "all signers share one key here",
        ),
    ] {
        let said = refused(arguments);
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn the_configuration_is_shown() {
    let config = read(&[]).unwrap().config().unwrap();
    let shown = shown(&config);
    assert_eq!(shown["Generic"]["LeaderElection"]["leaseDuration"], "15s");
    assert_eq!(
        shown["HPAController"]["HorizontalPodAutoscalerDownscaleStabilizationWindow"],
        "5m0s"
    );
}
