//! Kubernetes' `authorizer`: `authorizer.group('').resource('pods').namespace('x').check('create').allowed()`.
//!
//! Decisions come from the caller through [`Authorize`], which answers synchronously: evaluation never waits. What cannot be answered without waiting has to be
//! asked for before, or evaluated where waiting is allowed.

use std::sync::Arc;

use apimachinery::names;

use super::{Opaque, Result, arguments, failed, mismatch, opaque, rows};
use crate::{cost::Cost, types::Type, value::Value};

/// The type of `authorizer`.
pub(crate) const AUTHORIZER: Type = Type::Opaque("kubernetes.authorization.Authorizer");
/// The type of `authorizer.requestResource`.
pub(crate) const RESOURCE_CHECK: Type = Type::Opaque("kubernetes.authorization.ResourceCheck");

rows! {
    "path", "kubernetes.authorization.Authorizer.(string) -> kubernetes.authorization.PathCheck", Cost::Fixed(1), path;
    "group", "kubernetes.authorization.Authorizer.(string) -> kubernetes.authorization.GroupCheck", Cost::Fixed(1), group;
    "serviceAccount", "kubernetes.authorization.Authorizer.(string, string) -> kubernetes.authorization.Authorizer", Cost::Fixed(1), service_account;
    "resource", "kubernetes.authorization.GroupCheck.(string) -> kubernetes.authorization.ResourceCheck", Cost::Fixed(1), resource;
    "subresource", "kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.ResourceCheck", Cost::Fixed(1), |args| refine(args, |a, text| a.subresource = text);
    "namespace", "kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.ResourceCheck", Cost::Fixed(1), |args| refine(args, |a, text| a.namespace = text);
    "name", "kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.ResourceCheck", Cost::Fixed(1), |args| refine(args, |a, text| a.name = text);
    "fieldSelector", "kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.ResourceCheck", Cost::Selector, |args| refine(args, |a, text| a.field_selector = Some(text));
    "labelSelector", "kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.ResourceCheck", Cost::Selector, |args| refine(args, |a, text| a.label_selector = Some(text));
    "check", "kubernetes.authorization.PathCheck.(string) -> kubernetes.authorization.Decision", Cost::Fixed(350_000), check;
    "check", "kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.Decision", Cost::Fixed(350_000), check;
    "errored", "kubernetes.authorization.Decision.() -> bool", Cost::Fixed(1), |args| decision(args, |d| d.error.is_some().into());
    "error", "kubernetes.authorization.Decision.() -> string", Cost::Fixed(1), |args| decision(args, |d| d.error.clone().unwrap_or_default().into());
    "allowed", "kubernetes.authorization.Decision.() -> bool", Cost::Fixed(1), |args| decision(args, |d| d.allowed.into());
    "reason", "kubernetes.authorization.Decision.() -> string", Cost::Fixed(1), |args| decision(args, |d| d.reason.clone().into());
}

/// Answers what an expression asks. Must not block.
pub trait Authorize: Sync {
    /// Whether the request's user, or the service account if one is named, may do this.
    fn authorize(&self, attributes: &Attributes) -> Decision;
}

/// What an expression asks about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Namespace and name of the service account that is asked about instead of the request's user.
    pub service_account: Option<(String, String)>,
    /// The verb; of a path, the HTTP method as written.
    pub verb: String,
    /// A path, if it is not about a resource.
    pub non_resource: Option<NonResource>,
    /// The API group.
    pub group: String,
    /// The resource, in plural.
    pub resource: String,
    /// The subresource, if any.
    pub subresource: String,
    /// The namespace, if any.
    pub namespace: String,
    /// The name, if any.
    pub name: String,
    /// A field selector, unparsed.
    pub field_selector: Option<String>,
    /// A label selector, unparsed.
    pub label_selector: Option<String>,
}

/// A path that names no resource: `/healthz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonResource {
    /// The path.
    pub path: String,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// Why there is no good answer.
    pub error: Option<String>,
}

/// How far a question has come.
#[derive(Clone)]
pub struct Step<'a> {
    authorizer: &'a dyn Authorize,
    stage: Stage,
    attributes: Arc<Attributes>,
}

