//! Approves serving certificates of kubelets that have joined: upstream leaves that to the administrator, or to an approver that the
//! cluster has beside it; this is ours.
//!
//! A node is given a certificate for the names and addresses that its Node object has, and for no others; only by its own request.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use base::Clock;
use bootstrap::RequestedNames;
use client::{Client, InformerFactory};
use k8s_openapi::{
    api::{
        certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition},
        core::v1::Node,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use tracing::{info, warn};

const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
/// A node asks before its status has been written: what cannot be approved yet is looked at again.
const RETRY: Duration = Duration::from_secs(2);
const RESYNC: Duration = Duration::from_secs(300);

/// Approves until its task ends.
pub(crate) async fn approve(client: Client, informers: InformerFactory, clock: Clock) {
    let requests = informers.informer::<CertificateSigningRequest>();
    let nodes = informers.informer::<Node>();
    let mut events = requests.subscribe();
    tokio::join!(requests.has_synced(), nodes.has_synced());
    loop {
        let mut wait = RESYNC;
        for request in requests.store().list() {
            if !waits(&request) {
                continue;
            }
            let node = node_of(&request)
                .and_then(|name| nodes.store().get("", name))
                .filter(|node| may_have(&request, node));
            let Some(node) = node else {
                wait = RETRY;
                continue;
            };
            let mut approved = (*request).clone();
            let conditions = &mut approved.status.get_or_insert_default().conditions;
            conditions
                .get_or_insert_default()
                .push(CertificateSigningRequestCondition {
                    type_: "Approved".to_owned(),
                    status: "True".to_owned(),
                    reason: Some("AutoApproved".to_owned()),
                    message: Some(
                        "Auto approving kubelet serving certificate for the node's own addresses."
                            .to_owned(),
                    ),
                    last_update_time: Some(Time(clock.now())),
                    last_transition_time: Some(Time(clock.now())),
                });
            let api = client.api::<CertificateSigningRequest>("");
            match api.update_subresource("approval", &approved).await {
                Ok(_) => info!(node = node.metadata.name, "approved a serving certificate"),
                Err(error) => {
                    warn!(%error, "cannot approve a serving certificate");
                    wait = RETRY;
                }
            }
        }
        let until = clock.now().checked_add(wait).unwrap_or_default();
        tokio::select! {
            event = events.next() => if event.is_none() { return },
            () = clock.sleep_until(until) => {}
        }
    }
}

fn waits(request: &CertificateSigningRequest) -> bool {
    let conditions = request.status.iter().flat_map(|status| &status.conditions);
    request.spec.signer_name == KUBELET_SERVING && conditions.flatten().next().is_none()
}

/// The node that asks.
fn node_of(request: &CertificateSigningRequest) -> Option<&str> {
    let groups = request.spec.groups.as_deref().unwrap_or_default();
    let name = request
        .spec
        .username
        .as_deref()?
        .strip_prefix("system:node:")?;
    groups
        .iter()
        .any(|group| group == "system:nodes")
        .then_some(name)
}

/// Whether the names asked for are the node's.
fn may_have(request: &CertificateSigningRequest, node: &Node) -> bool {
    let Some(names) = RequestedNames::parse(&request.spec.request.0) else {
        return false;
    };
    let addresses = || {
        node.status
            .iter()
            .flat_map(|status| status.addresses.iter().flatten())
    };
    let ips: BTreeSet<IpAddr> = addresses()
        .filter_map(|address| address.address.parse().ok())
        .collect();
    let dns_names: BTreeSet<&str> = addresses()
        .map(|address| address.address.as_str())
        .chain(node.metadata.name.as_deref())
        .collect();
    request.spec.username.as_deref() == Some(names.common_name.as_str())
        && names.organizations == ["system:nodes"]
        && names.others == 0
        && names.addresses.iter().all(|address| ips.contains(address))
        && names
            .dns_names
            .iter()
            .all(|name| dns_names.contains(name.as_str()))
}

#[cfg(test)]
mod tests {
    use bootstrap::{CertificateRequest, Subject};
    use k8s_openapi::ByteString;
    use serde_json::json;

    use super::*;

    fn request(user: &str, cn: &str, ip: &str) -> CertificateSigningRequest {
        let mut subject = Subject::server(cn, vec!["n1".to_owned()], vec![ip.parse().unwrap()]);
        subject.organization = Some("system:nodes".to_owned());
        let mut request = CertificateSigningRequest::default();
        let pem = CertificateRequest::new(&subject).unwrap().request_pem;
        request.spec.request = ByteString(pem.into_bytes());
        request.spec.signer_name = KUBELET_SERVING.to_owned();
        request.spec.username = Some(user.to_owned());
        request.spec.groups = Some(vec!["system:nodes".to_owned()]);
        request
    }

    #[test]
    fn a_node_is_given_its_own_names_alone() {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "n1"},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]},
        }))
        .unwrap();
        let own = request("system:node:n1", "system:node:n1", "192.0.2.1");
        assert!(waits(&own));
        assert_eq!(node_of(&own), Some("n1"));
        assert!(may_have(&own, &node));
        assert!(!may_have(
            &request("system:node:n1", "system:node:n1", "192.0.2.9"),
            &node
        ));
        assert!(!may_have(
            &request("system:node:n1", "system:node:n2", "192.0.2.1"),
            &node
        ));
        assert_eq!(
            node_of(&request("somebody", "system:node:n1", "192.0.2.1")),
            None
        );
    }
}
