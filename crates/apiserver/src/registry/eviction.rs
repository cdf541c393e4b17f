//! Eviction: a delete of a pod that its disruption budgets may refuse. What a budget allows is taken from its status with the
//! optimistic concurrency of any update, so that two evictions never share one allowed disruption.

use apimachinery::{
    Object,
    gvk::{GroupResource, GroupVersionKind},
    labels::Selector,
    meta,
    status::{Status, StatusCause},
};
use async_trait::async_trait;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::{
    Call,
    admit::Gate,
    delete_options::DeleteOptions,
    options::{Freshness, WriteOptions},
    pod_condition,
};
use crate::{
    admission::Operation,
    body::Body,
    lookup,
    negotiation::{Accept, Endpoint as Sort, Transform, respond_object},
    storage::{Keep, Next, Stored, Update},
};

static EVICTION: GroupVersionKind = GroupVersionKind::new("policy", "v1", "Eviction");
const PODS: GroupResource = GroupResource::new("", "pods");
const BUDGETS: GroupResource = GroupResource::new("policy", "poddisruptionbudgets");
/// The condition by which a budget says whether pods may go.
const ALLOWED: &str = "DisruptionAllowed";
/// So many evicted pods may be waited for in a budget's status, as upstream.
const MAX_DISRUPTED_PODS: usize = 2000;

