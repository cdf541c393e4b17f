//! At which address other machines, and pods, reach this server, where `--advertise-address` does not say it.
//!
//! Where it listens, unless that is every address or one that leads nowhere else; then the one by which this machine would speak to others,
//! as upstream's `ResolveBindAddress` finds it from the routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// The address to advertise. Where there is no way out at all, it is where the server listens.
pub(crate) fn address(configured: Option<IpAddr>, listening: IpAddr) -> IpAddr {
    configured.unwrap_or_else(|| {
        if listening.is_unspecified() || listening.is_loopback() {
            outward(listening).unwrap_or(listening)
        } else {
            listening
        }
    })
}

/// The source address that the kernel's routes choose for the world outside. Connecting such a socket sends nothing.
fn outward(like: IpAddr) -> Option<IpAddr> {
    // Set aside for documentation: routed as anything else that is not known.
    let (from, elsewhere): (IpAddr, IpAddr) = match like {
        IpAddr::V4(_) => (
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv4Addr::new(192, 0, 2, 1).into(),
        ),
        IpAddr::V6(_) => (
            Ipv6Addr::UNSPECIFIED.into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        ),
    };
    let socket = UdpSocket::bind((from, 0)).ok()?;
    socket.connect((elsewhere, 9)).ok()?;
    let chosen = socket.local_addr().ok()?.ip();
    (!chosen.is_unspecified() && !chosen.is_loopback()).then_some(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_counts_before_what_is_found() {
        let said = IpAddr::from([10, 0, 0, 1]);
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let own = IpAddr::from([10, 0, 0, 2]);
        assert_eq!(address(Some(said), loopback), said);
        assert_eq!(address(None, own), own);
        // Whatever this machine has: never an address that leads nowhere, unless it has no other.
        let found = address(None, loopback);
        assert!(!found.is_unspecified());
        assert!(found == loopback || !found.is_loopback());
    }
}
