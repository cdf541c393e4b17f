//! Why a call of a webhook came to nothing, worded as upstream's HTTP client words it: clients print it.

use std::{error::Error, io};

use apimachinery::status::Status;
use rustls::CertificateError;

use super::ConfigError;

/// Why there is no answer of success.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The call failed on its way.
    #[error("Post \"{url}\": {source}")]
    Post {
        /// What was called.
        url: String,
        /// Why it failed.
        source: Box<CallError>,
    },
    /// The webhook answered with an error.
    #[error("{}", .0.message)]
    Answered(Box<Status>),
    /// It took too long.
    #[error("context deadline exceeded")]
    Deadline,
    /// It cannot be reached.
    #[error("dial tcp {address}: {reason}")]
    Dial {
        /// Address and port, or what was looked up.
        address: String,
        /// Why.
        reason: String,
    },
    /// There is no such service, or none that can be called.
    #[error("{0}")]
    Resolve(String),
    /// It cannot be trusted.
    #[error("{0}")]
    Tls(String),
    /// The connection broke, or what comes over it is not HTTP.
    #[error("{0}")]
    Broken(String),
    /// The answer has more bytes than allowed.
    #[error("answer is larger than {0} bytes")]
    TooLarge(usize),
    /// A credential cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl CallError {
    /// Whether trying again may help, as upstream's `DefaultShouldRetry` judges: the connection was reset, or the webhook said that it
    /// has trouble of its own. A timeout or a refused connection is not tried again.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Post { source, .. } => source.is_retryable(),
            Self::Answered(status) => {
                matches!(status.code, 429 | 500 | 504)
                    || matches!(
                        status.reason.as_str(),
                        "InternalError" | "Timeout" | "TooManyRequests"
                    )
            }
            Self::Broken(reason) => reason.contains("reset"),
            _ => false,
        }
    }

    /// Whether the webhook could not be asked in time.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Post { source, .. } => source.is_timeout(),
            other => matches!(other, Self::Deadline),
        }
    }

    /// Of a connection that does not speak, or no longer.
    pub(super) fn broken(error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<io::Error>() {
                return Self::Broken(io_reason(error));
            }
            if let Some(error) = error.downcast_ref::<hyper::Error>()
                && (error.is_incomplete_message() || error.is_closed() || error.is_canceled())
            {
                return Self::Broken("EOF".to_owned());
            }
            cause = error.source();
        }
        Self::Broken(error.to_string())
    }

    /// Of a handshake.
    pub(super) fn handshake(error: &io::Error) -> Self {
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::InvalidCertificate(reason)) => Self::Tls(format!(
                "tls: failed to verify certificate: {}",
                certificate_reason(reason)
            )),
            Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
                Self::Tls("http: server gave HTTP response to HTTPS client".to_owned())
            }
            Some(rustls::Error::AlertReceived(alert)) => {
                Self::Tls(format!("remote error: tls: {alert:?}"))
            }
            Some(other) => Self::Tls(format!("tls: {other}")),
            None => Self::Broken(io_reason(error)),
        }
    }
}

/// As Go says it.
fn certificate_reason(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "x509: certificate signed by unknown authority".to_owned()
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let expected = expected.to_str();
            // `DnsName("a")`, `IpAddress(127.0.0.1)`: the names alone.
            let presented: Vec<&str> = presented
                .iter()
                .map(|name| {
                    name.split(['(', ')'])
                        .nth(1)
                        .unwrap_or(name)
                        .trim_matches('"')
                })
                .collect();
            match presented.as_slice() {
                [] => format!(
                    "x509: certificate is not valid for any names, but wanted to match {expected}"
                ),
                names => format!(
                    "x509: certificate is valid for {}, not {expected}",
                    names.join(", ")
                ),
            }
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "x509: certificate has expired or is not yet valid".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "x509: certificate has expired or is not yet valid".to_owned()
        }
        other => format!("x509: {other}"),
    }
}

/// As Go says it.
pub(super) fn io_reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        io::ErrorKind::TimedOut => "connect: connection timed out".to_owned(),
        io::ErrorKind::ConnectionReset => "read: connection reset by peer".to_owned(),
        io::ErrorKind::BrokenPipe => "write: broken pipe".to_owned(),
        io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        _ => error.to_string(),
    }
}