#[derive(Clone, Debug)]
enum Stage {
    Authorizer,
    Path,
    Group,
    Resource,
    Decided(Decision),
}

impl std::fmt::Debug for Step<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Step")
            .field(&self.stage)
            .field(&self.attributes)
            .finish()
    }
}

impl<'a> Step<'a> {
    pub(crate) fn type_name(&self) -> &'static str {
        match self.stage {
            Stage::Authorizer => "kubernetes.authorization.Authorizer",
            Stage::Path => "kubernetes.authorization.PathCheck",
            Stage::Group => "kubernetes.authorization.GroupCheck",
            Stage::Resource => "kubernetes.authorization.ResourceCheck",
            Stage::Decided(_) => "kubernetes.authorization.Decision",
        }
    }

    /// The next step of the question.
    fn next(&self, stage: Stage, change: impl FnOnce(&mut Attributes)) -> Value<'a> {
        let mut attributes = (*self.attributes).clone();
        change(&mut attributes);
        Value::opaque(Opaque::Authorizer(Step {
            authorizer: self.authorizer,
            stage,
            attributes: Arc::new(attributes),
        }))
    }
}

impl<'a> Value<'a> {
    /// The value of `authorizer`.
    pub fn authorizer(authorizer: &'a dyn Authorize) -> Self {
        Self::opaque(Opaque::Authorizer(Step {
            authorizer,
            stage: Stage::Authorizer,
            attributes: Arc::default(),
        }))
    }

    /// The value of `authorizer.requestResource`: a check of what the request is about.
    pub fn resource_check(authorizer: &'a dyn Authorize, attributes: Attributes) -> Self {
        Self::opaque(Opaque::Authorizer(Step {
            authorizer,
            stage: Stage::Resource,
            attributes: Arc::new(attributes),
        }))
    }
}

fn path<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [step, Value::String(path)]);
    let step = opaque!(step, Authorizer);
    if path.trim().is_empty() {
        return failed("path must not be empty");
    }
    Ok(step.next(Stage::Path, |attributes| {
        attributes.non_resource = Some(NonResource {
            path: path.to_string(),
        });
    }))
}

fn group<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [step, Value::String(group)]);
    let step = opaque!(step, Authorizer);
    Ok(step.next(Stage::Group, |attributes| {
        attributes.group = group.to_string()
    }))
}

fn service_account<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [step, Value::String(namespace), Value::String(name)]);
    let step = opaque!(step, Authorizer);
    if !names::dns1123_subdomain(name).is_empty() {
        return failed("Invalid service account name");
    }
    if !names::dns1123_label(namespace).is_empty() {
        return failed("Invalid service account namespace");
    }
    Ok(step.next(Stage::Authorizer, |attributes| {
        attributes.service_account = Some((namespace.to_string(), name.to_string()));
    }))
}

fn resource<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [step, Value::String(resource)]);
    let step = opaque!(step, Authorizer);
    if resource.trim().is_empty() {
        return failed("resource must not be empty");
    }
    Ok(step.next(Stage::Resource, |attributes| {
        attributes.resource = resource.to_string();
    }))
}

fn refine<'a>(args: &[Value<'a>], change: fn(&mut Attributes, String)) -> Result<'a> {
    arguments!(args, [step, Value::String(text)]);
    let step = opaque!(step, Authorizer);
    Ok(step.next(Stage::Resource, |attributes| {
        change(attributes, text.to_string());
    }))
}

fn check<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [step, Value::String(verb)]);
    let step = opaque!(step, Authorizer);
    let mut attributes = (*step.attributes).clone();
    attributes.verb = verb.to_string();
    let decision = step.authorizer.authorize(&attributes);
    Ok(step.next(Stage::Decided(decision), |asked| *asked = attributes))
}

fn decision<'a>(args: &[Value<'a>], what: fn(&Decision) -> Value<'static>) -> Result<'a> {
    arguments!(args, [step]);
    match &opaque!(step, Authorizer).stage {
        Stage::Decided(decision) => Ok(what(decision)),
        _ => mismatch(),
    }
}
