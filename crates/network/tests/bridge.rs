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

    /// Serves one connection at a time on `port`, answering `text`, from a thread of the host.
    fn serve(&self, port: u16, text: &'static str) {
        self.run(move || {
            let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
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
        cluster_cidrs: vec!["10.244.0.0/16".parse().unwrap()],
    };
    let (netns_a, netns_b) = (a.netns.clone(), b.netns.clone());
    let open = config.clone();
    let (ip_a, ip_b): (IpAddr, IpAddr) = node.run(move || {
        block_on(async {
            let network = Bridge::open(open).await.unwrap();
            assert!(
                network.status().await.is_err(),
                "not ready without a pod CIDR"
            );
            network.set_pod_cidr("10.244.1.0/24").await.unwrap();
            let ports = [PortMapping {
                protocol: Protocol::Tcp,
                container_port: 8080,
                host_port: 9090,
                host_ip: None,
            }];
            let ip_a = network.attach(link(A, &netns_a, &ports)).await.unwrap().0[0];
            let ip_b = network.attach(link(B, &netns_b, &[])).await.unwrap().0[0];
            (ip_a, ip_b)
        })
    });
    assert_ne!(ip_a, ip_b);
    assert_eq!(a.ask((ip_b, 8080).into()).unwrap(), "I am b");
    assert_eq!(node.ask((ip_a, 8080).into()).unwrap(), "I am a");
    let gateway: IpAddr = "10.244.1.1".parse().unwrap();
    assert_eq!(
        node.ask((gateway, 9090).into()).unwrap(),
        "I am a",
        "host port, from the node"
    );
    assert_eq!(
        b.ask((gateway, 9090).into()).unwrap(),
        "I am a",
        "host port, from another pod"
    );
    assert_eq!(
        a.ask((gateway, 9090).into()).unwrap(),
        "I am a",
        "host port, from the pod itself"
    );
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
            network.set_pod_cidr("10.244.1.0/24").await.unwrap();
            network.retain(&[B.to_owned()]).await.unwrap();
            assert_eq!(
                network.attach(link(B, &netns_b, &[])).await.unwrap().0,
                [ip_b]
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
    assert!(node.ask((gateway, 9090).into()).is_err());
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
