//! The members of a cluster: one connection each, made when first needed, and the one that is asked now.

use std::{
    error::Error as _,
    future::Future,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tonic::{
    Code, Response, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::{Config, convert};
use crate::{KvError, proto::etcdserverpb::kv_client::KvClient};

/// etcd's own client takes answers up to 2 GiB; a list can be long.
pub(super) const MAX_ANSWER: usize = i32::MAX as usize;
/// What may lie unread in one stream, and in all of a connection: one slow watcher must not stop the others.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 64 << 20;

/// When a failed request is sent to the next endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// It may be done twice.
    Always,
    /// Only if it was certainly not done.
    IfNotSent,
}

pub(super) struct Endpoints {
    channels: Vec<Channel>,
    current: AtomicUsize,
    timeout: Duration,
}

impl Endpoints {
    pub(super) fn new(config: &Config) -> Result<Self, KvError> {
        if config.endpoints.is_empty() {
            return Err(KvError::Invalid("no etcd endpoint is given".into()));
        }
        let channels = config
            .endpoints
            .iter()
            .map(|address| channel(config, address));
        Ok(Self {
            channels: channels.collect::<Result<_, _>>()?,
            current: AtomicUsize::new(0),
            timeout: config.request_timeout,
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.channels.len()
    }

    /// The endpoint that is asked now, and its number for [`Endpoints::leave`].
    pub(super) fn current(&self) -> (usize, Channel) {
        let number = self.current.load(Ordering::Relaxed);
        (number, self.channels[number].clone())
    }

    /// This endpoint does not answer: ask the next, unless somebody has gone there already.
    pub(super) fn leave(&self, number: usize) {
        let next = (number + 1) % self.channels.len();
        let _ = self
            .current
            .compare_exchange(number, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Sends a request, to each endpoint once at most.
    pub(super) async fn call<T, F>(
        &self,
        retry: Retry,
        send: impl Fn(Channel) -> F,
    ) -> Result<T, KvError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut left = self.len();
        loop {
            let (number, channel) = self.current();
            let answer = tokio::time::timeout(self.timeout, send(channel)).await;
            let status = match answer {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::unavailable("etcd does not answer in time"),
            };
            let error = convert::error(&status);
            if !error.is_retryable() {
                return Err(error);
            }
            self.leave(number);
            left -= 1;
            if left == 0 || (retry == Retry::IfNotSent && !was_not_sent(&status)) {
                return Err(error);
            }
        }
    }
}

/// A client for requests whose answers may be long.
pub(super) fn kv_client(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(MAX_ANSWER)
}

fn channel(config: &Config, address: &str) -> Result<Channel, KvError> {
    let invalid = |error: tonic::transport::Error| {
        let cause = error
            .source()
            .map(|cause| format!(": {cause}"))
            .unwrap_or_default();
        KvError::Invalid(format!("etcd endpoint {address:?}: {error}{cause}"))
    };
    // As with etcd's own client, a bare host:port is plain HTTP.
    let url = if address.contains("://") {
        address.into()
    } else {
        format!("http://{address}")
    };
    let mut endpoint = Endpoint::from_shared(url)
        .map_err(invalid)?
        .connect_timeout(config.connect_timeout)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(false);
    if address.starts_with("https://") {
        let mut tls = ClientTlsConfig::new();
        if let Some(ca) = &config.tls.ca {
            tls = tls.ca_certificate(Certificate::from_pem(ca));
        }
        if let Some((certificate, key)) = &config.tls.identity {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        endpoint = endpoint.tls_config(tls).map_err(invalid)?;
    }
    Ok(endpoint.connect_lazy())
}

/// Whether a failed request never left: there was no connection.
fn was_not_sent(status: &Status) -> bool {
    if status.code() != Code::Unavailable {
        return false;
    }
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
