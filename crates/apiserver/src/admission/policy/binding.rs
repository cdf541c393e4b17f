//! A binding, compiled: which policy, for which requests, with which parameters, and what a refusal means.

use apimachinery::{Object, labels::Selector, meta};

use super::super::matching::Matcher;
use crate::lookup;

/// A binding of either sort.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) policy: String,
    /// None: all that the policy matches.
    pub(super) matcher: Option<Matcher>,
    pub(super) params: Option<ParamRef>,
    /// `Deny`, `Warn`, `Audit`; of a mutating policy none.
    pub(super) actions: Vec<String>,
}

/// Which parameters.
#[derive(Debug)]
pub(super) struct ParamRef {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) selector: Option<Result<Selector, String>>,
    /// Whether it is an error if there are none.
    pub(super) denies_absence: bool,
}

impl Binding {
    pub(super) fn of(binding: &Object) -> Self {
        let empty = Object::new();
        let spec = lookup::map(binding, &["spec"]).unwrap_or(&empty);
        Self {
            name: meta::name(binding).to_owned(),
            policy: lookup::text(spec, &["policyName"]).to_owned(),
            matcher: lookup::map(spec, &["matchResources"]).map(Matcher::of_policy),
            params: lookup::map(spec, &["paramRef"]).map(|reference| ParamRef {
                name: lookup::text(reference, &["name"]).to_owned(),
                namespace: lookup::text(reference, &["namespace"]).to_owned(),
                selector: lookup::map(reference, &["selector"])
                    .map(|selector| Selector::from_object(Some(selector))),
                denies_absence: lookup::text(reference, &["parameterNotFoundAction"]) == "Deny",
            }),
            actions: lookup::strings(spec, &["validationActions"]),
        }
    }
}
