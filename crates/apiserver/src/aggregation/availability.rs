//! Whether the servers behind APIServices can be reached: their Service, its endpoints, and an answer to discovery.
//!
//! Looked at again whenever something that matters changes, now and then anyway, and sooner while something is wrong. Follows upstream's
//! `remote_available_controller`, to the words of its conditions.

use std::{collections::HashMap, sync::Arc, time::Duration};

use apimachinery::{Object, gvk::GroupResource, meta, status::Status};
use base::Clock;
use etcd::Revision;
use http::HeaderMap;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    API_SERVICES, Discovered, Remote,
    reach::{Question, Reach},
};
use crate::{
    lookup,
    reader::ObjectWriter,
    user::{MASTERS, UserInfo},
};

const SERVICES: GroupResource = GroupResource::new("", "services");
const ENDPOINT_SLICES: GroupResource = GroupResource::new("discovery.k8s.io", "endpointslices");
/// How often what matters is compared with what was last seen.
const TICK: Duration = Duration::from_secs(1);
/// How often a server that is well is asked again, as upstream resyncs.
const RESYNC: Duration = Duration::from_secs(30);
/// How soon one that is not is asked again: doubled each time, up to the resync.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// How long one answer may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// How large a discovery document may be.
const MAX_DOCUMENT_BYTES: usize = 4 << 20;
/// How many answers are asked for; one good one is enough.
const PROBES: usize = 5;

/// Keeps the condition `Available` of APIServices.
pub(crate) struct Availability {
    pub(crate) reach: Reach,
    pub(crate) writer: Arc<dyn ObjectWriter>,
    pub(crate) clock: Clock,
    pub(crate) hub: Arc<crate::cacher::Hub>,
    /// What the servers serve, for discovery.
    pub(crate) discovered: Arc<Discovered>,
}

/// When a server is to be asked again.
struct Next {
    at: tokio::time::Instant,
    backoff: Duration,
}

/// What is found of a server.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    available: bool,
    reason: &'static str,
    message: String,
}

impl Finding {
    fn not(reason: &'static str, message: String) -> Self {
        Self {
            available: false,
            reason,
            message,
        }
    }
}

impl Availability {
    /// Until cancelled.
    pub(crate) async fn run(self, cancel: CancellationToken) {
        let running = async {
            while self.hub.wait_for(Revision(1)).await.is_err() {}
            let mut due: HashMap<String, Next> = HashMap::new();
            let mut seen = None;
            loop {
                let generations = [API_SERVICES, SERVICES, ENDPOINT_SLICES]
                    .map(|resource| self.reach.reader.generation(&resource));
                let changed = seen.replace(generations) != Some(generations);
                self.round(&mut due, changed).await;
                tokio::time::sleep(TICK).await;
            }
        };
        let _ = cancel.run_until_cancelled(running).await;
    }

    async fn round(&self, due: &mut HashMap<String, Next>, changed: bool) {
        let now = tokio::time::Instant::now();
        if !changed && due.values().all(|next| next.at > now) {
            return;
        }
        let objects = self.reach.reader.list(&API_SERVICES, "");
        let remotes: Vec<(&Arc<Object>, Remote)> = objects
            .iter()
            .filter_map(|object| Some((object, Remote::of(object)?)))
            .collect();
        let known = |name: &str| remotes.iter().any(|(_, remote)| remote.name == name);
        self.discovered.retain(known);
        due.retain(|name, _| known(name));
        let asked = remotes.iter().filter(|(_, remote)| {
            changed || due.get(&remote.name).is_none_or(|next| next.at <= now)
        });
        let findings = asked.map(|(object, remote)| async move {
            let finding = self.examine(remote).await;
            if let Err(error) = self.say(object, &finding).await {
                tracing::warn!(%error, api_service = remote.name, "its condition could not be written");
            }
            (remote.name.clone(), finding.available)
        });
        for (name, available) in futures_util::future::join_all(findings).await {
            let backoff = match due.get(&name) {
                _ if available => RESYNC,
                Some(next) if !changed => (next.backoff * 2).min(RESYNC),
                _ => FIRST_RETRY,
            };
            let at = tokio::time::Instant::now() + backoff;
            due.insert(name, Next { at, backoff });
        }
    }

