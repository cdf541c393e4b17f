//! The aggregation layer: groups and versions that other servers serve, found by their `APIService` and reached as if they were served here.
//!
//! Every group and version has an APIService. Those of the built-in groups are made at the start, those of custom resources come and go with their
//! definitions ([`registration`]); these are local. One that names a Service is another server's: whether it can be reached is probed
//! ([`availability`]), requests for it are passed on with the user's identity in headers that the server there trusts ([`proxy`]), and what it serves is merged into
//! discovery ([`discovery`]) and into OpenAPI ([`openapi`]). Follows upstream's `kube-aggregator`.

mod api_service;
mod availability;
mod discovery;
pub(crate) mod metrics;
mod openapi;
mod proxy;
mod reach;
mod registration;

use std::{collections::HashMap, sync::Arc};

use crate::derived::Derived;
use apimachinery::gvk::GroupResource;
use openapi::Collected;

pub(crate) use api_service::Remote;
pub(crate) use availability::Availability;
pub(crate) use discovery::{Discovered, RemoteVersion};
pub(crate) use openapi::{Collector, RemoteDocuments, RemoteV3};
pub(crate) use reach::Reach;
pub(crate) use registration::{
    GROUP_PRIORITY as CUSTOM_GROUP_PRIORITY, Registration,
    VERSION_PRIORITY as CUSTOM_VERSION_PRIORITY,
};

/// The APIServices themselves.
const API_SERVICES: GroupResource = GroupResource::new("apiregistration.k8s.io", "apiservices");

/// How the server makes itself known to the servers behind it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProxyIdentity {
    /// Certificate chain and key, PEM; `None`: only what does not ask for one can be reached as anybody but an anonymous client.
    pub(crate) certificate: Option<(Vec<u8>, Vec<u8>)>,
}

/// The other servers' groups and versions.
pub(crate) struct Aggregator {
    reach: Reach,
    remotes: Derived<Remotes>,
    discovered: Arc<Discovered>,
    collected: Collected,
}

/// By group and version.
#[derive(Debug, Default)]
struct Remotes {
    by_version: HashMap<(String, String), Arc<Remote>>,
}

impl Aggregator {
    /// Of the APIServices that `reach` finds.
    pub(crate) fn new(reach: Reach) -> Self {
        let reader = Arc::clone(&reach.reader);
        Self {
            remotes: Derived::new(reader, API_SERVICES, |objects| Remotes {
                by_version: objects
                    .iter()
                    .filter_map(|object| Remote::of(object))
                    .map(|remote| {
                        let key = (remote.group.clone(), remote.version.clone());
                        (key, Arc::new(remote))
                    })
                    .collect(),
            }),
            reach,
            discovered: Arc::default(),
            collected: Collected::default(),
        }
    }

    /// Where what is heard of the other servers goes.
    pub(crate) fn discovered(&self) -> Arc<Discovered> {
        Arc::clone(&self.discovered)
    }

    /// Who serves a path below `/apis/GROUP/VERSION`; `None`: this server.
    pub(crate) fn remote(&self, path: &str) -> Option<Arc<Remote>> {
        let remotes = self.remotes.get();
        if remotes.by_version.is_empty() {
            return None;
        }
        let mut segments = path.strip_prefix("/apis/")?.split('/');
        let group = segments.next()?.to_owned();
        let version = segments
            .next()
            .filter(|version| !version.is_empty())?
            .to_owned();
        remotes.by_version.get(&(group, version)).cloned()
    }
}

impl std::fmt::Debug for Aggregator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aggregator").finish_non_exhaustive()
    }
}
