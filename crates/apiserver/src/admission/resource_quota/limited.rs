//! `ResourceQuotaConfiguration`: what may be used only where a quota covers it, instead of without bound where none does.

use api::quota::{self, Evaluator, Resources};
use apimachinery::{Object, gvk::GroupResource, lookup};
use serde::Deserialize;

use crate::admission::configuration;

/// Version and kind, as they were named over the years.
const NAMES: [(&str, &str); 4] = [
    ("apiserver.config.k8s.io/v1", "ResourceQuotaConfiguration"),
    ("resourcequota.admission.k8s.io/v1", "Configuration"),
    ("resourcequota.admission.k8s.io/v1beta1", "Configuration"),
    ("resourcequota.admission.k8s.io/v1alpha1", "Configuration"),
];

/// What is limited.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Limited {
    #[serde(default)]
    limited_resources: Vec<LimitedResource>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LimitedResource {
    #[serde(default)]
    api_group: String,
    #[serde(default)]
    resource: String,
    /// Parts of names of resources.
    #[serde(default)]
    match_contains: Vec<String>,
    /// Selectors of scopes.
    #[serde(default)]
    match_scopes: Vec<Object>,
}

impl Limited {
    pub(super) fn read(configuration: Option<&Object>) -> Result<Self, String> {
        let Some(given) = configuration else {
            return Ok(Self::default());
        };
        let version = lookup::text(given, &["apiVersion"]);
        let kind = NAMES.iter().find(|(known, _)| *known == version);
        let kind = kind.map_or("ResourceQuotaConfiguration", |(_, kind)| kind);
        let limited: Self = configuration::decode_as(given, kind, &NAMES.map(|(known, _)| known))?;
        for (index, resource) in limited.limited_resources.iter().enumerate() {
            if resource.resource.is_empty() {
                return Err(format!(
                    "limitedResources[{index}].resource: Required value"
                ));
            }
        }
        Ok(limited)
    }

    /// Whether nothing is: quotas say all there is to say.
    pub(super) fn is_empty(&self) -> bool {
        self.limited_resources.is_empty()
    }

    /// Which of what an object of a resource uses has to be covered.
    pub(super) fn names<'a>(&self, resource: &GroupResource, usage: &'a Resources) -> Vec<&'a str> {
        let of_resource: Vec<&LimitedResource> = self
            .limited_resources
            .iter()
            .filter(|limited| {
                *resource.group == *limited.api_group && *resource.resource == *limited.resource
            })
            .collect();
        let is_limited = |name: &str| {
            let mut parts = of_resource.iter().flat_map(|l| &l.match_contains);
            parts.any(|part| name.contains(part.as_str()))
        };
        let used = usage.iter().filter(|(_, quantity)| quantity.sign() > 0);
        used.map(|(name, _)| name.as_str())
            .filter(|name| is_limited(name))
            .collect()
    }

    /// The scopes that an object is in and a quota has to cover.
    pub(super) fn scopes(&self, evaluator: &Evaluator, object: &Object) -> Vec<&Object> {
        let selectors = self.limited_resources.iter().flat_map(|l| &l.match_scopes);
        selectors
            .filter(|selector| quota::matches_scope(selector, evaluator, object))
            .collect()
    }
}

/// Selectors as upstream prints them: `[{PriorityClass In [high]}]`.
pub(super) fn print(selectors: &[&Object]) -> String {
    let printed: Vec<String> = selectors
        .iter()
        .map(|selector| {
            format!(
                "{{{} {} [{}]}}",
                lookup::text(selector, &["scopeName"]),
                lookup::text(selector, &["operator"]),
                lookup::strings(selector, &["values"]).join(" ")
            )
        })
        .collect();
    format!("[{}]", printed.join(" "))
}
