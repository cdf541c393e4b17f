//! DeleteOptions: from the body, or from the query when there is no body; checked as upstream's `ValidateDeleteOptions`.

use apimachinery::{
    Object,
    field::{FieldError, Path},
    status::Status,
};
use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

use super::{codec, options::dry_run_errors};
use crate::{negotiation::ContentEncoding, query::Query};

/// What happens to dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Propagation {
    /// They lose their owner.
    Orphan,
    /// They go after.
    Background,
    /// They go first.
    Foreground,
}

/// How to delete.
#[derive(Clone, Debug, Default)]
pub(super) struct DeleteOptions {
    pub(super) grace_period_seconds: Option<i64>,
    pub(super) uid: Option<String>,
    pub(super) resource_version: Option<String>,
    pub(super) propagation: Option<Propagation>,
    /// The older way to say it.
    pub(super) orphan_dependents: Option<bool>,
    pub(super) dry_run: bool,
    /// As admission sees them.
    pub(super) object: Object,
    /// Admission has had its say about the request as a whole: an eviction is no delete there.
    pub(super) is_admitted: bool,
}

impl DeleteOptions {
    /// Reads and checks.
    pub(super) fn parse(headers: &HeaderMap, query: &Query, body: &Bytes) -> Result<Self, Status> {
        let object = if body.is_empty() {
            from_query(query)?
        } else {
            codec::delete_options(ContentEncoding::of(headers)?, body)?
        };
        Self::of_object(object)
    }

    /// Of options as an object.
    pub(super) fn of_object(object: Object) -> Result<Self, Status> {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let preconditions = object.get("preconditions");
        let precondition = |name: &str| text(preconditions.and_then(|p| p.get(name)));
        let policy = text(object.get("propagationPolicy"));
        let orphan_dependents = object.get("orphanDependents").and_then(Value::as_bool);
        let dry_run: Vec<&str> = object
            .get("dryRun")
            .and_then(Value::as_array)
            .map(|values| values.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let mut errors = Vec::new();
        let path = Path::new("propagationPolicy");
        if policy.is_some() && orphan_dependents.is_some() {
            errors.push(FieldError::invalid(
                &path,
                policy.clone().unwrap_or_default(),
                "orphanDependents and deletionPropagation cannot be both set",
            ));
        }
        let propagation = match policy.as_deref() {
            Some("Orphan") => Some(Propagation::Orphan),
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            None => None,
            Some(other) => {
                let supported = ["Foreground", "Background", "Orphan", "nil"];
                errors.push(FieldError::not_supported(&path, other, &supported));
                None
            }
        };
        errors.extend(dry_run_errors(&dry_run));
        if !errors.is_empty() {
            return Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &errors));
        }
        let dry_run = !dry_run.is_empty();
        Ok(Self {
            grace_period_seconds: object.get("gracePeriodSeconds").and_then(Value::as_i64),
            uid: precondition("uid"),
            resource_version: precondition("resourceVersion"),
            propagation,
            orphan_dependents,
            dry_run,
            object,
            is_admitted: false,
        })
    }

    /// The same in the words of upstream's storage of namespaces and of definitions, which look for themselves.
    pub(super) fn check_own_preconditions(&self, uid: &str, version: &str) -> Result<(), String> {
        for (what, wanted, found) in [
            ("UID", &self.uid, uid),
            ("ResourceVersion", &self.resource_version, version),
        ] {
            if let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != found) {
                return Err(format!(
                    "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
                ));
            }
        }
        Ok(())
    }

    /// Uid and resourceVersion demanded, against what is there.
    pub(super) fn check_preconditions(&self, uid: &str, version: &str) -> Result<(), String> {
        if let Some(wanted) = self.uid.as_deref()
            && wanted != uid
        {
            return Err(format!(
                "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
            ));
        }
        if let Some(wanted) = self.resource_version.as_deref()
            && wanted != version
        {
            return Err(format!(
                "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({version}). The object might have been modified"
            ));
        }
        Ok(())
    }
}

fn from_query(query: &Query) -> Result<Object, Status> {
    let mut object = Object::new();
    object.insert("kind".to_owned(), "DeleteOptions".into());
    object.insert("apiVersion".to_owned(), "v1".into());
    if let Some(seconds) = query.integer("gracePeriodSeconds")? {
        object.insert("gracePeriodSeconds".to_owned(), seconds.into());
    }
    if let Some(policy) = query.get("propagationPolicy") {
        object.insert("propagationPolicy".to_owned(), policy.into());
    }
    if query.get("orphanDependents").is_some() {
        object.insert(
            "orphanDependents".to_owned(),
            query.flag("orphanDependents").into(),
        );
    }
    let mut preconditions = Object::new();
    for field in ["uid", "resourceVersion"] {
        if let Some(value) = query.get(field).filter(|v| !v.is_empty()) {
            preconditions.insert(field.to_owned(), value.into());
        }
    }
    if !preconditions.is_empty() {
        object.insert("preconditions".to_owned(), preconditions.into());
    }
    let dry_run: Vec<&str> = query.all("dryRun").collect();
    if !dry_run.is_empty() {
        object.insert("dryRun".to_owned(), dry_run.into());
    }
    Ok(object)
}