    async fn examine(&self, remote: &Remote) -> Finding {
        if let Some(finding) = self.look_at_service(remote) {
            return finding;
        }
        let probes = (0..PROBES).map(|_| Box::pin(self.probe(remote)));
        match futures_util::future::select_ok(probes).await {
            Ok(_) => Finding {
                available: true,
                reason: "Passed",
                message: "all checks passed".to_owned(),
            },
            Err(error) => Finding::not("FailedDiscoveryCheck", error),
        }
    }

    /// What is wrong with the Service, seen from here.
    fn look_at_service(&self, remote: &Remote) -> Option<Finding> {
        let (namespace, name) = (remote.namespace.as_str(), remote.service.as_str());
        let Some(service) = self.reach.reader.get(&SERVICES, namespace, name) else {
            let message = format!("service/{name} in {namespace:?} is not present");
            return Some(Finding::not("ServiceNotFound", message));
        };
        if lookup::text(&service, &["spec", "type"]) != "ClusterIP" {
            return None;
        }
        let port = lookup::objects(&service, &["spec", "ports"])
            .find(|port| lookup::number(port, &["port"]) == Some(remote.port.into()));
        let Some(port) = port else {
            let message = format!(
                "service/{name} in {namespace:?} is not listening on port {}",
                remote.port
            );
            return Some(Finding::not("ServicePortError", message));
        };
        let port_name = lookup::text(port, &["name"]);
        let slices: Vec<Arc<Object>> = self
            .reach
            .reader
            .list(&ENDPOINT_SLICES, namespace)
            .into_iter()
            .filter(|slice| meta::label(slice, "kubernetes.io/service-name") == Some(name))
            .collect();
        if slices.is_empty() {
            let message = format!("cannot find endpointslices for service/{name} in {namespace:?}");
            return Some(Finding::not("EndpointsNotFound", message));
        }
        let active = slices.iter().any(|slice| {
            let ready = |endpoint: &Object| {
                !lookup::list(endpoint, &["addresses"]).is_empty()
                    && lookup::flag(endpoint, &["conditions", "ready"]).unwrap_or(true)
            };
            lookup::objects(slice, &["ports"])
                .any(|port| lookup::text(port, &["name"]) == port_name)
                && lookup::objects(slice, &["endpoints"]).any(ready)
        });
        (!active).then(|| {
            let message = format!(
                "endpointslices for service/{name} in {namespace:?} have no addresses with port name {port_name:?}"
            );
            Finding::not("MissingEndpoints", message)
        })
    }

    /// Asks for the discovery document of the group and version.
    async fn probe(&self, remote: &Remote) -> Result<(), String> {
        let aggregator = UserInfo {
            name: "system:kube-aggregator".to_owned(),
            groups: vec![MASTERS.to_owned()],
            ..UserInfo::default()
        };
        let question = Question {
            path: &remote.root(),
            headers: HeaderMap::new(),
            user: &aggregator,
            timeout: PROBE_TIMEOUT,
            max_bytes: MAX_DOCUMENT_BYTES,
        };
        let answer = self.reach.get(remote, question).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if !answer.status.is_success() {
            let (url, code) = (answer.url, answer.status.as_u16());
            return Err(format!(
                "failing or missing response from {url}: bad status from {url}: {code}"
            ));
        }
        if let Ok(document) = serde_json::from_slice::<Object>(&answer.body) {
            self.discovered.learn(&remote.name, &document);
        }
        Ok(())
    }

    /// Writes the condition, if it is news.
    async fn say(&self, object: &Object, finding: &Finding) -> Result<(), Status> {
        let status = if finding.available { "True" } else { "False" };
        let mut object = object.clone();
        let now = crate::registry::seconds(self.clock.now());
        let conditions = lookup::list_mut(&mut object, &["status"], "conditions");
        let known = conditions
            .iter()
            .position(|condition| condition["type"] == "Available");
        let before = known.map(|at| conditions[at].clone()).unwrap_or_default();
        let same = before["status"] == status
            && before["reason"] == finding.reason
            && before["message"] == finding.message.as_str();
        if same {
            return Ok(());
        }
        let since = match &before["lastTransitionTime"] {
            Value::String(since) if before["status"] == status => since.clone(),
            _ => now,
        };
        let condition = json!({
            "type": "Available", "status": status, "lastTransitionTime": since,
            "reason": finding.reason, "message": finding.message,
        });
        match known {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
        match self.writer.update_status(&API_SERVICES, "", object).await {
            // Somebody was faster; the next round sees what they wrote.
            Err(status) if !status.is_conflict() && !status.is_not_found() => Err(status),
            _ => Ok(()),
        }
    }
}
