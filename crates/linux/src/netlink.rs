//! Links, addresses and routes by rtnetlink: just what a pod network asks for, each call idempotent.

use std::{net::IpAddr, os::fd::AsFd, path::Path};

use nlink::netlink::{
    Connection, Error, Route,
    addr::{Ipv4Address, Ipv6Address},
    fdb::FdbEntryBuilder,
    link::{BridgeLink, BridgePortConfig, VethLink, VxlanLink},
    neigh::Neighbor,
    route::{Ipv4Route, Ipv6Route},
};

/// Why the kernel would not.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {source}")]
pub struct NetlinkError {
    operation: String,
    source: Error,
}

/// A connection to the links of one network namespace.
pub struct Netlink {
    connection: Connection<Route>,
}

/// An address with the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefixed {
    /// The address.
    pub address: IpAddr,
    /// The prefix length in bits.
    pub length: u8,
}

/// A network of a vxlan overlay that lies behind another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Where packets for it are sent.
    pub node: IpAddr,
    /// The hardware address of that node's end.
    pub hardware_address: [u8; 6],
    /// That node's address in the network.
    pub gateway: IpAddr,
    /// The network.
    pub network: IpAddr,
    /// Length of its prefix in bits.
    pub length: u8,
    /// From where this node itself speaks with it.
    pub source: Option<IpAddr>,
}

fn failed(operation: impl Into<String>) -> impl FnOnce(Error) -> NetlinkError {
    let operation = operation.into();
    move |source| NetlinkError { operation, source }
}

/// Success if it was done already.
fn or_exists(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is_already_exists() => Ok(()),
        other => other,
    }
}

impl Netlink {
    /// Of the caller's network namespace.
    pub fn open() -> Result<Self, NetlinkError> {
        let connection = Connection::<Route>::new().map_err(failed("opening rtnetlink"))?;
        Ok(Self { connection })
    }

    /// Of the network namespace at `path`.
    pub fn open_in(path: &Path) -> Result<Self, NetlinkError> {
        let connection = Connection::<Route>::new_in(path)
            .map_err(failed(format!("opening rtnetlink in {}", path.display())))?;
        Ok(Self { connection })
    }

    /// A bridge of that name, up.
    pub async fn ensure_bridge(&self, name: &str, mtu: u32) -> Result<(), NetlinkError> {
        or_exists(
            self.connection
                .add_link(BridgeLink::new(name).mtu(mtu))
                .await,
        )
        .map_err(failed(format!("making bridge {name}")))?;
        self.set_up(name).await
    }

    /// A pair of links: `host` here, up and on `bridge`, with hairpin so that a pod reaches itself through a Service; `peer` in
    /// the namespace `netns`. Whatever had the name `host` is replaced.
    pub async fn add_veth(
        &self,
        host: &str,
        peer: &str,
        netns: impl AsFd,
        bridge: &str,
        mtu: u32,
    ) -> Result<(), NetlinkError> {
        self.remove_link(host).await?;
        let veth = VethLink::new(host, peer)
            .mtu(mtu)
            .peer_mtu(mtu)
            .peer_netns_fd(netns);
        self.connection
            .add_link(veth)
            .await
            .map_err(failed(format!("making link {host}")))?;
        self.connection
            .set_link_master(host, bridge)
            .await
            .map_err(failed(format!("putting {host} on {bridge}")))?;
        self.connection
            .set_bridge_port(host, BridgePortConfig::new().hairpin(true))
            .await
            .map_err(failed(format!("setting hairpin on {host}")))?;
        self.set_up(host).await
    }

    /// A vxlan link over the node's address `local`, up. One of other settings is replaced.
    pub async fn ensure_vxlan(
        &self,
        name: &str,
        identifier: u32,
        port: u16,
        local: IpAddr,
        hardware_address: [u8; 6],
        mtu: u32,
    ) -> Result<(), NetlinkError> {
        if self.hardware_address(name).await? != Some(hardware_address) {
            self.remove_link(name).await?;
            let link = VxlanLink::new(name, identifier)
                .port(port)
                .address(hardware_address)
                .learning(false)
                .mtu(mtu);
            let link = match local {
                IpAddr::V4(v4) => link.local(v4),
                IpAddr::V6(v6) => link.local6(v6),
            };
            self.connection
                .add_link(link)
                .await
                .map_err(failed(format!("making vxlan link {name}")))?;
        }
        self.set_up(name).await
    }

    /// Sends what is meant for a network behind another node through the vxlan link.
    pub async fn ensure_remote(&self, link: &str, remote: &Remote) -> Result<(), NetlinkError> {
        let what = || failed(format!("routing to {}/{}", remote.network, remote.length));
        let forwarding = FdbEntryBuilder::new(remote.hardware_address)
            .dev(link)
            .dst(remote.node)
            .self_();
        self.connection
            .replace_fdb(forwarding)
            .await
            .map_err(what())?;
        let neighbour = Neighbor::new(link, remote.gateway)
            .lladdr(remote.hardware_address)
            .permanent();
        self.connection
            .replace_neighbor(neighbour)
            .await
            .map_err(what())?;
        let result = match (remote.network, remote.gateway) {
            (IpAddr::V4(network), IpAddr::V4(gateway)) => {
                let mut route = Ipv4Route::new(network, remote.length)
                    .gateway(gateway)
                    .dev(link)
                    .onlink();
                if let Some(IpAddr::V4(source)) = remote.source {
                    route = route.prefsrc(source);
                }
                self.connection.add_route(route).await
            }
            (IpAddr::V6(network), IpAddr::V6(gateway)) => {
                let mut route = Ipv6Route::new(network, remote.length)
                    .gateway(gateway)
                    .dev(link)
                    .onlink();
                if let Some(IpAddr::V6(source)) = remote.source {
                    route = route.prefsrc(source);
                }
                self.connection.add_route(route).await
            }
            _ => Ok(()),
        };
        or_exists(result).map_err(what())
    }

