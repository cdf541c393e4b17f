//! `projected`: tokens of service accounts, config maps, secrets and the downward API in one directory.

use std::path::Path;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Pod, ServiceAccountTokenProjection, Volume};

use super::{
    MountedVolume, VolumeContext, VolumeError, VolumePlugin,
    atomic_writer::{File, Payload},
    downward_api,
    files::{DEFAULT_MODE, config_map, fs_group, project, secret, write_payload},
};
use crate::pod::{containers, init_containers, spec};

pub(super) struct Projected;

#[async_trait]
impl VolumePlugin for Projected {
    fn name(&self) -> &'static str {
        "projected"
    }

    fn handles(&self, volume: &Volume) -> bool {
        volume.projected.is_some()
    }

    async fn set_up(
        &self,
        context: &VolumeContext<'_>,
        volume: &Volume,
        directory: &Path,
    ) -> Result<MountedVolume, VolumeError> {
        let projected = volume.projected.clone().unwrap_or_default();
        let mode = projected.default_mode.unwrap_or(DEFAULT_MODE);
        let mut payload = Payload::new();
        for source in projected.sources.iter().flatten() {
            if let Some(source) = &source.config_map {
                let optional = source.optional == Some(true);
                let data = config_map(context, &source.name, optional)
                    .await?
                    .unwrap_or_default();
                project(&mut payload, &data, source.items.as_deref(), mode, optional)?;
            }
            if let Some(source) = &source.secret {
                let optional = source.optional == Some(true);
                let data = secret(context, &source.name, optional)
                    .await?
                    .unwrap_or_default();
                project(&mut payload, &data, source.items.as_deref(), mode, optional)?;
            }
            if let Some(source) = &source.downward_api {
                downward_api::items(
                    context,
                    &mut payload,
                    source.items.as_deref().unwrap_or_default(),
                    mode,
                )?;
            }
            if let Some(source) = &source.service_account_token {
                let file = token(context, source, mode).await?;
                payload.insert(source.path.clone(), file);
            }
            if source.cluster_trust_bundle.is_some() || source.pod_certificate.is_some() {
                return Err(VolumeError::Invalid(
                    "clusterTrustBundle and podCertificate projections are not supported by this node".to_owned(),
                ));
            }
        }
        write_payload(context, directory, &payload, true)
    }
}

async fn token(
    context: &VolumeContext<'_>,
    source: &ServiceAccountTokenProjection,
    mode: i32,
) -> Result<File, VolumeError> {
    let token = context.tokens.token(context.pod, source).await?;
    let owner = sole_user(context.pod);
    // Readable by whoever runs the containers, and by nobody else where that can be told.
    let mode = match (fs_group(context.pod), owner) {
        (Some(_), _) => 0o600,
        (None, Some(_)) => 0o600,
        (None, None) => u32::try_from(mode).unwrap_or(0o644),
    };
    Ok(File {
        data: token.into_bytes(),
        mode,
        owner,
    })
}

/// The user that all containers run as, if it is one.
fn sole_user(pod: &Pod) -> Option<u32> {
    let of_pod = spec(pod)
        .security_context
        .as_ref()
        .and_then(|context| context.run_as_user);
    let mut users = containers(pod)
        .iter()
        .chain(init_containers(pod))
        .map(|container| {
            container
                .security_context
                .as_ref()
                .and_then(|context| context.run_as_user)
                .or(of_pod)
        });
    let first = users.next()??;
    users
        .all(|user| user == Some(first))
        .then(|| u32::try_from(first).ok())
        .flatten()
}
