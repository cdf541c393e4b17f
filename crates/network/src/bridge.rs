//! The built-in pod network: every pod has a veth pair into one bridge of the node.
//!
//! A pod's address has no network around it (`/32`, `/128`): everything it sends goes to the gateway, which is the node. So traffic between
//! two pods of a node passes the node's routing and connection tracking, and answers to a Service's connection find their way back
//! through the translation that the question went through. A bridge that hands frames from pod to pod
//! directly would need `br_netfilter` for that.

use std::{
    ffi::OsStr,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use linux::{
    netlink::{Netlink, NetlinkError, Prefixed, Remote},
    nftables::{Changes, Family, Nftables, NftablesError, Table},
};
use tokio::sync::{Mutex, watch};

use crate::{
    ipam::{Cidr, CidrError, Pool},
    overlay::{self, Peer},
    pod_network::{PodIps, PodLink, PodNetwork, PodNetworkError},
    records::{Port, Record, Records},
    rules::{self, Situation},
};

/// The link to other nodes; its identifier and port are flannel's, so that firewalls that know one know the other.
const OVERLAY_LINK: &str = "ironclad.1";
const OVERLAY_IDENTIFIER: u32 = 1;
const OVERLAY_PORT: u16 = 8472;
/// What the way to another node takes off each packet: outer Ethernet, IPv4 or IPv6, UDP and vxlan headers.
const OVERLAY_HEADERS: u32 = 70;

/// What the kernel lets one set about IPv6, a folder a link; not there on a node without IPv6.
const IPV6_SETTINGS: &str = "/proc/sys/net/ipv6/conf";

/// Configuration of a [`Bridge`].
#[derive(Clone, Debug)]
pub struct BridgeConfig {
    /// Name of the bridge, at most 15 bytes.
    pub bridge: String,
    /// Where the records of addresses are kept.
    pub directory: PathBuf,
    /// MTU of bridge and pod links in bytes; `None` takes the smallest of the node's links.
    pub mtu: Option<u32>,
    /// CIDRs of all pods of the cluster.
    pub cluster_cidrs: Vec<Cidr>,
}

/// Why the network could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// By rtnetlink.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// By nftables.
    #[error(transparent)]
    Nftables(#[from] NftablesError),
    /// A file or a kernel setting.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A pod CIDR is none.
    #[error(transparent)]
    Cidr(#[from] CidrError),
}

/// The pod network of one node.
pub struct Bridge {
    config: BridgeConfig,
    mtu: u32,
    netlink: Netlink,
    nftables: Nftables,
    state: Mutex<State>,
    /// The node's own addresses on the bridge; empty until the pod CIDRs are known.
    gateways: watch::Sender<Vec<IpAddr>>,
}

struct State {
    records: Records,
    pools: Vec<Pool>,
    /// Pod networks of other nodes, as the kernel knows them.
    remotes: Vec<Remote>,
    /// What the kernel has, by family; `None` until it has been written once.
    tables: [(Family, Option<Table>); 2],
}

impl Bridge {
    /// Opens the network in the caller's network namespace. Makes the bridge; pods can be attached once the pod CIDR is set.
    pub async fn open(config: BridgeConfig) -> Result<Self, BridgeError> {
        let netlink = Netlink::open()?;
        let mtu = match config.mtu {
            Some(mtu) => mtu,
            None => smallest_mtu(&config.bridge),
        };
        netlink.ensure_bridge(&config.bridge, mtu).await?;
        set_sysctl("net/ipv4/ip_forward", "1")?;
        // Pods are told to send everything to the node, even to their neighbours: that is no detour to be told off for.
        set_sysctl(
            &format!("net/ipv4/conf/{}/send_redirects", config.bridge),
            "0",
        )?;
        // Host ports on 127.0.0.1 lead to pods.
        set_sysctl(
            &format!("net/ipv4/conf/{}/route_localnet", config.bridge),
            "1",
        )?;
        if Path::new(IPV6_SETTINGS).exists() {
            // A pod that advertises itself as a router must not become the node's (CVE-2020-10749).
            set_sysctl(&format!("net/ipv6/conf/{}/accept_ra", config.bridge), "0")?;
        }
        let records = Records::open(&config.directory).map_err(|source| BridgeError::File {
            path: config.directory.clone(),
            source,
        })?;
        Ok(Self {
            mtu,
            netlink,
            nftables: Nftables::open()?,
            state: Mutex::new(State {
                records,
                pools: Vec::new(),
                remotes: Vec::new(),
                tables: [(Family::Ip, None), (Family::Ip6, None)],
            }),
            gateways: watch::Sender::new(Vec::new()),
            config,
        })
    }

    /// Removes everything that this network has made on the node: pod links, bridge and rules.
    pub async fn remove(bridge: &str) -> Result<(), BridgeError> {
        let netlink = Netlink::open()?;
        for link in netlink
            .link_names()
            .await?
            .iter()
            .filter(|name| is_pod_link(name))
        {
            netlink.remove_link(link).await?;
        }
        netlink.remove_link(bridge).await?;
        netlink.remove_link(OVERLAY_LINK).await?;
        let nftables = Nftables::open()?;
        for family in [Family::Ip, Family::Ip6] {
            nftables.remove(family, rules::TABLE).await?;
        }
        Ok(())
    }

    /// The node's own addresses on the bridge, as soon as the pod CIDRs are known.
    pub async fn wait_gateways(&self) -> Vec<IpAddr> {
        let mut gateways = self.gateways.subscribe();
        // The sender lives as long as `self`.
        gateways
            .wait_for(|known| !known.is_empty())
            .await
            .map(|known| known.clone())
            .unwrap_or_default()
    }

    /// Joins the pods of this node, whose own address is `own`, with those of the cluster's nodes; this one may be among them. Waits
    /// for the pod CIDRs. What failed is tried again at the next call.
    pub async fn set_peers(&self, own: IpAddr, peers: &[Peer]) -> Result<(), BridgeError> {
        let gateways = self.wait_gateways().await;
        let wanted = overlay::remotes(own, &gateways, peers);
        let mut state = self.state.lock().await;
        if wanted == state.remotes {
            return Ok(());
        }
        if !wanted.is_empty() {
            let address = overlay::hardware_address(own);
            let mtu = self.mtu.saturating_sub(OVERLAY_HEADERS);
            self.netlink
                .ensure_vxlan(
                    OVERLAY_LINK,
                    OVERLAY_IDENTIFIER,
                    OVERLAY_PORT,
                    own,
                    address,
                    mtu,
                )
                .await?;
        }
        let stale: Vec<Remote> = state
            .remotes
            .iter()
            .filter(|remote| !wanted.contains(remote))
            .cloned()
            .collect();
        for remote in stale {
            self.netlink.remove_remote(OVERLAY_LINK, &remote).await?;
            state.remotes.retain(|known| *known != remote);
        }
        for remote in wanted {
            if !state.remotes.contains(&remote) {
                self.netlink.ensure_remote(OVERLAY_LINK, &remote).await?;
                state.remotes.push(remote);
            }
        }
        Ok(())
    }

    async fn use_cidrs(&self, pod_cidrs: &str) -> Result<(), BridgeError> {
        let cidrs: Vec<Cidr> = pod_cidrs
            .split(',')
            .map(|text| text.trim().parse())
            .collect::<Result<_, _>>()?;
        let mut state = self.state.lock().await;
        if state.pools.iter().map(Pool::cidr).eq(cidrs.iter().copied()) {
            return Ok(());
        }
        if cidrs.iter().any(|cidr| cidr.network().is_ipv6()) {
            forward_ipv6(&self.config.bridge)?;
        }
        for cidr in &cidrs {
            let gateway = Prefixed {
                address: cidr.gateway(),
                length: cidr.length(),
            };
            self.netlink
                .ensure_address(&self.config.bridge, gateway)
                .await?;
        }
        state.pools = cidrs
            .iter()
            .map(|cidr| {
                let taken = state
                    .records
                    .iter()
                    .flat_map(|(_, record)| record.addresses.clone());
                Pool::new(*cidr, taken)
            })
            .collect();
        self.write_rules(&mut state).await?;
        self.gateways
            .send_replace(cidrs.iter().map(Cidr::gateway).collect());
        Ok(())
    }

    async fn write_rules(&self, state: &mut State) -> Result<(), BridgeError> {
        let pod_cidrs: Vec<Cidr> = state.pools.iter().map(Pool::cidr).collect();
        let situation = Situation {
            bridge: &self.config.bridge,
            pod_cidrs: &pod_cidrs,
            cluster_cidrs: &self.config.cluster_cidrs,
        };
        for (family, current) in &mut state.tables {
            let wanted = rules::render(
                *family,
                &situation,
                state.records.iter().map(|(_, record)| record),
            );
            let changes = Changes::between(current.as_ref(), &wanted);
            if let Err(error) = self.nftables.apply(&wanted, &changes).await {
                // Somebody else may have changed the table: the next change writes it anew.
                *current = None;
                return Err(error.into());
            }
            *current = Some(wanted);
        }
        Ok(())
    }

    async fn connect(&self, link: &PodLink<'_>, addresses: &[IpAddr]) -> Result<(), BridgeError> {
        let netns = fs::File::open(link.netns).map_err(|source| BridgeError::File {
            path: link.netns.to_owned(),
            source,
        })?;
        let host = link_name(link.sandbox_id);
        self.netlink
            .add_veth(&host, "eth0", &netns, &self.config.bridge, self.mtu)
            .await?;
        let inside = Netlink::open_in(link.netns)?;
        inside.set_up("eth0").await?;
        let gateways = self.gateways.borrow().clone();
        for address in addresses {
            let length = if address.is_ipv4() { 32 } else { 128 };
            inside
                .ensure_address(
                    "eth0",
                    Prefixed {
                        address: *address,
                        length,
                    },
                )
                .await?;
            let same_family = |gateway: &&IpAddr| gateway.is_ipv4() == address.is_ipv4();
            if let Some(gateway) = gateways.iter().find(same_family) {
                inside.ensure_default_route("eth0", *gateway).await?;
            }
        }
        Ok(())
    }

    async fn allocate(&self, link: &PodLink<'_>) -> Result<Vec<IpAddr>, PodNetworkError> {
        let mut state = self.state.lock().await;
        if let Some(record) = state.records.get(link.sandbox_id) {
            return Ok(record.addresses.clone());
        }
        if state.pools.is_empty() {
            return Err(PodNetworkError::NotReady(
                "the node has no pod CIDR yet".to_owned(),
            ));
        }
        let mut addresses = Vec::new();
        for index in 0..state.pools.len() {
            match state.pools[index].take() {
                Some(address) => addresses.push(address),
                None => {
                    let range = state.pools[index].cidr().to_string();
                    for (pool, address) in state.pools.iter_mut().zip(addresses) {
                        pool.give_back(address);
                    }
                    return Err(PodNetworkError::Exhausted(range));
                }
            }
        }
        let ports = link
            .port_mappings
            .iter()
            .filter(|m| m.host_port != 0)
            .map(Port::from)
            .collect();
        let record = Record {
            addresses: addresses.clone(),
            ports,
        };
        state
            .records
            .insert(link.sandbox_id, record)
            .map_err(|error| failure("record addresses of", link.sandbox_id, &error))?;
        Ok(addresses)
    }

    async fn release(&self, sandbox_id: &str) -> Result<(), PodNetworkError> {
        let had_ports = {
            let state = self.state.lock().await;
            state
                .records
                .get(sandbox_id)
                .is_some_and(|record| !record.ports.is_empty())
        };
        let failed = |error: &dyn std::error::Error| failure("detach", sandbox_id, error);
        self.netlink
            .remove_link(&link_name(sandbox_id))
            .await
            .map_err(|error| failed(&error))?;
        let mut state = self.state.lock().await;
        if let Some(record) = state.records.get(sandbox_id).cloned() {
            state
                .records
                .remove(sandbox_id)
                .map_err(|error| failed(&error))?;
            // The pod may be older than one of the pools, or than their order.
            for address in record.addresses {
                for pool in &mut state.pools {
                    pool.give_back(address);
                }
            }
        }
        if had_ports {
            self.write_rules(&mut state)
                .await
                .map_err(|error| failed(&error))?;
        }
        Ok(())
    }
}

#[async_trait]
impl PodNetwork for Bridge {
    async fn attach(&self, link: PodLink<'_>) -> Result<PodIps, PodNetworkError> {
        let addresses = self.allocate(&link).await?;
        let connected = async {
            self.connect(&link, &addresses).await?;
            if !link.port_mappings.is_empty() {
                self.write_rules(&mut *self.state.lock().await).await?;
            }
            Ok::<(), BridgeError>(())
        };
        if let Err(error) = connected.await {
            self.release(link.sandbox_id).await?;
            return Err(failure("attach", link.sandbox_id, &error));
        }
        Ok(PodIps(addresses))
    }

    async fn detach(&self, link: PodLink<'_>) -> Result<(), PodNetworkError> {
        self.release(link.sandbox_id).await
    }

    async fn retain(&self, sandbox_ids: &[String]) -> Result<(), PodNetworkError> {
        let stale: Vec<String> = {
            let state = self.state.lock().await;
            let recorded = state.records.iter().map(|(sandbox, _)| sandbox);
            recorded
                .filter(|sandbox| !sandbox_ids.contains(sandbox))
                .cloned()
                .collect()
        };
        for sandbox in stale {
            self.release(&sandbox).await?;
        }
        Ok(())
    }

    async fn status(&self) -> Result<(), PodNetworkError> {
        if self.state.lock().await.pools.is_empty() {
            return Err(PodNetworkError::NotReady(
                "the node has no pod CIDR yet".to_owned(),
            ));
        }
        Ok(())
    }

    async fn set_pod_cidr(&self, pod_cidr: &str) -> Result<(), PodNetworkError> {
        self.use_cidrs(pod_cidr)
            .await
            .map_err(|error| PodNetworkError::NotReady(error.to_string()))
    }
}

fn failure(
    operation: &'static str,
    sandbox_id: &str,
    error: &dyn std::error::Error,
) -> PodNetworkError {
    PodNetworkError::Failed {
        operation,
        sandbox_id: sandbox_id.to_owned(),
        message: error.to_string(),
    }
}

/// Prefix of the node's end of pod links.
const LINK_PREFIX: &str = "pod";

/// The node's end of a sandbox's link; names of links have at most 15 bytes.
fn link_name(sandbox_id: &str) -> String {
    format!(
        "{LINK_PREFIX}{}",
        sandbox_id.get(..11).unwrap_or(sandbox_id)
    )
}

fn is_pod_link(name: &str) -> bool {
    name.strip_prefix(LINK_PREFIX)
        .is_some_and(|id| id.len() == 11 && id.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn smallest_mtu(bridge: &str) -> u32 {
    let links = fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten();
    links
        .filter(|link| {
            let name = link.file_name();
            let name = name.to_string_lossy();
            name != "lo" && name != bridge && !is_pod_link(&name)
        })
        .filter_map(|link| {
            fs::read_to_string(link.path().join("mtu"))
                .ok()?
                .trim()
                .parse()
                .ok()
        })
        .filter(|mtu| *mtu >= 1280)
        .min()
        .unwrap_or(1500)
}

/// Lets the node forward IPv6 packets. A node that forwards is a router, and as such no longer listens to the routers that gave
/// it its own way out: links that have listened so far are told to go on.
fn forward_ipv6(bridge: &str) -> Result<(), BridgeError> {
    set_sysctl(&format!("net/ipv6/conf/{bridge}/disable_ipv6"), "0")?;
    for link in fs::read_dir(IPV6_SETTINGS).into_iter().flatten().flatten() {
        let setting = link.path().join("accept_ra");
        let listens = fs::read_to_string(&setting).is_ok_and(|value| value.trim() == "1");
        if listens
            && !["all", "default", "lo"]
                .map(OsStr::new)
                .contains(&&*link.file_name())
        {
            fs::write(&setting, "2").map_err(|source| BridgeError::File {
                path: setting,
                source,
            })?;
        }
    }
    set_sysctl("net/ipv6/conf/all/forwarding", "1")
}

fn set_sysctl(name: &str, value: &str) -> Result<(), BridgeError> {
    let path = Path::new("/proc/sys").join(name);
    let current = fs::read_to_string(&path).unwrap_or_default();
    if current.trim() == value {
        return Ok(());
    }
    fs::write(&path, value).map_err(|source| BridgeError::File { path, source })
}