    /// Forgets a network behind another node, as far as it is known.
    pub async fn remove_remote(&self, link: &str, remote: &Remote) -> Result<(), NetlinkError> {
        let gone = |result: Result<(), Error>| match result {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        };
        let route = match remote.network {
            IpAddr::V4(network) => {
                let route = Ipv4Route::new(network, remote.length).dev(link);
                self.connection.del_route(route).await
            }
            IpAddr::V6(network) => {
                let route = Ipv6Route::new(network, remote.length).dev(link);
                self.connection.del_route(route).await
            }
        };
        gone(route).map_err(failed(format!(
            "forgetting {}/{}",
            remote.network, remote.length
        )))?;
        let neighbour = Neighbor::new(link, remote.gateway);
        self.connection
            .del_neighbor_if_exists(neighbour)
            .await
            .map(drop)
            .map_err(failed(format!("forgetting neighbour {}", remote.gateway)))
    }

    /// Brings a link up.
    pub async fn set_up(&self, name: &str) -> Result<(), NetlinkError> {
        self.connection
            .set_link_up(name)
            .await
            .map_err(failed(format!("bringing up {name}")))
    }

    /// Removes a link if it is there.
    pub async fn remove_link(&self, name: &str) -> Result<(), NetlinkError> {
        self.connection
            .del_link_if_exists(name)
            .await
            .map(drop)
            .map_err(failed(format!("removing link {name}")))
    }

    /// Names of all links.
    pub async fn link_names(&self) -> Result<Vec<String>, NetlinkError> {
        let links = self
            .connection
            .get_links()
            .await
            .map_err(failed("listing links"))?;
        Ok(links
            .iter()
            .filter_map(|link| link.name().map(str::to_owned))
            .collect())
    }

    /// The hardware address of a link.
    pub async fn hardware_address(&self, name: &str) -> Result<Option<[u8; 6]>, NetlinkError> {
        let link = self
            .connection
            .get_link_by_name(name)
            .await
            .map_err(failed(format!("looking up link {name}")))?;
        Ok(link.and_then(|link| link.address().and_then(|address| address.try_into().ok())))
    }

    /// Gives a link an address.
    pub async fn ensure_address(&self, link: &str, address: Prefixed) -> Result<(), NetlinkError> {
        let result = match address.address {
            IpAddr::V4(v4) => {
                self.connection
                    .add_address(Ipv4Address::new(link, v4, address.length))
                    .await
            }
            IpAddr::V6(v6) => {
                let config = Ipv6Address::new(link, v6, address.length).nodad();
                self.connection.add_address(config).await
            }
        };
        or_exists(result).map_err(failed(format!(
            "giving {link} the address {}/{}",
            address.address, address.length
        )))
    }

    /// Everything of the gateway's family through `gateway`, which is reached by `link` directly even when no network of the
    /// link contains it.
    pub async fn ensure_default_route(
        &self,
        link: &str,
        gateway: IpAddr,
    ) -> Result<(), NetlinkError> {
        let (to_gateway, through_gateway) = match gateway {
            IpAddr::V4(v4) => (
                self.connection
                    .add_route(Ipv4Route::new(v4, 32).dev(link))
                    .await,
                self.connection
                    .add_route(Ipv4Route::default_route().gateway(v4))
                    .await,
            ),
            IpAddr::V6(v6) => (
                self.connection
                    .add_route(Ipv6Route::new(v6, 128).dev(link))
                    .await,
                self.connection
                    .add_route(Ipv6Route::default_route().gateway(v6))
                    .await,
            ),
        };
        or_exists(to_gateway)
            .and(or_exists(through_gateway))
            .map_err(failed(format!(
                "routing everything through {gateway} on {link}"
            )))
    }

    /// The addresses of all links that are not loopback and not link-local, with the names of their links.
    pub async fn global_addresses(&self) -> Result<Vec<(String, IpAddr)>, NetlinkError> {
        let links = self
            .connection
            .get_links()
            .await
            .map_err(failed("listing links"))?;
        let addresses = self
            .connection
            .get_addresses()
            .await
            .map_err(failed("listing addresses"))?;
        let name_of = |index: u32| {
            links
                .iter()
                .find(|link| link.ifindex() == index)
                .and_then(|link| link.name())
        };
        let global = addresses.iter().filter_map(|message| {
            let address = *message.address()?;
            let local = match address {
                IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local(),
                IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
            };
            (!local).then(|| Some((name_of(message.ifindex())?.to_owned(), address)))?
        });
        Ok(global.collect())
    }
}
