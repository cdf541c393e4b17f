//! Binding: a pod gets its node, once. POST of a `Binding` to `pods/NAME/binding`, or to `bindings` with the pod's name in it.

use apimachinery::{
    Object,
    field::{FieldError, Path},
    gvk::{GroupResource, GroupVersionKind},
    meta, names,
    status::Status,
};
use async_trait::async_trait;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::{Call, admit::Gate, options::WriteOptions, pod_condition};
use crate::{
    admission::Operation,
    body::Body,
    lookup,
    negotiation::{Accept, Endpoint as Sort, Transform, respond_object},
    storage::{Keep, Next, Stored, Update},
};

const BINDING: GroupVersionKind = GroupVersionKind::new("", "v1", "Binding");
const PODS: GroupResource = GroupResource::new("", "pods");

impl Call<'_> {
    /// `POST …/binding`
    pub(super) async fn bind(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let context = self.context;
        let accept = Accept::negotiate(&context.headers, &context.query, Sort::Object)?;
        let options = WriteOptions::parse(
            &context.query,
            context.field_manager(),
            "CreateOptions",
            false,
        )?;
        let bytes = self.body(request).await?;
        let mut binding = self.decode_as(&BINDING, &bytes, &options)?;
        self.set_namespace(&mut binding)?;
        let name = &context.info.name;
        if name.is_empty() {
            // What is made without a name in its path comes without a history, too: no preconditions.
            for field in ["uid", "resourceVersion"] {
                lookup::map_mut(&mut binding, &["metadata"]).remove(field);
            }
        } else if meta::name(&binding) != name {
            return Err(Status::bad_request(
                "name in URL does not match name in Binding object",
            ));
        }
        let create_options = self.options_object("CreateOptions");
        let gate = Gate {
            operation: Operation::Create,
            kind: &BINDING,
            dry_run: options.dry_run,
            options: &create_options,
        };
        self.admit(gate, Some(&mut binding), None).await?;
        validate(&binding)?;
        self.validate_admission(gate, Some(&mut binding), None)
            .await?;

        let pods = self
            .registry
            .endpoint_of(&PODS)
            .ok_or_else(Status::unknown_path)?;
        let cacher = pods.cacher()?;
        let (namespace, name) = (meta::namespace(&binding), meta::name(&binding));
        check_name(name)?;
        let key = cacher.key(namespace, name);
        let cached = cacher
            .get(namespace, name)
            .map(|cached| cached.parse_for_change());
        let now = self.registry.now();
        let mut assignment = Assignment {
            binding: &binding,
            dry_run: options.dry_run,
            now: &now,
        };
        self.registry
            .store
            .guaranteed_update(&key, &PODS, cached, None, Keep::Json, &mut assignment)
            .await?;

        let mut success = serde_json::to_value(Status::success(None)).map_err(Status::internal)?;
        success["code"] = json!(201);
        let object = success.as_object().cloned().unwrap_or_default();
        let accept = Accept {
            transform: Transform::None,
            ..accept
        };
        let gvk = GroupVersionKind::new("", "v1", "Status");
        respond_object(&context.headers, StatusCode::CREATED, accept, &object, &gvk)
    }
}

/// What may stand in the path of a pod: `bindings` take the name from the body, where nobody has looked at it.
fn check_name(name: &str) -> Result<(), Status> {
    if name.is_empty() {
        return Err(Status::bad_request("Name parameter required."));
    }
    match names::path_segment_name(name).as_slice() {
        [] => Ok(()),
        complaints => Err(Status::bad_request(format!(
            "Name parameter invalid: {name:?}: {}",
            complaints.join(";")
        ))),
    }
}

fn target<'a>(binding: &'a Object, field: &str) -> &'a str {
    binding
        .get("target")
        .and_then(|t| t.get(field))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn validate(binding: &Object) -> Result<(), Status> {
    let path = Path::new("target");
    let mut errors = Vec::new();
    if !matches!(target(binding, "kind"), "" | "Node") {
        let supported = ["Node", "<empty>"];
        errors.push(FieldError::not_supported(
            &path.child("kind"),
            target(binding, "kind"),
            &supported,
        ));
    }
    if target(binding, "name").is_empty() {
        errors.push(FieldError::required(&path.child("name"), ""));
    }
    // Upstream returns the bare complaints here, not an answer of its own.
    let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
    match messages.as_slice() {
        [] => Ok(()),
        [one] => Err(Status::unclassified(one)),
        many => Err(Status::unclassified(format!("[{}]", many.join(", ")))),
    }
}

struct Assignment<'a> {
    binding: &'a Object,
    dry_run: bool,
    now: &'a str,
}

#[async_trait]
impl Update for Assignment<'_> {
    async fn apply(&mut self, current: Option<&Stored>) -> Result<Next, Status> {
        let name = meta::name(self.binding);
        let Some(current) = current else {
            return Err(Status::not_found(&PODS, name));
        };
        let mut pod = current.object.clone();
        self.check(&pod)?;
        if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("nodeName".to_owned(), target(self.binding, "name").into());
        }
        if let Some(annotations) = meta::annotations(self.binding) {
            for (key, value) in annotations.clone() {
                meta::set_annotation(&mut pod, &key, value.as_str());
            }
        }
        // Among them those of the node's topology, which admission has put there.
        for (key, value) in meta::labels(self.binding).cloned().unwrap_or_default() {
            meta::set_label(&mut pod, &key, value.as_str());
        }
        set_scheduled(&mut pod, self.now);
        Ok(if self.dry_run {
            Next::Keep
        } else {
            Next::Put(pod)
        })
    }
}

impl Assignment<'_> {
    fn check(&self, pod: &Object) -> Result<(), Status> {
        let name = meta::name(pod);
        let conflict = |reason: String| {
            Status::conflict(&GroupResource::new("", "pods/binding"), name, reason)
        };
        let changed = |reason: String| Status::conflict(&PODS, name, reason);
        let (uid, version) = (
            meta::uid(self.binding),
            meta::resource_version(self.binding),
        );
        if !uid.is_empty() && uid != meta::uid(pod) {
            return Err(changed(format!(
                "StorageError: invalid object, Code: 4, Key: /registry/pods/{}/{name}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                meta::namespace(pod),
                meta::uid(pod)
            )));
        }
        if !version.is_empty() && version != meta::resource_version(pod) {
            return Err(changed(format!(
                "StorageError: invalid object, Code: 4, Key: /registry/pods/{}/{name}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {}",
                meta::namespace(pod),
                meta::resource_version(pod)
            )));
        }
        if meta::is_deleting(pod) {
            return Err(conflict(format!(
                "pod {name} is being deleted, cannot be assigned to a host"
            )));
        }
        let spec = pod.get("spec").and_then(Value::as_object);
        let node = spec
            .and_then(|s| s.get("nodeName"))
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !node.is_empty() {
            return Err(conflict(format!(
                "pod {name} is already assigned to node {node:?}"
            )));
        }
        let gated = spec
            .and_then(|s| s.get("schedulingGates"))
            .and_then(Value::as_array)
            .is_some_and(|gates| !gates.is_empty());
        if gated {
            return Err(conflict(format!(
                "pod {name} has non-empty .spec.schedulingGates"
            )));
        }
        Ok(())
    }
}

/// The condition that says so.
fn set_scheduled(pod: &mut Object, now: &str) {
    // It waits for no node any more (KEP-5278).
    if let Some(status) = pod.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("nominatedNodeName");
    }
    let condition = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now,
    });
    pod_condition::set(pod, condition);
}
