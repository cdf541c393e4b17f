//! EventRateLimit: so many Events a second and no more, for the server, each namespace, each user, or each source and object. Off by default;
//! its configuration (`eventratelimit.admission.k8s.io/v1alpha1 Configuration`) names the limits.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    lookup,
    status::Status,
};
use async_trait::async_trait;
use base::Clock;
use jiff::Timestamp;
use serde::Deserialize;

use super::{Admission, Operation, Plugin, configuration};

/// How many buckets a limit has if its configuration does not say.
const DEFAULT_BUCKETS: usize = 4096;
const TYPES: [&str; 4] = ["Namespace", "Server", "SourceAndObject", "User"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    #[serde(default)]
    limits: Vec<LimitConfiguration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LimitConfiguration {
    #[serde(rename = "type", default)]
    sort: String,
    #[serde(default)]
    qps: i32,
    #[serde(default)]
    burst: i32,
    #[serde(default)]
    cache_size: i32,
}

/// What is left for one key, as of a time.
struct Bucket {
    tokens: f64,
    at: Timestamp,
}

/// A limit with the buckets of its keys. When there are too many, the one that was used longest ago starts anew.
struct Limit {
    sort: String,
    per_second: f64,
    burst: f64,
    capacity: usize,
    buckets: Mutex<HashMap<String, Bucket>>,
}

impl Limit {
    fn key(&self, admission: &Admission<'_>) -> String {
        match self.sort.as_str() {
            "Namespace" => admission.namespace().to_owned(),
            "User" => admission.user.name.clone(),
            "SourceAndObject" => {
                let field = |path: &[&str]| {
                    let event = admission.new_object();
                    event.map_or("", |event| lookup::text(event, path))
                };
                [
                    field(&["source", "component"]),
                    field(&["source", "host"]),
                    field(&["involvedObject", "kind"]),
                    field(&["involvedObject", "namespace"]),
                    field(&["involvedObject", "name"]),
                    field(&["involvedObject", "uid"]),
                    field(&["involvedObject", "apiVersion"]),
                ]
                .concat()
            }
            _ => String::new(),
        }
    }

    /// Takes a token, if there is one.
    fn take(&self, key: &str, now: Timestamp) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if !buckets.contains_key(key) {
            if buckets.len() >= self.capacity {
                let oldest = buckets.iter().min_by_key(|(_, bucket)| bucket.at);
                let oldest = oldest.map(|(key, _)| key.clone());
                oldest.map(|key| buckets.remove(&key));
            }
            let full = Bucket {
                tokens: self.burst,
                at: now,
            };
            buckets.insert(key.to_owned(), full);
        }
        let Some(bucket) = buckets.get_mut(key) else {
            return true;
        };
        let passed = now.duration_since(bucket.at).as_secs_f64().max(0.0);
        bucket.tokens = (bucket.tokens + passed * self.per_second).min(self.burst);
        bucket.at = bucket.at.max(now);
        let there = bucket.tokens >= 1.0;
        if there {
            bucket.tokens -= 1.0;
        }
        there
    }
}

pub(super) struct EventRateLimit {
    limits: Vec<Limit>,
    clock: Clock,
}

impl EventRateLimit {
    pub(super) fn new(clock: Clock, configuration: Option<&Object>) -> Result<Self, String> {
        let versions = &["eventratelimit.admission.k8s.io/v1alpha1"];
        let configuration: Configuration = match configuration {
            Some(given) => configuration::decode_as(given, "Configuration", versions)?,
            None => Configuration { limits: Vec::new() },
        };
        let errors = validate(&configuration);
        if !errors.is_empty() {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            return Err(errors.join(", "));
        }
        let limits = configuration.limits.into_iter().map(|limit| Limit {
            sort: limit.sort,
            per_second: f64::from(limit.qps),
            burst: f64::from(limit.burst),
            capacity: match usize::try_from(limit.cache_size) {
                Ok(0) | Err(_) => DEFAULT_BUCKETS,
                Ok(size) => size,
            },
            buckets: Mutex::default(),
        });
        Ok(Self {
            limits: limits.collect(),
            clock,
        })
    }
}

fn validate(configuration: &Configuration) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::new("limits");
    if configuration.limits.is_empty() {
        errors.push(FieldError::invalid(&path, "[]", "must not be empty"));
    }
    for (index, limit) in configuration.limits.iter().enumerate() {
        let at = path.index(index);
        if !TYPES.contains(&limit.sort.as_str()) {
            let at = at.child("type");
            errors.push(FieldError::not_supported(&at, limit.sort.as_str(), &TYPES));
        }
        for (name, value) in [("burst", limit.burst), ("qps", limit.qps)] {
            if value <= 0 {
                errors.push(FieldError::invalid(
                    &at.child(name),
                    value,
                    "must be positive",
                ));
            }
        }
        if limit.sort != "Server" && limit.cache_size < 0 {
            let at = at.child("cacheSize");
            errors.push(FieldError::invalid(
                &at,
                limit.cache_size,
                "must not be negative",
            ));
        }
    }
    errors
}

#[async_trait]
impl Plugin for EventRateLimit {
    fn name(&self) -> &'static str {
        "EventRateLimit"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        let is_event = admission.kind.group.is_empty() && *admission.kind.kind == *"Event";
        if !is_event || admission.dry_run {
            return Ok(());
        }
        let now = self.clock.now();
        // Each limit counts the event, also when another has refused it.
        let mut refusals: Vec<String> = Vec::new();
        for limit in &self.limits {
            let key = limit.key(admission);
            if !limit.take(&key, now) {
                let sort = &limit.sort;
                refusals.push(format!("limit reached on type {sort} for key {key}"));
            }
        }
        let message = match refusals.as_slice() {
            [] => return Ok(()),
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        Err(Status::failure(429, "TooManyRequests", message))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn buckets_fill_again_and_are_bounded() {
        let limit = Limit {
            sort: "User".to_owned(),
            per_second: 1.0,
            burst: 2.0,
            capacity: 2,
            buckets: Mutex::default(),
        };
        let at = |seconds| Timestamp::UNIX_EPOCH + Duration::from_secs(seconds);
        let takes = |key: &str, seconds| limit.take(key, at(seconds));
        assert!(takes("a", 0) && takes("a", 0));
        assert!(!takes("a", 0));
        assert!(takes("a", 1));
        assert!(!takes("a", 1));
        assert!(takes("b", 2) && takes("c", 3));
        assert!(takes("a", 3) && takes("a", 3), "it was forgotten for c");
        assert!(limit.buckets.lock().unwrap().len() <= 2);
    }
}
