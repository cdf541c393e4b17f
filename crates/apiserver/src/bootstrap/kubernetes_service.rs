//! The Service `default/kubernetes`, and its endpoints: the API servers that live.
//!
//! Each server holds a leased key `/registry/masterleases/<address>`; the endpoints are the addresses that have one. So a server that dies without
//! a word is out of the endpoints when its lease ends, and none has to watch another. Upstream's lease endpoint reconciler does the same with
//! the same keys, so that servers of both can stand behind one Service.

use std::{net::IpAddr, sync::Arc, time::Duration};

use apimachinery::{Object, gvk::GroupResource, meta, status::Status};
use base::Clock;
use bytes::Bytes;
use etcd::{KeyRange, Kv, KvError, LeaseId, Op, RangeRequest, Txn};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::objects::object;
use crate::{
    allocators::{Cidr, Family},
    lookup,
    reader::{ObjectReader, ObjectWriter},
};

const SERVICES: GroupResource = GroupResource::new("", "services");
const ENDPOINTS: GroupResource = GroupResource::new("", "endpoints");
const ENDPOINT_SLICES: GroupResource = GroupResource::new("discovery.k8s.io", "endpointslices");
const NAMESPACE: &str = "default";
const NAME: &str = "kubernetes";
const PORT: u16 = 443;
const LEASE_PREFIX: &str = "/registry/masterleases/";
/// Upstream's interval and time to live.
const INTERVAL: Duration = Duration::from_secs(10);
const TTL_SECONDS: i64 = 15;
/// After a round that failed: at the first start the namespace may come a moment later. Doubled each time, up to the interval.
const RETRY: Duration = Duration::from_millis(250);

/// Keeps the Service and its endpoints.
pub struct KubernetesService {
    /// `--advertise-address`.
    pub advertise_address: IpAddr,
    /// Where the server listens.
    pub secure_port: u16,
    /// `--service-cluster-ip-range`'s first: the Service has its first address.
    pub service_range: Cidr,
    /// Holds the leases.
    pub kv: Arc<dyn Kv>,
    /// What is there.
    pub reader: Arc<dyn ObjectReader>,
    /// Makes what is not.
    pub writer: Arc<dyn ObjectWriter>,
    /// For the interval.
    pub clock: Clock,
}

