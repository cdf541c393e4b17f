//! The server: sockets in front of the chain.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use async_trait::async_trait;
use client::InformerFactory;
use hickory_proto::{
    op::{Header, HeaderCounts, Metadata, ResponseCode},
    rr::{LowerName, RData, Record, RecordType, rdata::CNAME},
};
use hickory_server::{
    Server,
    net::runtime::Time,
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};
use k8s_openapi::api::{
    core::v1::{Namespace, Service},
    discovery::v1::EndpointSlice,
};
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    forward::Forward,
    kubernetes::Kubernetes,
    plugin::{Answer, Plugin, Question},
};

/// A TCP connection without a question for so long is closed.
const TCP_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers waiting to be sent on one TCP connection.
const TCP_ANSWERS: usize = 32;

/// What the server is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen, with UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// The cluster's domain, `cluster.local`.
    pub domain: String,
    /// Names the servers to ask about the rest of the world.
    pub resolv_conf: PathBuf,
}

/// What the server stands on.
pub struct Dependencies {
    /// Its eyes.
    pub informers: InformerFactory,
}

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// An address could not be listened on.
    #[error("DNS cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The domain is no DNS name.
    #[error("cluster domain: {0}")]
    Domain(hickory_proto::ProtoError),
}

/// Answers until `cancel`led.
pub async fn run(
    config: Config,
    deps: Dependencies,
    cancel: CancellationToken,
) -> Result<(), DnsError> {
    let services = deps.informers.informer::<Service>();
    let slices = deps.informers.informer::<EndpointSlice>();
    let namespaces = deps.informers.informer::<Namespace>();
    let kubernetes = Kubernetes::new(
        &config.domain,
        services.clone(),
        slices.clone(),
        namespaces.clone(),
    )
    .map_err(DnsError::Domain)?;
    let chain: Vec<Box<dyn Plugin>> = vec![
        Box::new(kubernetes),
        Box::new(Forward::new(&config.resolv_conf)),
    ];
    let mut server = Server::new(Chain(chain));
    // Half a zone is worse than a moment of silence: clients ask again, but remember a wrong "no such name".
    let synced = async {
        tokio::join!(
            services.has_synced(),
            slices.has_synced(),
            namespaces.has_synced()
        )
    };
    if cancel.run_until_cancelled(synced).await.is_none() {
        return Ok(());
    }
    for address in config.listen {
        let failed = |source| DnsError::Listen { address, source };
        server.register_socket(UdpSocket::bind(address).await.map_err(failed)?);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        server.register_listener(listener, TCP_TIMEOUT, TCP_ANSWERS);
    }
    cancel.cancelled().await;
    if let Err(error) = server.shutdown_gracefully().await {
        debug!(%error, "DNS ended");
    }
    Ok(())
}

struct Chain(Vec<Box<dyn Plugin>>);

/// How many aliases are followed one after the other.
const MAX_ALIASES: usize = 8;
/// How long the target of an alias may take that is not ours to answer.
const ALIAS_PATIENCE: Duration = Duration::from_secs(2);

impl Chain {
    /// Answers a question. Where that is an alias (a Service of type ExternalName), what it leads to is in the answer, too, as far as it
    /// can be had: not every resolver asks for it itself.
    async fn answer(&self, question: &Question) -> Answer {
        let mut answer = self.ask(question).await;
        for _ in 0..MAX_ALIASES {
            let Some(name) = open_alias(question, &answer.answers) else {
                break;
            };
            let target = Question {
                name,
                record_type: question.record_type,
            };
            match tokio::time::timeout(ALIAS_PATIENCE, self.ask(&target)).await {
                Ok(more) if !more.answers.is_empty() => answer.answers.extend(more.answers),
                _ => break,
            }
        }
        answer
    }

    async fn ask(&self, question: &Question) -> Answer {
        for plugin in &self.0 {
            if let Some(answer) = plugin.answer(question).await {
                debug!(plugin = plugin.name(), name = %question.name, code = %answer.code, "answered");
                return answer;
            }
        }
        Answer::empty(ResponseCode::Refused)
    }
}

/// The name that the answers end at without saying more of it.
fn open_alias(question: &Question, answers: &[Record]) -> Option<LowerName> {
    if matches!(question.record_type, RecordType::CNAME | RecordType::ANY) {
        return None;
    }
    match &answers.last()?.data {
        RData::CNAME(CNAME(target)) => Some(LowerName::from(target)),
        _ => None,
    }
}

#[async_trait]
impl RequestHandler for Chain {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response: R,
    ) -> ResponseInfo {
        let answer = match request.request_info() {
            Ok(info) => {
                let question = Question {
                    name: info.query.name().clone(),
                    record_type: info.query.query_type(),
                };
                self.answer(&question).await
            }
            Err(_) => Answer::empty(ResponseCode::FormErr),
        };
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = answer.code;
        metadata.authoritative = answer.authoritative;
        metadata.recursion_available = true;
        let message = MessageResponseBuilder::from_message_request(request).build(
            metadata,
            &answer.answers,
            &[],
            &answer.soa,
            &answer.additionals,
        );
        match response.send_response(message).await {
            Ok(info) => info,
            Err(error) => {
                debug!(%error, "sending an answer failed");
                Header {
                    metadata,
                    counts: HeaderCounts::default(),
                }
                .into()
            }
        }
    }
}
