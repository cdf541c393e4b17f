//! An APIService that names another server.

use std::{
    cmp::Ordering,
    sync::{Arc, OnceLock},
};

use apimachinery::{Object, meta, version_order};
use base::tls::{self, Identity, Trust};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustls::ClientConfig;

use super::ProxyIdentity;
use crate::{
    lookup,
    proxy::Location,
    reader::ObjectReader,
    webhook_client::{CallError, service_resolver},
};

/// Another server, for one group and version.
#[derive(Debug)]
pub(crate) struct Remote {
    /// `v1.example.com`
    pub(crate) name: String,
    /// `example.com`
    pub(crate) group: String,
    /// `v1`
    pub(crate) version: String,
    /// Highest first, of all versions of the group.
    pub(crate) group_priority: i64,
    /// Highest first, within the group.
    pub(crate) version_priority: i64,
    /// Where its Service is.
    pub(crate) namespace: String,
    /// Its Service.
    pub(crate) service: String,
    /// The Service's port.
    pub(crate) port: u16,
    /// Whether it could be reached when last tried.
    pub(crate) available: bool,
    authorities: Vec<u8>,
    unverified: bool,
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl Remote {
    /// Of an APIService; `None` for those that this server serves itself.
    pub(super) fn of(object: &Object) -> Option<Self> {
        let service = lookup::map(object, &["spec", "service"])?;
        let text = |field: &str| lookup::text(object, &["spec", field]).to_owned();
        let number = |field: &str| lookup::number(object, &["spec", field]).unwrap_or(0);
        let available = lookup::objects(object, &["status", "conditions"]).any(|condition| {
            lookup::text(condition, &["type"]) == "Available"
                && lookup::text(condition, &["status"]) == "True"
        });
        Some(Self {
            name: meta::name(object).to_owned(),
            group: text("group"),
            version: text("version"),
            group_priority: number("groupPriorityMinimum"),
            version_priority: number("versionPriority"),
            namespace: lookup::text(service, &["namespace"]).to_owned(),
            service: lookup::text(service, &["name"]).to_owned(),
            port: lookup::number(service, &["port"])
                .and_then(|port| u16::try_from(port).ok())
                .unwrap_or(443),
            available,
            authorities: BASE64_STANDARD.decode(text("caBundle")).unwrap_or_default(),
            unverified: lookup::flag(object, &["spec", "insecureSkipTLSVerify"]).unwrap_or(false),
            tls: OnceLock::new(),
        })
    }

    /// `/apis/GROUP/VERSION`
    pub(super) fn root(&self) -> String {
        format!("/apis/{}/{}", self.group, self.version)
    }

    /// As what it is known; another address is another server, as far as one can tell.
    pub(super) fn address(&self) -> String {
        format!("{}/{}:{}", self.namespace, self.service, self.port)
    }

    /// The order in which groups and versions are listed.
    pub(super) fn before(&self, other: &Self) -> Ordering {
        let order = other.group_priority.cmp(&self.group_priority);
        order
            .then_with(|| self.group.cmp(&other.group))
            .then_with(|| other.version_priority.cmp(&self.version_priority))
            .then_with(|| version_order::compare(&self.version, &other.version))
    }

    /// Where a path of it is now.
    pub(super) fn location(
        &self,
        reader: &dyn ObjectReader,
        identity: &ProxyIdentity,
        path: String,
        query: String,
    ) -> Result<Location, LocationError> {
        let (host, port) =
            service_resolver::resolve(reader, &self.namespace, &self.service, self.port)?;
        let tls = self.tls.get_or_init(|| self.client_config(identity));
        Ok(Location {
            host,
            port: port.to_string(),
            path,
            query,
            tls: Some(tls.clone().map_err(LocationError::Tls)?),
            server_name: Some(format!("{}.{}.svc", self.service, self.namespace)),
        })
    }

    fn client_config(&self, identity: &ProxyIdentity) -> Result<Arc<ClientConfig>, String> {
        let trust = if self.unverified {
            Trust::Anything
        } else if self.authorities.is_empty() {
            Trust::System
        } else {
            Trust::Authorities(&self.authorities)
        };
        let identity = identity.certificate.as_ref();
        let identity = identity.map(|(certificate, key)| Identity { certificate, key });
        match tls::client_config(trust, identity) {
            Ok(config) => Ok(Arc::new(config)),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Why there is no way to a server.
#[derive(Debug, thiserror::Error)]
pub(super) enum LocationError {
    /// Its Service leads nowhere.
    #[error(transparent)]
    Service(#[from] CallError),
    /// What it is to be trusted by is unusable.
    #[error("{0}")]
    Tls(String),
}