impl Call<'_> {
    /// `POST …/pods/NAME/eviction`
    pub(super) async fn evict(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let context = self.context;
        let accept = Accept::negotiate(&context.headers, &context.query, Sort::Object)?;
        let options = WriteOptions::parse(
            &context.query,
            context.field_manager(),
            "CreateOptions",
            false,
        )?;
        let bytes = self.body(request).await?;
        let mut eviction = self.decode_as(&EVICTION, &bytes, &options)?;
        self.set_namespace(&mut eviction)?;
        let delete = eviction
            .get("deleteOptions")
            .and_then(Value::as_object)
            .cloned();
        let mut delete = DeleteOptions::of_object(delete.unwrap_or_default())?;
        delete.dry_run |= options.dry_run;
        let create_options = self.options_object("CreateOptions");
        let gate = Gate {
            operation: Operation::Create,
            kind: &EVICTION,
            dry_run: delete.dry_run,
            options: &create_options,
        };
        self.admit(gate, Some(&mut eviction), None).await?;
        if meta::name(&eviction) != context.info.name {
            return Err(Status::bad_request(
                "name in URL does not match name in Eviction object",
            ));
        }
        self.validate_admission(gate, Some(&mut eviction), None)
            .await?;
        delete.is_admitted = true;

        self.wait_for(Freshness::Consistent).await?;
        let cached = self
            .endpoint
            .cacher()?
            .get(self.namespace(), &context.info.name);
        let cached = cached.ok_or_else(|| self.not_found())?;
        let pod = self.endpoint.tree(&cached);
        if needs_budget(&pod) {
            self.take_from_budget(&pod, delete.dry_run).await?;
            // What was allowed was allowed for this pod, not for another of its name.
            if delete.uid.is_none() {
                delete.uid = Some(meta::uid(&pod).to_owned());
            }
        }
        if !delete.dry_run {
            self.tell_disruption(&mut delete).await?;
        }
        self.delete_object(&context.info.name, &delete).await?;
        let mut success = Status::success(None);
        success.code = 201;
        let object = serde_json::to_value(&success).map_err(Status::internal)?;
        let object = object.as_object().cloned().unwrap_or_default();
        let accept = Accept {
            transform: Transform::None,
            ..accept
        };
        let gvk = GroupVersionKind::new("", "v1", "Status");
        respond_object(&context.headers, StatusCode::CREATED, accept, &object, &gvk)
    }

    /// Writes into the pod's status that it goes because somebody evicts it: whoever judges its end (a Job's failure policy) asks for that. What
    /// the preconditions of the deletion do not mean is left alone; the deletion refuses it.
    async fn tell_disruption(&self, delete: &mut DeleteOptions) -> Result<(), Status> {
        let key = self
            .endpoint
            .cacher()?
            .key(self.namespace(), &self.context.info.name);
        let now = self.registry.now();
        let mut tell = TellDisruption {
            delete,
            now: &now,
            told: false,
        };
        self.registry
            .store
            .guaranteed_update(&key, &PODS, None, None, Keep::Json, &mut tell)
            .await?;
        if tell.told {
            // This is the version that was meant.
            delete.resource_version = None;
        }
        Ok(())
    }

    async fn take_from_budget(&self, pod: &Object, dry_run: bool) -> Result<(), Status> {
        let Some(budgets) = self.registry.endpoint_of(&BUDGETS) else {
            return Ok(());
        };
        let cacher = budgets.cacher()?;
        let snapshot = cacher.snapshot();
        let mut matching = snapshot.iter(self.namespace(), None).filter_map(|cached| {
            let budget = cached.parse();
            selects(&budget, pod).then_some((cached.revision, budget))
        });
        let Some((revision, budget)) = matching.next() else {
            return Ok(());
        };
        if matching.next().is_some() {
            return Err(Status::unclassified(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
        let name = meta::name(&budget).to_owned();
        let key = cacher.key(self.namespace(), &name);
        let now = self.registry.now();
        let mut take = Take {
            pod,
            name: &name,
            now: &now,
            dry_run,
        };
        let cached = Some(Stored::new(with_version(budget, revision), revision));
        self.registry
            .store
            .guaranteed_update(&key, &BUDGETS, cached, None, Keep::Json, &mut take)
            .await?;
        Ok(())
    }
}

fn with_version(mut object: Object, revision: etcd::Revision) -> Object {
    meta::set_resource_version(&mut object, &revision.to_string());
    object
}

/// Pods that are over, or never ran, are nobody's loss.
fn needs_budget(pod: &Object) -> bool {
    let phase = lookup::text(pod, &["status", "phase"]);
    !meta::is_deleting(pod) && !matches!(phase, "Succeeded" | "Failed" | "Pending")
}

fn selects(budget: &Object, pod: &Object) -> bool {
    let selector = lookup::map(budget, &["spec", "selector"]);
    Selector::from_object(selector).is_ok_and(|selector| selector.matches(meta::labels(pod)))
}

fn is_ready(pod: &Object) -> bool {
    lookup::objects(pod, &["status", "conditions"])
        .any(|c| lookup::text(c, &["type"]) == "Ready" && lookup::text(c, &["status"]) == "True")
}

/// Why a budget allows no disruption; its numbers are not to be trusted while it is not in sync.
fn why_none(budget: &Object) -> String {
    let number = |field: &str| lookup::number(budget, &["status", field]).unwrap_or(0);
    let (wanted, healthy) = (number("desiredHealthy"), number("currentHealthy"));
    let refusal = lookup::objects(budget, &["status", "conditions"]).find(|condition| {
        lookup::text(condition, &["type"]) == ALLOWED
            && lookup::text(condition, &["status"]) == "False"
            && !lookup::text(condition, &["message"]).is_empty()
    });
    let said = refusal.map(|condition| {
        let of = |field: &str| lookup::text(condition, &[field]);
        (of("reason"), of("message"))
    });
    let not_now = "does not allow evicting pods currently";
    match said {
        Some(("SyncFailed", message)) => format!("{not_now} because it failed sync: {message}"),
        _ if healthy <= wanted => {
            format!("needs {wanted} healthy pods and has {healthy} currently")
        }
        Some((reason, message)) => format!("{not_now} ({reason}): {message}"),
        None => not_now.to_owned(),
    }
}

/// Adds the condition `DisruptionTarget`.
struct TellDisruption<'a> {
    delete: &'a DeleteOptions,
    now: &'a str,
    told: bool,
}

#[async_trait]
impl Update for TellDisruption<'_> {
    async fn apply(&mut self, current: Option<&Stored>) -> Result<Next, Status> {
        let Some(current) = current else {
            return Ok(Next::Keep);
        };
        let mut pod = current.object.clone();
        let is_another = |wanted: &Option<String>, own: &str| {
            wanted.as_deref().is_some_and(|wanted| wanted != own)
        };
        let over = matches!(
            lookup::text(&pod, &["status", "phase"]),
            "Succeeded" | "Failed"
        );
        if over
            || is_another(&self.delete.uid, meta::uid(&pod))
            || is_another(&self.delete.resource_version, meta::resource_version(&pod))
        {
            return Ok(Next::Keep);
        }
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
            "lastProbeTime": null, "lastTransitionTime": self.now,
        });
        pod_condition::set(&mut pod, condition);
        self.told = true;
        if pod == current.object {
            return Ok(Next::Keep);
        }
        Ok(Next::Put(pod))
    }
}

