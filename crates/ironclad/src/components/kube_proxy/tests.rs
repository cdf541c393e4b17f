//! Configurations that upstream's manifests have.

use clap::Parser as _;

use super::*;

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    flags: Flags,
}

fn read(arguments: &[&str]) -> Flags {
    Line::try_parse_from(["kube-proxy"].iter().chain(arguments))
        .unwrap()
        .flags
}

/// As `kubeadm init` writes it.
const KUBEADM: &str = r#"
apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpCloseWaitTimeout: null
detectLocal: { bridgeInterface: "", interfaceNamePrefix: "" }
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables: { localhostNodePorts: null, masqueradeAll: false, masqueradeBit: null }
ipvs: { excludeCIDRs: null, strictARP: false }
kind: KubeProxyConfiguration
logging: { flushFrequency: 0, verbosity: 0 }
metricsBindAddress: ""
mode: ""
nftables: { masqueradeAll: false, masqueradeBit: null }
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel: { enableDSR: false }
"#;

#[test]
fn kubeadms_configuration_is_taken() {
    let configuration = Configuration::parse(KUBEADM.as_bytes()).unwrap();
    configuration.check().unwrap();
    let address = |endpoint| bind_address(&configuration, endpoint).unwrap().unwrap();
    assert_eq!(address(file::HEALTHZ).to_string(), "0.0.0.0:10256");
    assert_eq!(address(file::METRICS).to_string(), "127.0.0.1:10249");
    let kubeconfig = configuration.client_connection.kubeconfig.as_deref();
    assert_eq!(
        kubeconfig.unwrap().to_str(),
        Some("/var/lib/kube-proxy/kubeconfig.conf")
    );
    assert_eq!(configuration.shown()["mode"], "nftables");
    let unknown = KUBEADM.replace("portRange", "portRanges");
    let error = Configuration::parse(unknown.as_bytes()).unwrap_err();
    assert!(
        error.to_string().contains("unknown field `portRanges`"),
        "{error}"
    );
}

#[test]
fn flags_say_where_to_serve() {
    let told = |arguments: &[&str], endpoint| {
        let configuration = read(arguments).configuration().unwrap();
        let address = bind_address(&configuration, endpoint).unwrap();
        address.map(|address| address.to_string())
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(told(&[], file::METRICS), some("127.0.0.1:10249"));
    assert_eq!(
        told(&["--bind-address=::"], file::HEALTHZ),
        some("[::]:10256")
    );
    assert_eq!(told(&["--metrics-bind-address="], file::METRICS), None);
    assert_eq!(
        told(&["--metrics-bind-address=10.0.0.1"], file::METRICS),
        some("10.0.0.1:10249")
    );
    assert_eq!(
        told(&["--healthz-bind-address=[::1]:1"], file::HEALTHZ),
        some("[::1]:1")
    );
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |arguments: &[&str]| {
        let error = read(arguments).configuration().unwrap_err();
        error.to_string()
    };
    assert!(
        refused(&["--proxy-mode=userspace"])
            .starts_with("KubeProxyConfiguration.Mode: Invalid value: \"userspace\"")
    );
    assert_eq!(
        refused(&["--detect-local-mode=Guess"]),
        "unknown detect-local-mode: Guess"
    );
    assert!(refused(&["--nodeport-addresses=primary,10.0.0.0/8"]).contains("can't use both"));
    let ok = read(&["--proxy-mode=iptables", "--iptables-sync-period=1s", "-v=2"]);
    assert_eq!(ok.no_effect.given(), ["iptables-sync-period"]);
    ok.configuration().unwrap();
}
