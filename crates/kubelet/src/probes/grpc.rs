//! A gRPC probe: `grpc.health.v1.Health/Check`, whose two messages are small enough to be encoded here.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::http::go_error;

const SERVING: u64 = 1;

/// Asks a service for its health; the empty name is the whole server.
pub(super) async fn probe(
    host: &str,
    port: u16,
    service: &str,
    timeout: Duration,
) -> Result<(), String> {
    let address = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    match tokio::time::timeout(timeout, check(host, port, &address, service)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!(
            "timeout: failed to connect service {address:?} within {timeout:?}: context deadline exceeded"
        )),
    }
}

async fn check(host: &str, port: u16, address: &str, service: &str) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| {
        format!("error: this server does not answer on {address:?}: {error}")
    };
    let tcp = TcpStream::connect((host, port))
        .await
        .map_err(|error| format!("dial tcp {address}: connect: {}", go_error(&error)))?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp))
            .await
            .map_err(|error| failed(&error))?;
    let request = http::Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.36")
        .body(Full::new(encode(service)))
        .map_err(|error| failed(&error))?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| failed(&error))?;
        let head = response.headers().clone();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|error| failed(&error))?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let code = trailers
            .get("grpc-status")
            .or(head.get("grpc-status"))
            .and_then(|value| value.to_str().ok());
        match code {
            Some("0") => {}
            Some("12") => return Err("error: this server does not implement the grpc health protocol (grpc.health.v1.Health)".to_owned()),
            other => return Err(format!("error: health rpc failed: code {}", other.unwrap_or("unknown"))),
        }
        match decode(&body.to_bytes()) {
            Some(SERVING) => Ok(()),
            status => Err(format!(
                "service unhealthy (responded with {:?})",
                status_name(status)
            )),
        }
    };
    tokio::pin!(connection);
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        outcome = &mut exchange => outcome,
        _ = &mut connection => exchange.await,
    }
}

/// `HealthCheckRequest { string service = 1; }` in a gRPC frame.
fn encode(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
            length >>= 7;
        }
        message.put_u8(u8::try_from(length).unwrap_or_default());
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or_default());
    frame.extend_from_slice(&message);
    frame.freeze()
}

/// `HealthCheckResponse { ServingStatus status = 1; }` in a gRPC frame; absent means unknown (0).
fn decode(frame: &[u8]) -> Option<u64> {
    let length = u32::from_be_bytes(frame.get(1..5)?.try_into().ok()?);
    let message = frame.get(5..5 + usize::try_from(length).ok()?)?;
    match message {
        [] => Some(0),
        [0x08, value, ..] => Some(u64::from(*value)),
        _ => None,
    }
}

fn status_name(status: Option<u64>) -> &'static str {
    match status {
        Some(2) => "NOT_SERVING",
        Some(3) => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        assert_eq!(&encode("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&encode("a")[..], [0, 0, 0, 0, 3, 0x0a, 1, b'a']);
        assert_eq!(decode(&[0, 0, 0, 0, 2, 8, 1]), Some(SERVING));
        assert_eq!(decode(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(decode(&[0, 0]), None);
    }
}
