//! Congestion control of connections that do not leave the machine.

use std::net::SocketAddr;

use rustix::net::sockopt;
use tokio::net::TcpStream;

/// Every kernel has it, and anybody may choose it. It does not pace.
const WITHOUT_PACING: &str = "reno";

/// Has nothing paced that is sent to a client on this machine.
///
/// Where the system's default paces, as BBR does, each segment sets a timer, which is a sixth of what a list costs, and nothing is won: memory is not congested.
/// Who comes over a network is served as the system says.
pub(super) fn unpaced(stream: &TcpStream, client: SocketAddr) {
    let client = client.ip().to_canonical();
    let is_here = || {
        let ours = stream.local_addr();
        ours.is_ok_and(|ours| ours.ip().to_canonical() == client)
    };
    if client.is_loopback() || is_here() {
        // A matter of speed alone.
        let _ = sockopt::set_tcp_congestion(stream, WITHOUT_PACING);
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn accepted() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, connected) = tokio::join!(listener.accept(), TcpStream::connect(address));
        connected.unwrap();
        accepted.unwrap().0
    }

    #[tokio::test]
    async fn nothing_is_paced_on_the_machine() {
        let stream = accepted().await;
        unpaced(&stream, stream.peer_addr().unwrap());
        assert_eq!(sockopt::tcp_congestion(&stream).unwrap(), "reno");
    }

    #[tokio::test]
    async fn over_a_network_the_system_decides() {
        let stream = accepted().await;
        let before = sockopt::tcp_congestion(&stream).unwrap();
        unpaced(&stream, "192.0.2.1:1".parse().unwrap());
        assert_eq!(sockopt::tcp_congestion(&stream).unwrap(), before);
    }
}