/// Why a round failed; the next one tries again.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the lease of this server")]
    Lease(#[from] KvError),
    #[error("writing {0}")]
    Write(&'static str, #[source] Status),
}

impl KubernetesService {
    /// Keeps them until cancelled, and takes this server out at the end.
    pub async fn run(&self, cancel: CancellationToken) {
        let mut lease = None;
        let mut retry = RETRY;
        loop {
            let mut pause = INTERVAL;
            if let Err(error) = self.round(&mut lease).await {
                tracing::info!(
                    error = &error as &dyn std::error::Error,
                    "the kubernetes Service may be out of date"
                );
                lease = None;
                pause = retry;
                retry = (retry * 2).min(INTERVAL);
            } else {
                retry = RETRY;
            }
            let next = self.clock.sleep_until(self.clock.now() + pause);
            if cancel.run_until_cancelled(next).await.is_none() {
                break;
            }
        }
        if let Some(lease) = lease
            && let Err(error) = self.leave(lease).await
        {
            // The lease ends by itself.
            tracing::info!(
                error = &error as &dyn std::error::Error,
                "this server stays in the endpoints for a moment"
            );
        }
    }

    /// The Service, this server's lease, the endpoints.
    async fn round(&self, lease: &mut Option<LeaseId>) -> Result<(), Error> {
        self.service()
            .await
            .map_err(|status| Error::Write("the Service", status))?;
        match *lease {
            Some(id) => {
                self.kv.lease_keep_alive(id).await?;
            }
            None => *lease = Some(self.enter().await?),
        }
        self.endpoints().await
    }

    async fn service(&self) -> Result<(), Status> {
        let port = json!({"name": "https", "protocol": "TCP", "port": PORT, "targetPort": self.secure_port});
        let address = self.service_range.nth(0).to_string();
        let Some(existing) = self.find(&SERVICES).await? else {
            let wanted = object(json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {
                    "namespace": NAMESPACE, "name": NAME,
                    "labels": {"component": "apiserver", "provider": "kubernetes"},
                },
                "spec": {
                    "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "sessionAffinity": "None",
                    "ipFamilies": [self.service_range.family().name()], "ipFamilyPolicy": "SingleStack",
                    "ports": [port],
                },
            }));
            return settle(self.writer.create(&SERVICES, NAMESPACE, wanted).await);
        };
        if lookup::list(&existing, &["spec", "ports"]) == [port.clone()] {
            return Ok(());
        }
        let mut mended = Object::clone(&existing);
        lookup::set(&mut mended, &["spec", "ports"], vec![port]);
        settle(self.writer.update(&SERVICES, NAMESPACE, mended).await)
    }

    /// Takes a lease and hangs this server's key on it.
    async fn enter(&self) -> Result<LeaseId, KvError> {
        let lease = self.kv.lease_grant(TTL_SECONDS).await?;
        let address = self.advertise_address.to_string();
        let value = json!({
            "kind": "Endpoints", "apiVersion": "v1", "metadata": {},
            "subsets": [{"addresses": [{"ip": address}]}],
        });
        let key = Bytes::from(format!("{LEASE_PREFIX}{address}"));
        let put = Op::Put {
            key,
            value: value.to_string().into(),
            lease,
        };
        self.kv
            .txn(Txn {
                success: vec![put],
                ..Txn::default()
            })
            .await?;
        Ok(lease)
    }

    async fn leave(&self, lease: LeaseId) -> Result<(), Error> {
        self.kv.lease_revoke(lease).await?;
        self.endpoints().await
    }

    /// The addresses that hold a lease, in order.
    async fn servers(&self) -> Result<Vec<IpAddr>, KvError> {
        let mut request = RangeRequest::new(KeyRange::prefix(LEASE_PREFIX));
        request.keys_only = true;
        let found = self.kv.range(request).await?;
        let family = Family::of(&self.advertise_address);
        let mut servers: Vec<IpAddr> = found
            .kvs
            .iter()
            .filter_map(|kv| {
                std::str::from_utf8(&kv.key)
                    .ok()?
                    .strip_prefix(LEASE_PREFIX)?
                    .parse()
                    .ok()
            })
            .filter(|address| Family::of(address) == family)
            .collect();
        servers.sort_unstable();
        Ok(servers)
    }

    async fn endpoints(&self) -> Result<(), Error> {
        let servers = self.servers().await?;
        let addresses: Vec<String> = servers.iter().map(ToString::to_string).collect();
        let port = json!({"name": "https", "port": self.secure_port, "protocol": "TCP"});

        let ips: Vec<Value> = addresses.iter().map(|ip| json!({ "ip": ip })).collect();
        let subsets = if ips.is_empty() {
            json!([])
        } else {
            json!([{"addresses": ips, "ports": [port]}])
        };
        let endpoints = object(json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": {
                "namespace": NAMESPACE, "name": NAME,
                "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
            },
            "subsets": subsets,
        }));
        let written = self.write(&ENDPOINTS, endpoints, &["subsets"]).await;
        written.map_err(|status| Error::Write("the Endpoints", status))?;

        let ready: Vec<Value> = addresses
            .iter()
            .map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}}))
            .collect();
        let slice = object(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "namespace": NAMESPACE, "name": NAME, "labels": {"kubernetes.io/service-name": NAME},
            },
            "addressType": Family::of(&self.advertise_address).name(),
            "endpoints": ready, "ports": [port],
        }));
        let written = self
            .write(&ENDPOINT_SLICES, slice, &["endpoints", "ports"])
            .await;
        written.map_err(|status| Error::Write("the EndpointSlice", status))
    }

    /// Makes an object, or brings these fields of the one that is there up to date.
    async fn write(
        &self,
        resource: &GroupResource,
        wanted: Object,
        fields: &[&str],
    ) -> Result<(), Status> {
        let Some(existing) = self.find(resource).await? else {
            return settle(self.writer.create(resource, NAMESPACE, wanted).await);
        };
        let differs =
            |field: &&&str| lookup::list(&existing, &[field]) != lookup::list(&wanted, &[field]);
        let stale: Vec<&str> = fields.iter().filter(differs).copied().collect();
        if stale.is_empty() {
            return Ok(());
        }
        let mut mended = Object::clone(&existing);
        for field in stale {
            lookup::set(
                &mut mended,
                &[field],
                lookup::list(&wanted, &[field]).to_vec(),
            );
        }
        debug_assert_eq!(
            meta::name(&mended),
            NAME,
            "only this Service's own objects are written"
        );
        settle(self.writer.update(resource, NAMESPACE, mended).await)
    }

    async fn find(&self, resource: &GroupResource) -> Result<Option<Arc<Object>>, Status> {
        match self.reader.get(resource, NAMESPACE, NAME) {
            Some(found) => Ok(Some(found)),
            None => self.reader.get_fresh(resource, NAMESPACE, NAME).await,
        }
    }
}

/// Another server doing the same was faster: its work is as good, and the next round looks again.
fn settle(outcome: Result<Arc<Object>, Status>) -> Result<(), Status> {
    match outcome {
        Err(status) if !status.is_already_exists() && !status.is_conflict() => Err(status),
        _ => Ok(()),
    }
}
