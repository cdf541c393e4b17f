//! The environment of a container: `envFrom`, then `env` in order, with service variables beneath both.
//!
//! Later entries win; `$(NAME)` in a value is replaced by what came before it. Objects are read through [`ObjectSource`], so that
//! the maker of the environment knows no API.

mod downward;
mod expansion;
mod file;
mod service;

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, Secret, Service};
use thiserror::Error;

pub use downward::{FieldContext, field_value, resource_field_value};
pub use expansion::expand;
pub use service::service_variables;

use crate::{
    pod::{namespace, spec},
    volumes::MountedVolume,
};

/// Why a container cannot be configured: `CreateContainerConfigError`.
#[derive(Debug, Error)]
pub enum EnvError {
    /// An object that is not optional is not there.
    #[error("{kind} {name:?} not found")]
    NotFound {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A key that is not optional is not there.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey {
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// Key.
        key: String,
    },
    /// The API could not be asked, and nothing is known from before.
    #[error("{0}")]
    Unavailable(String),
    /// The reference itself makes no sense.
    #[error("{0}")]
    Invalid(String),
}

/// Where config maps and secrets come from.
#[async_trait]
pub trait ObjectSource: Send + Sync {
    /// One config map; none if it is not there.
    async fn config_map(&self, namespace: &str, name: &str) -> Result<Option<ConfigMap>, EnvError>;
    /// One secret; none if it is not there.
    async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, EnvError>;
}

/// What goes into a container's environment beside its spec.
pub struct EnvContext<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its addresses and the node's.
    pub fields: FieldContext,
    /// Services of the pod's namespace, and `kubernetes` of the default one.
    pub services: &'a [Service],
    /// Objects.
    pub objects: &'a dyn ObjectSource,
    /// The pod's volumes, as they were set up: variables may come from their files.
    pub volumes: &'a HashMap<String, MountedVolume>,
}

/// The environment of one container, by name.
pub async fn container_env(
    context: &EnvContext<'_>,
    container: &Container,
) -> Result<BTreeMap<String, String>, EnvError> {
    let links = spec(context.pod).enable_service_links.unwrap_or(true);
    let service_env = service_variables(namespace(context.pod), context.services, links);
    let mut env = from_sources(context, container).await?;
    for variable in container.env.iter().flatten() {
        let value = match &variable.value_from {
            Some(source) => match from_source(context, container, source).await? {
                Some(value) => value,
                None => continue,
            },
            None => expand(variable.value.as_deref().unwrap_or_default(), |name| {
                env.get(name).or_else(|| service_env.get(name)).cloned()
            }),
        };
        env.insert(variable.name.clone(), value);
    }
    for (name, value) in service_env {
        env.entry(name).or_insert(value);
    }
    Ok(env)
}

async fn from_sources(
    context: &EnvContext<'_>,
    container: &Container,
) -> Result<BTreeMap<String, String>, EnvError> {
    let namespace = namespace(context.pod);
    let mut env = BTreeMap::new();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &source.config_map_ref {
            match context
                .objects
                .config_map(namespace, &reference.name)
                .await?
            {
                Some(object) => {
                    for (key, value) in object.data.unwrap_or_default() {
                        env.insert(format!("{prefix}{key}"), value);
                    }
                }
                None if reference.optional == Some(true) => {}
                None => return Err(not_found("configmap", &reference.name)),
            }
        }
        if let Some(reference) = &source.secret_ref {
            match context.objects.secret(namespace, &reference.name).await? {
                Some(object) => {
                    for (key, value) in object.data.unwrap_or_default() {
                        env.insert(
                            format!("{prefix}{key}"),
                            String::from_utf8_lossy(&value.0).into_owned(),
                        );
                    }
                }
                None if reference.optional == Some(true) => {}
                None => return Err(not_found("secret", &reference.name)),
            }
        }
    }
    Ok(env)
}

fn not_found(kind: &'static str, name: &str) -> EnvError {
    EnvError::NotFound {
        kind,
        name: name.to_owned(),
    }
}

/// The value of a `valueFrom`; none where what it names is optional and not there.
async fn from_source(
    context: &EnvContext<'_>,
    container: &Container,
    source: &EnvVarSource,
) -> Result<Option<String>, EnvError> {
    let namespace = namespace(context.pod);
    if let Some(field) = &source.field_ref {
        return field_value(context.pod, &context.fields, &field.field_path).map(Some);
    }
    if let Some(field) = &source.resource_field_ref {
        return resource_field_value(context.pod, Some(container), &context.fields, field)
            .map(Some);
    }
    if let Some(reference) = &source.config_map_key_ref {
        let optional = reference.optional == Some(true);
        let Some(object) = context
            .objects
            .config_map(namespace, &reference.name)
            .await?
        else {
            return if optional {
                Ok(None)
            } else {
                Err(not_found("configmap", &reference.name))
            };
        };
        return match object.data.unwrap_or_default().remove(&reference.key) {
            Some(value) => Ok(Some(value)),
            None if optional => Ok(None),
            None => Err(no_key(
                "ConfigMap",
                namespace,
                &reference.name,
                &reference.key,
            )),
        };
    }
    if let Some(reference) = &source.secret_key_ref {
        let optional = reference.optional == Some(true);
        let Some(object) = context.objects.secret(namespace, &reference.name).await? else {
            return if optional {
                Ok(None)
            } else {
                Err(not_found("secret", &reference.name))
            };
        };
        return match object.data.unwrap_or_default().remove(&reference.key) {
            Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
            None if optional => Ok(None),
            None => Err(no_key("Secret", namespace, &reference.name, &reference.key)),
        };
    }
    if let Some(reference) = &source.file_key_ref {
        let volume = context.volumes.get(&reference.volume_name);
        let Some(MountedVolume::Path { path: volume, .. }) = volume else {
            return Err(EnvError::Invalid(format!(
                "cannot find the volume {:?} referenced by FileKeyRef",
                reference.volume_name
            )));
        };
        let found = file::file_value(volume, &reference.path, &reference.key).map_err(|why| {
            tracing::warn!(why, "unusable environment file");
            EnvError::Invalid("couldn't parse env file".to_owned())
        })?;
        if found.is_none() && reference.optional != Some(true) {
            return Err(EnvError::Invalid(format!(
                "environment variable key {:?} not found in file {:?}",
                reference.key,
                volume.join(&reference.path)
            )));
        }
        return Ok(found);
    }
    Ok(None)
}

fn no_key(kind: &'static str, namespace: &str, name: &str, key: &str) -> EnvError {
    EnvError::NoKey {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        key: key.to_owned(),
    }
}
