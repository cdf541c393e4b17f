//! forward: asks the servers in the node's `resolv.conf` and remembers what they said for as long as they allow.

use std::path::Path;

use async_trait::async_trait;
use hickory_proto::op::ResponseCode;
use hickory_resolver::{TokioResolver, system_conf};
use tracing::debug;

use crate::plugin::{Answer, Plugin, Question};

/// Answers kept, at most.
const CACHE_ENTRIES: u64 = 4096;

pub(crate) struct Forward {
    resolver: Option<TokioResolver>,
}

impl Forward {
    /// Servers are read from `resolv_conf`; where it names none (or only this server), every question is answered `SERVFAIL`.
    pub(crate) fn new(resolv_conf: &Path) -> Self {
        let resolver = std::fs::read(resolv_conf)
            .ok()
            .and_then(|text| system_conf::parse_resolv_conf(text).ok())
            .and_then(|(config, mut options)| {
                options.cache_size = CACHE_ENTRIES;
                // Names come fully qualified from the client's own search list.
                options.ndots = 0;
                let provider = hickory_resolver::net::runtime::TokioRuntimeProvider::default();
                TokioResolver::builder_with_config(config, provider)
                    .with_options(options)
                    .build()
                    .ok()
            });
        Self { resolver }
    }
}

#[async_trait]
impl Plugin for Forward {
    fn name(&self) -> &'static str {
        "forward"
    }

    async fn answer(&self, question: &Question) -> Option<Answer> {
        let Some(resolver) = &self.resolver else {
            return Some(Answer::empty(ResponseCode::ServFail));
        };
        let mut name = hickory_proto::rr::Name::from(&question.name);
        name.set_fqdn(true);
        Some(match resolver.lookup(name, question.record_type).await {
            Ok(lookup) => Answer {
                answers: lookup.answers().to_vec(),
                ..Answer::empty(ResponseCode::NoError)
            },
            Err(error) if error.is_nx_domain() => Answer::empty(ResponseCode::NXDomain),
            Err(error) if error.is_no_records_found() => Answer::empty(ResponseCode::NoError),
            Err(error) => {
                debug!(name = %question.name, %error, "forwarding failed");
                Answer::empty(ResponseCode::ServFail)
            }
        })
    }
}
