//! `PodSecurityConfiguration`: what holds where a namespace's labels say nothing, and whom no level holds back.

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    names,
};
use serde::Deserialize;

use super::policy::{LevelVersion, Policy, parse_level, parse_version};
use crate::admission::configuration;

const VERSIONS: &[&str] = &[
    "pod-security.admission.config.k8s.io/v1",
    "pod-security.admission.config.k8s.io/v1beta1",
    "pod-security.admission.config.k8s.io/v1alpha1",
];

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    defaults: Defaults,
    #[serde(default)]
    exemptions: Exemptions,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Defaults {
    enforce: String,
    enforce_version: String,
    audit: String,
    audit_version: String,
    warn: String,
    warn_version: String,
}

/// Who and what is not looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Exemptions {
    pub(super) usernames: Vec<String>,
    pub(super) namespaces: Vec<String>,
    pub(super) runtime_classes: Vec<String>,
}

/// The policy of namespaces without labels, and the exemptions.
pub(super) fn read(configuration: Option<&Object>) -> Result<(Policy, Exemptions), String> {
    let Some(given) = configuration else {
        return Ok(Default::default());
    };
    let file: File = configuration::decode_as(given, "PodSecurityConfiguration", VERSIONS)?;
    let mut errors = ErrorList::new();
    let defaults = &file.defaults;
    let policy = Policy {
        enforce: level(
            "enforce",
            &defaults.enforce,
            &defaults.enforce_version,
            &mut errors,
        ),
        audit: level(
            "audit",
            &defaults.audit,
            &defaults.audit_version,
            &mut errors,
        ),
        warn: level("warn", &defaults.warn, &defaults.warn_version, &mut errors),
    };
    let exempt = &file.exemptions;
    check(
        "namespaces",
        &exempt.namespaces,
        names::dns1123_label,
        &mut errors,
    );
    check(
        "runtimeClasses",
        &exempt.runtime_classes,
        names::dns1123_subdomain,
        &mut errors,
    );
    let username = |name: &str| {
        if name.is_empty() {
            vec!["username must not be empty".to_owned()]
        } else {
            Vec::new()
        }
    };
    check("usernames", &exempt.usernames, username, &mut errors);
    if errors.is_empty() {
        return Ok((policy, file.exemptions));
    }
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Err(errors.join(", "))
}

/// A level and its version, each with its default.
fn level(mode: &str, level: &str, version: &str, errors: &mut ErrorList) -> LevelVersion {
    let at = |name: &str| Path::new("defaults").child(name);
    let mut read = LevelVersion::default();
    if !level.is_empty() {
        match parse_level(level) {
            Ok(level) => read.level = level,
            Err(reason) => errors.push(FieldError::invalid(&at(mode), level, reason)),
        }
    }
    if !version.is_empty() {
        match parse_version(version) {
            Ok(minor) => read.minor = minor,
            Err(reason) => {
                let at = at(&format!("{mode}-version"));
                errors.push(FieldError::invalid(&at, version, reason));
            }
        }
    }
    read
}

/// Names that are right, each once.
fn check(
    list: &str,
    names: &[String],
    wrong: impl Fn(&str) -> Vec<String>,
    errors: &mut ErrorList,
) {
    let mut seen = BTreeSet::new();
    for (index, name) in names.iter().enumerate() {
        let at = Path::new("exemptions").child(list).index(index);
        let reasons = wrong(name);
        if !reasons.is_empty() {
            errors.push(FieldError::invalid(&at, name.as_str(), reasons.join(", ")));
        } else if !seen.insert(name) {
            errors.push(FieldError::duplicate(&at, name.as_str()));
        }
    }
}
