//! Get: one object from the watch cache, as fresh as asked for.

use std::time::Instant;

use apimachinery::status::Status;
use bytes::{BufMut as _, BytesMut};
use etcd::{KeyRange, RangeRequest, Revision};
use http::{Response, StatusCode};

use super::{
    Call,
    options::{Freshness, parse_version},
};
use crate::{
    body::Body,
    cacher::{HubError, Snapshot},
    negotiation::{Accept, Encoding, Endpoint as Sort, Transform, respond_bytes},
    storage,
};

/// Subresources that upstream serves without columns: group, resource, subresource.
const WITHOUT_TABLES: &[(&str, &str, &str)] = &[("resource.k8s.io", "resourceclaims", "status")];

impl Call<'_> {
    /// `GET …/NAME`, also of `status`, which is the whole object.
    pub(super) async fn get(&self) -> Result<Response<Body>, Status> {
        let context = self.context;
        let accept = self.accept(Sort::Object)?;
        let version = context.query.get("resourceVersion").unwrap_or_default();
        let freshness = match parse_version(version).map_err(Status::unclassified)? {
            None => Freshness::Consistent,
            Some(Revision(0)) => Freshness::Any,
            Some(revision) => Freshness::NotOlderThan(revision),
        };
        let cacher = self.endpoint.cacher()?;
        let (namespace, name) = (self.namespace(), context.info.name.as_str());
        let cached = if self.cache_serves(freshness) {
            self.wait_for(freshness).await?;
            cacher.get(namespace, name)
        } else {
            let key = KeyRange::key(cacher.key(namespace, name));
            let present = self.present(key, freshness).await?;
            present.iter(namespace, None).next().cloned()
        };
        let cached = cached.ok_or_else(|| self.not_found())?;
        self.endpoint.prepare(std::slice::from_ref(&cached)).await?;
        self.respond_cached(&cached, accept, StatusCode::OK)
    }

    /// What the client accepts, decided.
    pub(super) fn accept(&self, sort: Sort) -> Result<Accept, Status> {
        let (headers, query) = (&self.context.headers, &self.context.query);
        let (resource, part) = (&self.endpoint.row.gvr, &*self.context.info.subresource);
        if self.endpoint.custom.is_some() {
            Accept::negotiate_custom(headers, query, sort)
        } else if WITHOUT_TABLES.contains(&(&*resource.group, &*resource.resource, part)) {
            Accept::negotiate_without_tables(headers, query, sort)
        } else {
            Accept::negotiate(headers, query, sort)
        }
    }

    /// Whether the cache can be waited for. On a store that tells no progress it may never know how fresh it is.
    pub(super) fn cache_serves(&self, freshness: Freshness) -> bool {
        self.registry.kv.tells_progress()
            || match freshness {
                Freshness::Any => true,
                Freshness::Consistent => false,
                Freshness::NotOlderThan(revision) | Freshness::Exact(revision) => {
                    self.registry.hub().revision() >= revision
                }
            }
    }

    /// What the store itself has now, which must be as fresh as asked for.
    pub(super) async fn present(
        &self,
        range: KeyRange,
        freshness: Freshness,
    ) -> Result<Snapshot, Status> {
        let answer = self.registry.kv.range(RangeRequest::new(range)).await;
        let answer = answer.map_err(storage::status)?;
        if let Freshness::NotOlderThan(wanted) = freshness
            && wanted > answer.revision
        {
            return Err(too_large(wanted, answer.revision));
        }
        let cacher = self.endpoint.cacher()?;
        Ok(cacher.snapshot_of(&answer.kvs, answer.revision))
    }

    /// Waits until the cache is as fresh as asked for.
    pub(super) async fn wait_for(&self, freshness: Freshness) -> Result<(), Status> {
        let hub = self.registry.hub();
        let start = Instant::now();
        let waited = match freshness {
            Freshness::Any if hub.is_synced() => Ok(()),
            Freshness::Any => hub.wait_for(Revision(1)).await,
            Freshness::Consistent => hub.wait_fresh(self.registry.kv.as_ref()).await,
            Freshness::NotOlderThan(revision) | Freshness::Exact(revision) => {
                hub.wait_for(revision).await
            }
        };
        self.note_wait(freshness, start, waited.is_ok());
        waited.map_err(not_fresh)
    }

    fn note_wait(&self, freshness: Freshness, start: Instant, fresh: bool) {
        if freshness == Freshness::Any {
            return;
        }
        let (endpoint, metrics) = (self.endpoint, &self.registry.metrics);
        metrics.waited(endpoint, start.elapsed());
        if let (Freshness::Consistent, Some(cacher)) = (freshness, &endpoint.cacher) {
            let stats = cacher.stats();
            let outcome = if fresh {
                &stats.consistent
            } else {
                &stats.stale
            };
            outcome.add(1);
        }
    }

    /// The namespace by which objects are stored: none in cluster scope, also for namespaces themselves.
    pub(super) fn namespace(&self) -> &str {
        if self.endpoint.is_namespaced() {
            &self.context.info.namespace
        } else {
            ""
        }
    }

    pub(super) fn not_found(&self) -> Status {
        Status::not_found(&self.endpoint.group_resource(), &self.context.info.name)
    }

    fn respond_cached(
        &self,
        cached: &crate::cacher::CachedObject,
        accept: Accept,
        code: StatusCode,
    ) -> Result<Response<Body>, Status> {
        let bytes = match accept.encoding {
            _ if accept.transform != Transform::None => None,
            Encoding::Json if !accept.pretty => {
                let json = self.endpoint.json(cached)?;
                // All answers end their line. A copy costs less than a frame more would.
                let mut line = BytesMut::with_capacity(json.len() + 1);
                line.extend_from_slice(&json);
                line.put_u8(b'\n');
                Some(line.freeze())
            }
            Encoding::Protobuf => Some(self.endpoint.protobuf(cached)?),
            _ => None,
        };
        if let Some(bytes) = bytes {
            return respond_bytes(&self.context.headers, code, accept, bytes);
        }
        self.respond_tree(self.endpoint.tree(cached), accept, code)
    }
}

/// The cache is not as fresh as it was asked to be.
pub(super) fn not_fresh(error: HubError) -> Status {
    match error {
        HubError::Kv(error) => storage::status(error),
        HubError::Behind { wanted, current } => too_large(wanted, current),
    }
}

/// What is asked for lies in the future.
pub(super) fn too_large(wanted: Revision, current: Revision) -> Status {
    let number = |revision: Revision| u64::try_from(revision.0).unwrap_or(0);
    Status::too_large_resource_version(number(wanted), number(current), 1)
}
