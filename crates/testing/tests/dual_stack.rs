//! A cluster of two address families: pods and nodes have an address of each, Services are reached at both, from pods, through ports of
//! the node and from another machine, and DNS knows both. And one of IPv6 alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr};

use anyhow::ensure;
use testing::{
    Access, Cluster, Families, Image, Kubectl, Machine, Options, Registry, eventually, in_ipv6,
};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

const FIRST: Ipv4Addr = Ipv4Addr::new(172, 31, 255, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(172, 31, 255, 2);
/// What the first machine has, and what the second one pulls.
const IMAGE: &str = "busybox.test/busybox:1";
const PULLED: &str = "127.0.0.1:5000/team/busybox:v1";
const PODS: &str = "10.244.0.0/16,fd00:10:244::/56";

fn cluster(service_ranges: &str, pod_ranges: &str) -> Cluster {
    let arguments = [
        format!("--service-cluster-ip-range={service_ranges}"),
        format!("--cluster-cidr={pod_ranges}"),
    ];
    Cluster::start(Options {
        arguments: arguments.to_vec(),
        families: Families::Dual,
        ..Options::default()
    })
    .unwrap()
}

/// A pod that serves its name, and says what it was told of itself.
fn server(name: &str, image: &str, spec: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{ name: {name}, labels: {{ app: {name} }} }}
spec:
  {spec}
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: '{image}'
    command: [sh, -c, 'mkdir /tmp/w && echo {name} > /tmp/w/index.html && exec httpd -f -p "[::]:8080" -h /tmp/w']
    ports: [ {{ containerPort: 8080, hostPort: 9090 }} ]
    readinessProbe: {{ httpGet: {{ port: 8080, path: / }}, periodSeconds: 1 }}
    env:
    - {{ name: POD_IPS, valueFrom: {{ fieldRef: {{ fieldPath: status.podIPs }} }} }}
    - {{ name: HOST_IPS, valueFrom: {{ fieldRef: {{ fieldPath: status.hostIPs }} }} }}
---
"#
    )
}

fn service(name: &str, spec: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{ name: {name} }}
spec: {{ selector: {{ app: web }}, ports: [ {{ port: 80, targetPort: 8080 }} ], {spec} }}
---
"
    )
}

const CLIENT: &str = r#"
apiVersion: v1
kind: Pod
metadata: { name: client }
spec:
  terminationGracePeriodSeconds: 0
  containers: [ { name: c, image: "busybox.test/busybox:1", command: [ sleep, "1000" ] } ]
---
apiVersion: v1
kind: Pod
metadata: { name: on-the-node }
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 0
  containers: [ { name: c, image: "busybox.test/busybox:1", command: [ sleep, "1000" ] } ]
"#;

/// What a JSONPath of several values finds.
fn list(k: &Kubectl<'_>, what: &str, path: &str) -> Vec<String> {
    let found = k.run(&format!("get {what} -o jsonpath='{{{path}}}'"));
    found.split_whitespace().map(str::to_owned).collect()
}

fn addresses(k: &Kubectl<'_>, what: &str, path: &str) -> Vec<IpAddr> {
    let found = list(k, what, path);
    found.iter().map(|text| text.parse().unwrap()).collect()
}

/// Asks from a pod, over plain TCP: what Debian's static busybox has for HTTP crashes in its C library's name lookup.
fn asks(k: &Kubectl<'_>, from: &str, address: &IpAddr, port: u16, expected: &str) {
    let line = format!(
        r#"exec {from} -- sh -c 'printf "GET / HTTP/1.0\r\n\r\n" | nc -w 2 {address} {port}'"#
    );
    eventually(PATIENCE, || {
        let answer = k.attempt(&line)?;
        ensure!(
            answer.ends_with(expected),
            "{from} asked {address} port {port}: {answer:?}"
        );
        Ok(())
    });
}

