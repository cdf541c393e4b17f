//! The rendered table in the real kernel, with traffic. Needs root: each test makes a network namespace.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::{IpAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use linux::{
    netlink::{Netlink, Prefixed},
    nftables::{Changes, Family, Nftables, Protocol, Table},
};
use rustix::thread::UnshareFlags;

use crate::{
    render::{NodeFacts, render},
    service_map::{Backend, ForwardedPort},
};

const PATIENCE: Duration = Duration::from_secs(5);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Runs `test` in a network namespace of its own that has `addresses`, and an echo of its own address behind port 8080 of each.
fn in_namespace(addresses: &'static [&'static str], test: impl AsyncFnOnce() + Send + 'static) {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test makes a network namespace: run it as root"
    );
    let run = move || {
        linux::process::unshare(UnshareFlags::NEWNET).unwrap();
        linux::loopback::bring_up().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let netlink = Netlink::open().unwrap();
            netlink.ensure_bridge("pods", 1500).await.unwrap();
            for address in addresses {
                let address_ip = ip(address);
                let prefixed = Prefixed {
                    address: address_ip,
                    length: if address_ip.is_ipv4() { 32 } else { 128 },
                };
                netlink.ensure_address("pods", prefixed).await.unwrap();
                serve(address);
            }
            // Something that makes service addresses routable, as a default route does on a real node.
            for (address, length) in [("10.96.255.254", 16), ("fd00:10:96::ffff", 112)] {
                let route = Prefixed {
                    address: ip(address),
                    length,
                };
                netlink.ensure_address("pods", route).await.unwrap();
            }
            test().await;
        });
    };
    thread::spawn(run).join().unwrap();
}

fn serve(address: &'static str) {
    let listener = TcpListener::bind((address, 8080)).unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let _ = connection.and_then(|mut c| c.write_all(address.as_bytes()));
        }
    });
}

fn ask(address: &str, port: u16) -> std::io::Result<String> {
    let mut connection = TcpStream::connect_timeout(&(ip(address), port).into(), PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}

fn port(backends: &[&str]) -> ForwardedPort {
    let backends: BTreeSet<Backend> = backends
        .iter()
        .map(|address| Backend {
            address: ip(address),
            port: 8080,
        })
        .collect();
    ForwardedPort {
        name: "default/web:http".to_owned(),
        protocol: Protocol::Tcp,
        port: 80,
        cluster_ips: vec![ip("10.96.0.5")],
        external_ips: Vec::new(),
        node_port: Some(30080),
        external_backends: backends.clone(),
        backends,
        keeps_source: false,
        affinity: None,
        source_ranges: Vec::new(),
    }
}

/// A table in the kernel, and how it got there.
struct Written {
    family: Family,
    nftables: Nftables,
    table: Option<Table>,
}

impl Written {
    fn new(family: Family) -> Self {
        Self {
            family,
            nftables: Nftables::open().unwrap(),
            table: None,
        }
    }

    async fn write(&mut self, ports: &[ForwardedPort]) {
        let facts = NodeFacts {
            cluster_cidrs: vec![(ip("10.244.0.0"), 16), (ip("fd00:10:244::"), 56)],
            ..NodeFacts::default()
        };
        let table = render(self.family, ports, &facts);
        let changes = Changes::between(self.table.as_ref(), &table);
        self.nftables.apply(&table, &changes).await.unwrap();
        self.table = Some(table);
    }
}

const PODS: &[&str] = &["10.244.0.2", "10.244.0.3", "10.244.0.4"];

#[test]
fn a_service_balances_and_follows_its_endpoints() {
    in_namespace(PODS, async || {
        let mut kernel = Written::new(Family::Ip);
        kernel.write(&[port(PODS)]).await;
        let mut answers = BTreeMap::<String, u32>::new();
        for _ in 0..60 {
            *answers.entry(ask("10.96.0.5", 80).unwrap()).or_default() += 1;
        }
        assert_eq!(answers.len(), 3, "all endpoints answer: {answers:?}");
        assert!(
            PODS.contains(&ask("127.0.0.1", 30080).unwrap_or_default().as_str())
                || ask("10.96.255.254", 30080).is_ok()
        );

        kernel.write(&[port(&PODS[1..2])]).await;
        for _ in 0..10 {
            assert_eq!(ask("10.96.0.5", 80).unwrap(), PODS[1]);
        }
        kernel.write(&[port(&[])]).await;
        let refused = ask("10.96.0.5", 80).unwrap_err();
        assert_eq!(
            refused.kind(),
            std::io::ErrorKind::ConnectionRefused,
            "no endpoints: refused at once"
        );
        kernel.write(&[]).await;
        kernel.write(&[port(PODS)]).await;
        assert!(ask("10.96.0.5", 80).is_ok());
        let refused = ask("10.96.0.5", 81).unwrap_err();
        assert_eq!(
            refused.kind(),
            std::io::ErrorKind::ConnectionRefused,
            "a port that the Service does not have"
        );
    });
}

#[test]
fn affinity_keeps_a_client_with_its_endpoint() {
    in_namespace(PODS, async || {
        let mut kernel = Written::new(Family::Ip);
        let sticky = ForwardedPort {
            affinity: Some(Duration::from_secs(60)),
            ..port(PODS)
        };
        kernel.write(std::slice::from_ref(&sticky)).await;
        let first = ask("10.96.0.5", 80).unwrap();
        for _ in 0..20 {
            assert_eq!(ask("10.96.0.5", 80).unwrap(), first);
        }
        // A second proxy process, which knows nothing of the first, writes the same table in one step.
        Written::new(Family::Ip).write(&[sticky]).await;
        assert!(ask("10.96.0.5", 80).is_ok());
    });
}

const PODS_V6: &[&str] = &["fd00:10:244::2", "fd00:10:244::3"];

#[test]
fn a_service_of_ipv6_is_forwarded_as_well() {
    in_namespace(PODS_V6, async || {
        let six = |backends: &[&str]| ForwardedPort {
            cluster_ips: vec![ip("fd00:10:96::5")],
            affinity: Some(Duration::from_secs(60)),
            ..port(backends)
        };
        let mut kernel = Written::new(Family::Ip6);
        kernel.write(&[six(PODS_V6)]).await;
        let first = ask("fd00:10:96::5", 80).unwrap();
        for _ in 0..10 {
            assert_eq!(ask("fd00:10:96::5", 80).unwrap(), first, "affinity");
        }
        assert_eq!(ask("fd00:10:96::ffff", 30080).unwrap(), first, "node port");
        kernel.write(&[six(&PODS_V6[1..])]).await;
        assert_eq!(ask("fd00:10:96::5", 80).unwrap(), PODS_V6[1]);
        let refused = ask("fd00:10:96::5", 81).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        kernel.write(&[six(&[])]).await;
        for (address, port) in [("fd00:10:96::5", 80), ("fd00:10:96::ffff", 30080)] {
            let refused = ask(address, port).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        }
    });
}
