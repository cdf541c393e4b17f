//! The cables of the machines: a bridge with an address of this machine's, a veth pair for each of them, and masquerading of what they
//! send beyond.

use std::{fs::File, net::Ipv4Addr, path::PathBuf};

use anyhow::Context as _;
use linux::{
    netlink::{Netlink, Prefixed},
    nftables::{Changes, Family, Hook, Nftables, Statement, Table},
};

/// Where the machines hang.
const BRIDGE: &str = "ironclad-nodes";
/// The table of what they send beyond.
const TABLE: &str = "ironclad-nodes";
/// A machine's own link.
const LINK: &str = "eth0";
const MTU: u32 = 1500;
/// The network that they share with this machine, which is their gateway and has the first address: beside the default range of pods.
const NETWORK: Ipv4Addr = Ipv4Addr::new(10, 245, 0, 0);
const LENGTH: u8 = 24;

/// The address of a node.
pub(super) fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(NETWORK.to_bits() + number)
}

/// The bridge, there.
pub(super) struct Network {
    netlink: Netlink,
}

impl Network {
    /// Makes what is missing of it.
    pub(super) async fn open() -> anyhow::Result<Self> {
        let netlink = Netlink::open()?;
        netlink.ensure_bridge(BRIDGE, MTU).await?;
        netlink.ensure_address(BRIDGE, prefixed(1)).await?;
        let table = masquerade();
        let nftables = Nftables::open()?;
        nftables.remove(Family::Ip, TABLE).await?;
        nftables
            .apply(&table, &Changes::between(None, &table))
            .await
            .context("masquerading what the nodes send")?;
        Ok(Self { netlink })
    }

    /// Connects the machine whose first process is `pid`.
    pub(super) async fn connect(&self, pid: i32, number: u32) -> anyhow::Result<()> {
        let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
        let netns = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        self.netlink
            .add_veth(&cable(number), LINK, netns, BRIDGE, MTU)
            .await?;
        let inside = Netlink::open_in(&path)?;
        inside.set_up("lo").await?;
        inside.ensure_address(LINK, prefixed(number)).await?;
        inside.set_up(LINK).await?;
        inside.ensure_default_route(LINK, address(1).into()).await?;
        Ok(())
    }

    /// Removes all of it, and the cables of these nodes. The kernel would remove them, too, but takes its time.
    pub(super) async fn remove(numbers: Vec<u32>) -> anyhow::Result<()> {
        let netlink = Netlink::open()?;
        for number in numbers {
            netlink.remove_link(&cable(number)).await?;
        }
        netlink.remove_link(BRIDGE).await?;
        Nftables::open()?.remove(Family::Ip, TABLE).await?;
        Ok(())
    }
}

fn cable(number: u32) -> String {
    format!("ironclad-n{number}")
}

fn prefixed(number: u32) -> Prefixed {
    Prefixed {
        address: address(number).into(),
        length: LENGTH,
    }
}

fn masquerade() -> Table {
    let mut table = Table::new(Family::Ip, TABLE);
    let postrouting = table.base_chain("postrouting", Hook::NatPostrouting);
    postrouting.rules.push(vec![
        Statement::Source(NETWORK.into(), LENGTH, true),
        Statement::OutputLink(BRIDGE.to_owned(), false),
        Statement::Masquerade,
    ]);
    table
}