/// Asks from a machine.
fn curl(mut command: std::process::Command, address: IpAddr, port: u16, expected: &str) {
    let url = format!("http://{}/", std::net::SocketAddr::new(address, port));
    command.args(["--silent", "--fail", "--max-time", "5", &url]);
    eventually(PATIENCE, || {
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(said == format!("{expected}\n"), "{url}: {output:?}");
        Ok(())
    });
}

fn looks_up(k: &Kubectl<'_>, name: &str, kind: &str, address: &IpAddr) {
    let line = format!("exec client -- sh -c 'nslookup -type={kind} {name} || true'");
    k.until(&line, &address.to_string());
}

#[test]
fn pods_and_services_have_addresses_of_both_families() {
    let cluster = cluster("10.96.0.0/16,fd00:10:96::/112", PODS);
    let k = Kubectl::new(&cluster, "kubectl", "dual");
    let mut manifest = server("web", IMAGE, "");
    manifest += &service("web", "ipFamilyPolicy: RequireDualStack, type: NodePort");
    manifest += &service(
        "six-first",
        "ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv6]",
    );
    manifest += &service("single", "");
    manifest += &service(
        "headless",
        "ipFamilyPolicy: PreferDualStack, clusterIP: None",
    );
    k.apply(&(manifest + CLIENT));
    for pod in ["web", "client", "on-the-node"] {
        k.wait_ready(&format!("pod/{pod}"));
    }

    // What the API says of the pods, and what the pods are told.
    let node_ips = [IpAddr::from(FIRST), in_ipv6(FIRST).into()];
    let pod_ips = addresses(&k, "pod web", ".status.podIPs[*].ip");
    let cidrs = list(&k, "node", ".items[0].spec.podCIDRs[*]");
    assert_eq!(cidrs, ["10.244.0.0/24", "fd00:10:244::/64"]);
    assert_eq!(pod_ips.len(), 2, "{pod_ips:?}");
    assert!(pod_ips[0].to_string().starts_with("10.244.0."));
    assert!(pod_ips[1].to_string().starts_with("fd00:10:244::"));
    assert_eq!(addresses(&k, "pod web", ".status.podIP"), pod_ips[..1]);
    assert_eq!(addresses(&k, "pod web", ".status.hostIPs[*].ip"), node_ips);
    let path = ".status.podIPs[*].ip";
    assert_eq!(addresses(&k, "pod on-the-node", path), node_ips);
    let told = k.run("exec web -- sh -c 'echo $POD_IPS $HOST_IPS'");
    let [a, b] = [&pod_ips[0], &pod_ips[1]];
    assert_eq!(told, format!("{a},{b} {},{}", node_ips[0], node_ips[1]));
    let hosts = k.run("exec web -- cat /etc/hosts");
    for address in &pod_ips {
        assert!(hosts.contains(&format!("{address}\tweb")), "{hosts}");
    }

    // Services.
    let of = |name: &str| addresses(&k, &format!("service {name}"), ".spec.clusterIPs[*]");
    let (web, six_first, single) = (of("web"), of("six-first"), of("single"));
    assert_eq!((web.len(), six_first.len(), single.len()), (2, 2, 1));
    assert!(web[0].is_ipv4() && six_first[0].is_ipv6() && single[0].is_ipv4());
    let slices = "endpointslice -l kubernetes.io/service-name=web";
    let endpoints = addresses(&k, slices, ".items[*].endpoints[*].addresses[*]");
    assert_eq!(endpoints.len(), 2, "{endpoints:?}");
    assert!(pod_ips.iter().all(|address| endpoints.contains(address)));

    for address in &pod_ips {
        asks(&k, "client", address, 8080, "web");
        curl(cluster.command("curl"), *address, 8080, "web");
    }
    for address in web.iter().chain(&six_first).chain(&single) {
        asks(&k, "client", address, 80, "web");
        // Its own Service, and so itself: the way back leads through the node.
        asks(&k, "web", address, 80, "web");
    }
    let node_port = list(&k, "service web", ".spec.ports[0].nodePort")[0]
        .parse()
        .unwrap();
    for address in &node_ips {
        for port in [node_port, 9090] {
            asks(&k, "client", address, port, "web");
            curl(cluster.command("curl"), *address, port, "web");
        }
    }
    for (kind, index) in [("a", 0), ("aaaa", 1)] {
        looks_up(&k, "web.dual.svc.cluster.local", kind, &web[index]);
        looks_up(&k, "headless.dual.svc.cluster.local", kind, &pod_ips[index]);
    }
    k.run("delete pods --all --timeout=60s");
}

