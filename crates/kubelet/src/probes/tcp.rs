//! A TCP probe: a connection that comes about.

use std::time::Duration;

use tokio::net::TcpStream;

use super::http::go_error;

/// Connects. The error is a message worded as Go's dialer words it.
pub(super) async fn probe(host: &str, port: u16, timeout: Duration) -> Result<(), String> {
    let address = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("dial tcp {address}: connect: {}", go_error(&error))),
        Err(_) => Err(format!("dial tcp {address}: i/o timeout")),
    }
}
