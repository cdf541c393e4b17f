//! Listening where a flag says, as Go's servers and so upstream's components understand it: an unspecified address, `0.0.0.0` as much as
//! `::`, stands for all addresses of both families.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::TcpListener;

/// Says whether sockets of the second family take connections of the first, too; not there in a kernel without IPv6.
const ONLY_IPV6: &str = "/proc/sys/net/ipv6/bindv6only";

/// Listens at `address`. IPv4 clients may be seen under mapped addresses: [`IpAddr::to_canonical`] tells theirs.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let takes_both = || fs::read_to_string(ONLY_IPV6).is_ok_and(|only| only.trim() == "0");
    let address = if address.ip() == IpAddr::from(Ipv4Addr::UNSPECIFIED) && takes_both() {
        SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port())
    } else {
        address
    };
    TcpListener::bind(address).await
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn no_address_is_every_address_of_both_families() {
        let listener = listen((Ipv4Addr::UNSPECIFIED, 0).into()).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.ip().to_canonical(), IpAddr::from(Ipv4Addr::LOCALHOST));
        let has_ipv6 =
            fs::read_to_string("/proc/net/if_inet6").is_ok_and(|links| !links.is_empty());
        let over_ipv6 = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await;
        assert_eq!(over_ipv6.is_ok(), has_ipv6, "{over_ipv6:?}");
    }

    #[tokio::test]
    async fn an_address_is_itself_alone() {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        assert!(listener.local_addr().unwrap().is_ipv4());
    }
}
