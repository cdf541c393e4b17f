//! The bridge on the real kernel: a node and two pods, each a network namespace, and traffic between them. Needs root.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use linux::process::unshare;
use network::{Bridge, BridgeConfig, PodLink, PodNetwork as _, PortMapping, Protocol};
use rustix::thread::UnshareFlags;

const PATIENCE: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce() + Send>;

/// A thread in a network namespace of its own, which does what it is given.
struct Host {
    jobs: mpsc::Sender<Job>,
    netns: PathBuf,
}

impl Host {
    fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test makes network namespaces: run it as root"
        );
        let (jobs, work) = mpsc::channel::<Job>();
        let (ready, is_ready) = mpsc::channel();
        thread::spawn(move || {
            unshare(UnshareFlags::NEWNET).expect("a network namespace");
            linux::loopback::bring_up().expect("loopback up");
            let thread = rustix::thread::gettid().as_raw_nonzero();
            ready
                .send(PathBuf::from(format!(
                    "/proc/{}/task/{thread}/ns/net",
                    std::process::id()
                )))
                .unwrap();
            for job in work {
                job();
            }
        });
        let netns = is_ready
            .recv_timeout(PATIENCE)
            .expect("a namespace in time");
        Self { jobs, netns }
    }

    /// Runs `job` on the host and answers its result.
    fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (send, receive) = mpsc::channel();
        self.jobs
            .send(Box::new(move || drop(send.send(job()))))
            .unwrap();
        receive
            .recv_timeout(2 * PATIENCE)
            .expect("an answer in time")
    }

    /// Serves one connection at a time on `port` of all addresses, answering `text`, from a thread of the host.
    fn serve(&self, port: u16, text: &'static str) {
        self.run(move || {
            let listener = TcpListener::bind(("::", port)).unwrap();
            thread::spawn(move || {
                for connection in listener.incoming() {
                    let _ = connection.and_then(|mut c| c.write_all(text.as_bytes()));
                }
            });
        });
    }

    fn ask(&self, address: SocketAddr) -> std::io::Result<String> {
        self.run(move || {
            let mut connection = TcpStream::connect_timeout(&address, PATIENCE)?;
            connection.set_read_timeout(Some(PATIENCE))?;
            let mut answer = String::new();
            connection.read_to_string(&mut answer)?;
            Ok(answer)
        })
    }
}

fn link<'a>(id: &'a str, netns: &'a Path, ports: &'a [PortMapping]) -> PodLink<'a> {
    PodLink {
        sandbox_id: id,
        namespace: "default",
        name: id,
        uid: id,
        netns,
        port_mappings: ports,
        annotations: &[],
    }
}

const A: &str = "aaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbb";
/// As the kubelet hands them over.
const POD_CIDRS: &str = "10.244.1.0/24,fd00:10:244:1::/64";

#[test]
fn pods_reach_each_other_and_host_ports_reach_pods() {
    let (node, a, b) = (Host::new(), Host::new(), Host::new());
    a.serve(8080, "I am a");
    b.serve(8080, "I am b");
    let directory = tempfile::tempdir().unwrap();
    let config = BridgeConfig {
        bridge: "ironclad0".to_owned(),
        directory: directory.path().to_owned(),
        mtu: Some(1500),
        cluster_cidrs: ["10.244.0.0/16", "fd00:10:244::/56"]
            .map(|cidr| cidr.parse().unwrap())
            .to_vec(),
    };
    let (netns_a, netns_b) = (a.netns.clone(), b.netns.clone());
    let open = config.clone();
    let (ips_a, ips_b) = node.run(move || {
        block_on(async {
            let network = Bridge::open(open).await.unwrap();
            assert!(
                network.status().await.is_err(),
                "not ready without a pod CIDR"
            );
            network.set_pod_cidr(POD_CIDRS).await.unwrap();
            let ports = [PortMapping {
                protocol: Protocol::Tcp,
                container_port: 8080,
                host_port: 9090,
                host_ip: None,
            }];
            let ips_a = network.attach(link(A, &netns_a, &ports)).await.unwrap().0;
            let ips_b = network.attach(link(B, &netns_b, &[])).await.unwrap().0;
            (ips_a, ips_b)
        })
    });
    let gateways = ["10.244.1.1", "fd00:10:244:1::1"].map(|ip| ip.parse::<IpAddr>().unwrap());
    assert_eq!((ips_a.len(), ips_b.len()), (2, 2));
    for (index, gateway) in gateways.into_iter().enumerate() {
        let (ip_a, ip_b) = (ips_a[index], ips_b[index]);
        assert_ne!(ip_a, ip_b);
        assert_eq!(ip_a.is_ipv4(), gateway.is_ipv4());
        assert_eq!(a.ask((ip_b, 8080).into()).unwrap(), "I am b");
        assert_eq!(node.ask((ip_a, 8080).into()).unwrap(), "I am a");
        for (from, whose) in [
            (&node, "the node"),
            (&b, "another pod"),
            (&a, "the pod itself"),
        ] {
            let answer = from.ask((gateway, 9090).into());
            assert_eq!(
                answer.unwrap(),
                "I am a",
                "host port of {gateway}, from {whose}"
            );
        }
    }
    assert_eq!(
        node.ask(([127, 0, 0, 1], 9090).into()).unwrap(),
        "I am a",
        "host port on loopback"
    );

    // A new process knows who has which address, and takes back what nobody has any more.
    let again = config.clone();
    let netns_b = b.netns.clone();
    let left = node.run(move || {
        block_on(async {
            let network = Bridge::open(again).await.unwrap();
            network.set_pod_cidr(POD_CIDRS).await.unwrap();
            network.retain(&[B.to_owned()]).await.unwrap();
            assert_eq!(
                network.attach(link(B, &netns_b, &[])).await.unwrap().0,
                ips_b
            );
            network.detach(link(B, &netns_b, &[])).await.unwrap();
            network.detach(link(B, &netns_b, &[])).await.unwrap();
            Bridge::remove("ironclad0").await.unwrap();
            linux::netlink::Netlink::open()
                .unwrap()
                .link_names()
                .await
                .unwrap()
        })
    });
    assert_eq!(left, ["lo"], "nothing is left behind");
    for gateway in gateways {
        assert!(node.ask((gateway, 9090).into()).is_err());
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