#[test]
fn a_machine_that_joins_has_both_families() {
    let cluster = cluster("10.96.0.0/16,fd00:10:96::/112", PODS);
    let machine = Machine::beside(&cluster, SECOND).unwrap();
    let _registry = Registry::serve(
        machine.netns().door().unwrap(),
        "127.0.0.1:5000".parse().unwrap(),
        "team/busybox",
        &Image::busybox().unwrap(),
        Access::Anonymous,
        None,
    )
    .unwrap();
    let node_ip = format!("--node-ip={SECOND},{}", in_ipv6(SECOND));
    let _node = machine
        .join(
            &cluster,
            "second",
            &[&node_ip, "--cluster-dns=10.96.0.10"],
            PODS,
        )
        .unwrap();

    let k = Kubectl::new(&cluster, "kubectl", "dual");
    let service = service("web", "ipFamilyPolicy: RequireDualStack");
    k.apply(&(server("web", PULLED, "nodeName: second") + &service + CLIENT));
    for pod in ["web", "client"] {
        k.wait_ready(&format!("pod/{pod}"));
    }
    let (near, far) = ("pod client", "pod web");
    let [near, far] = [near, far].map(|pod| addresses(&k, pod, ".status.podIPs[*].ip"));
    let service = addresses(&k, "service web", ".spec.clusterIPs[*]");
    assert_eq!((near.len(), far.len(), service.len()), (2, 2, 2));
    for index in 0..2 {
        asks(&k, "client", &far[index], 8080, "web");
        asks(&k, "client", &service[index], 80, "web");
        asks(&k, "web", &service[index], 80, "web");
        curl(cluster.command("curl"), far[index], 8080, "web");
        curl(machine.netns().command("curl"), far[index], 8080, "web");
        let line = format!("exec web -- ping -c 1 -W 2 {}", near[index]);
        k.until(&line, "1 packets received");
    }
    k.run("delete pods --all --timeout=60s");
}

#[test]
fn a_cluster_of_ipv6_alone() {
    let cluster = cluster("fd00:10:96::/112", "fd00:10:244::/56");
    let k = Kubectl::new(&cluster, "kubectl", "six");
    let manifest = server("web", IMAGE, "") + &service("web", "type: NodePort") + CLIENT;
    k.apply(&manifest);
    for pod in ["web", "client"] {
        k.wait_ready(&format!("pod/{pod}"));
    }
    let node_ips = [IpAddr::from(in_ipv6(FIRST))];
    assert_eq!(addresses(&k, "pod web", ".status.hostIPs[*].ip"), node_ips);
    let pod_ips = addresses(&k, "pod web", ".status.podIPs[*].ip");
    let service = addresses(&k, "service web", ".spec.clusterIPs[*]");
    assert!(pod_ips.len() == 1 && pod_ips[0].is_ipv6(), "{pod_ips:?}");
    assert!(service.len() == 1 && service[0].is_ipv6(), "{service:?}");
    asks(&k, "client", &pod_ips[0], 8080, "web");
    asks(&k, "client", &service[0], 80, "web");
    asks(&k, "client", &node_ips[0], 9090, "web");
    looks_up(&k, "web.six.svc.cluster.local", "aaaa", &service[0]);
    // The API server reaches its kubelet, and pods the API server.
    k.run("logs client");
    let api = addresses(&k, "service kubernetes -n default", ".spec.clusterIPs[*]");
    let line = format!("exec client -- sh -c 'nc -w 2 {} 443 < /dev/null'", api[0]);
    eventually(PATIENCE, || k.attempt(&line));
    k.run("delete pods --all --timeout=60s");
}
