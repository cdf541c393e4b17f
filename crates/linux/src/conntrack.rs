//! The kernel's table of connections: finding and forgetting UDP flows.
//!
//! UDP has no end that the kernel could see: a flow lives as long as its client keeps sending, and with it the translation
//! that its first packet met, even when what it leads to has gone.

use std::net::{IpAddr, SocketAddr};

use nlink::netlink::{
    Connection, Netfilter,
    netfilter::{ConntrackEntry, ConntrackTuple, IpProtocol},
};

/// Why the kernel would not.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {source}")]
pub struct ConntrackError {
    operation: &'static str,
    source: nlink::netlink::Error,
}

/// A UDP flow: where its client sends to, and who really answers.
pub struct UdpFlow {
    /// As the client addresses it.
    pub destination: SocketAddr,
    /// Who answers, after translation.
    pub answerer: SocketAddr,
    entry: ConntrackEntry,
}

/// A connection to the connection table of the network namespace in which it was opened.
pub struct Conntrack {
    connection: Connection<Netfilter>,
}

fn failed(operation: &'static str) -> impl FnOnce(nlink::netlink::Error) -> ConntrackError {
    move |source| ConntrackError { operation, source }
}

impl Conntrack {
    /// Opens one, in the caller's network namespace.
    pub fn open() -> Result<Self, ConntrackError> {
        let connection = Connection::<Netfilter>::new().map_err(failed("opening conntrack"))?;
        Ok(Self { connection })
    }

    /// All UDP flows of one family.
    pub async fn udp_flows(&self, ipv4: bool) -> Result<Vec<UdpFlow>, ConntrackError> {
        let entries = if ipv4 {
            self.connection.get_conntrack().await
        } else {
            self.connection.get_conntrack_v6().await
        };
        let entries = entries.map_err(failed("listing conntrack entries"))?;
        Ok(entries.into_iter().filter_map(udp_flow).collect())
    }

    /// Forgets a flow; one that has gone already is no error.
    pub async fn forget(&self, flow: &UdpFlow) -> Result<(), ConntrackError> {
        match self.connection.del_conntrack_entry(&flow.entry).await {
            Err(error) if !error.is_not_found() => Err(failed("deleting a conntrack entry")(error)),
            _ => Ok(()),
        }
    }
}

fn udp_flow(entry: ConntrackEntry) -> Option<UdpFlow> {
    fn pair(address: Option<IpAddr>, port: Option<u16>) -> Option<SocketAddr> {
        Some(SocketAddr::new(address?, port?))
    }
    if entry.proto != IpProtocol::Udp {
        return None;
    }
    let destination = |tuple: &ConntrackTuple| pair(tuple.dst_ip, tuple.dst_port);
    Some(UdpFlow {
        destination: destination(&entry.orig)?,
        answerer: pair(entry.reply.src_ip, entry.reply.src_port)?,
        entry,
    })
}