/// Takes one disruption off a budget.
struct Take<'a> {
    pod: &'a Object,
    name: &'a str,
    now: &'a str,
    dry_run: bool,
}

#[async_trait]
impl Update for Take<'_> {
    async fn apply(&mut self, current: Option<&Stored>) -> Result<Next, Status> {
        // A budget that has gone meanwhile demands nothing.
        let Some(current) = current else {
            return Ok(Next::Keep);
        };
        let mut budget = current.object.clone();
        if !self.check(&budget)? || self.dry_run {
            return Ok(Next::Keep);
        }
        let allowed = lookup::number(&budget, &["status", "disruptionsAllowed"]).unwrap_or(0);
        let status = lookup::map_mut(&mut budget, &["status"]);
        status.insert("disruptionsAllowed".to_owned(), json!(allowed - 1));
        let disrupted = lookup::map_mut(&mut budget, &["status", "disruptedPods"]);
        disrupted.insert(meta::name(self.pod).to_owned(), self.now.into());
        if allowed == 1 {
            self.disallow(&mut budget);
        }
        Ok(Next::Put(budget))
    }
}

impl Take<'_> {
    /// Whether a disruption has to be taken; refuses if there is none.
    fn check(&self, budget: &Object) -> Result<bool, Status> {
        let number = |field: &str| lookup::number(budget, &["status", field]).unwrap_or(0);
        if !is_ready(self.pod) {
            let healthy_enough = number("currentHealthy") >= number("desiredHealthy")
                && number("desiredHealthy") > 0;
            match lookup::text(budget, &["spec", "unhealthyPodEvictionPolicy"]) {
                "AlwaysAllow" => return Ok(false),
                _ if healthy_enough => return Ok(false),
                _ => {}
            }
        }
        let forbidden = |reason: &str| Status::forbidden(&BUDGETS, self.name, reason);
        if number("observedGeneration") < meta::generation(budget) {
            let cause = "is still being processed by the server.";
            return Err(self.too_many(cause, 10));
        }
        let allowed = number("disruptionsAllowed");
        if allowed < 0 {
            return Err(forbidden("pdb disruptions allowed is negative"));
        }
        let disrupted =
            lookup::map(budget, &["status", "disruptedPods"]).map_or(0, serde_json::Map::len);
        if disrupted > MAX_DISRUPTED_PODS {
            return Err(forbidden(
                "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
            ));
        }
        if allowed == 0 {
            return Err(self.too_many(&why_none(budget), 0));
        }
        Ok(true)
    }

    /// The last disruption is taken: says so before the controller does.
    fn disallow(&self, budget: &mut Object) {
        let observed = lookup::number(budget, &["status", "observedGeneration"]).unwrap_or(0);
        let conditions = lookup::list_mut(budget, &["status"], "conditions");
        let known = conditions.iter().position(|c| c["type"] == ALLOWED);
        let since = known.and_then(|index| {
            let known = &conditions[index];
            (known["status"] == "False").then(|| known["lastTransitionTime"].clone())
        });
        let condition = json!({
            "type": ALLOWED, "status": "False", "reason": "InsufficientPods", "message": "",
            "observedGeneration": observed, "lastTransitionTime": since.unwrap_or_else(|| self.now.into()),
        });
        match known {
            Some(index) => conditions[index] = condition,
            None => conditions.push(condition),
        }
    }

    fn too_many(&self, cause: &str, retry_after_seconds: i32) -> Status {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        let cause = format!("The disruption budget {} {cause}", self.name);
        Status::too_many_requests(message, retry_after_seconds).with_cause(StatusCause::new(
            "DisruptionBudget",
            cause,
            "",
        ))
    }
}
