//! The CRI's `ImageService` over [`Images`].

use std::collections::HashMap;

use async_trait::async_trait;
use base64::Engine as _;
use cri::{Code, CriError, ImageService, Result, v1::*};

use crate::{
    images::{Credentials, ImageError, ImageRecord},
    runtime::Runtime,
};

fn failed(error: ImageError) -> CriError {
    let code = match &error {
        ImageError::Reference(_) => Code::InvalidArgument,
        ImageError::NotFound(_) => Code::NotFound,
        ImageError::Pull {
            source: crate::images::RegistryError::NotFound(_),
            ..
        } => Code::NotFound,
        _ => Code::Unknown,
    };
    CriError::new(code, error.to_string()).with_source(error)
}

fn wanted(spec: Option<ImageSpec>) -> Result<String> {
    let name = spec.map(|spec| spec.image).unwrap_or_default();
    if name.is_empty() {
        return Err(CriError::invalid("image name must be given"));
    }
    Ok(name)
}

/// A pull's credentials, from whichever of its fields the kubelet has filled.
fn credentials(auth: AuthConfig) -> Result<Option<Credentials>> {
    if !auth.registry_token.is_empty() {
        return Ok(Some(Credentials::Bearer(auth.registry_token)));
    }
    if !auth.identity_token.is_empty() {
        return Ok(Some(Credentials::Identity(auth.identity_token)));
    }
    if !auth.username.is_empty() {
        let (username, password) = (auth.username, auth.password);
        return Ok(Some(Credentials::Basic { username, password }));
    }
    if auth.auth.is_empty() {
        return Ok(None);
    }
    let invalid = || CriError::invalid("invalid auth in the pull's credentials");
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(auth.auth.trim())
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(invalid)?;
    let (username, password) = decoded.split_once(':').ok_or_else(invalid)?;
    Ok(Some(Credentials::Basic {
        username: username.to_owned(),
        password: password.trim_matches('\0').to_owned(),
    }))
}

impl Runtime {
    fn image(&self, record: &ImageRecord) -> Image {
        let user = self
            .images()
            .config(record)
            .map(|config| config.config.user);
        let user = user.unwrap_or_default();
        let user = user.split(':').next().unwrap_or_default();
        let uid = if user.is_empty() {
            Some(0)
        } else {
            user.parse::<i64>().ok()
        };
        Image {
            id: record.id.to_string(),
            repo_tags: record.tags.clone(),
            repo_digests: record.digests.clone(),
            size: record.size,
            uid: uid.map(|value| Int64Value { value }),
            username: if uid.is_none() {
                user.to_owned()
            } else {
                String::new()
            },
            spec: None,
            pinned: record.pinned,
        }
    }
}

#[async_trait]
impl ImageService for Runtime {
    async fn list_images(&self, request: ListImagesRequest) -> Result<ListImagesResponse> {
        let filter = request
            .filter
            .and_then(|filter| filter.image)
            .map(|image| image.image);
        let records = match filter.filter(|name| !name.is_empty()) {
            Some(name) => self.images().find(&name).into_iter().collect(),
            None => self.images().list(),
        };
        Ok(ListImagesResponse {
            images: records.iter().map(|r| self.image(r)).collect(),
        })
    }

    async fn image_status(&self, request: ImageStatusRequest) -> Result<ImageStatusResponse> {
        let found = self.images().find(&wanted(request.image)?);
        let image = found.map(|record| self.image(&record));
        Ok(ImageStatusResponse {
            image,
            info: HashMap::new(),
        })
    }

    async fn pull_image(&self, request: PullImageRequest) -> Result<PullImageResponse> {
        let name = wanted(request.image)?;
        let credentials = request.auth.map(credentials).transpose()?.flatten();
        let record = self
            .images()
            .pull(&name, credentials)
            .await
            .map_err(failed)?;
        Ok(PullImageResponse {
            image_ref: record.id.to_string(),
        })
    }

    async fn remove_image(&self, request: RemoveImageRequest) -> Result<RemoveImageResponse> {
        if self
            .images()
            .remove(&wanted(request.image)?)
            .map_err(failed)?
        {
            let in_use = self
                .containers()
                .iter()
                .flat_map(|container| container.record().lower)
                .collect();
            self.images()
                .collect_garbage(in_use)
                .await
                .map_err(failed)?;
        }
        Ok(RemoveImageResponse {})
    }

    async fn image_fs_info(&self, _: ImageFsInfoRequest) -> Result<ImageFsInfoResponse> {
        let (bytes, inodes, root) = self.images().usage().await;
        let usage = FilesystemUsage {
            timestamp: self.now(),
            fs_id: Some(FilesystemIdentifier {
                mountpoint: root.display().to_string(),
            }),
            used_bytes: Some(UInt64Value { value: bytes }),
            inodes_used: Some(UInt64Value { value: inodes }),
        };
        Ok(ImageFsInfoResponse {
            image_filesystems: vec![usage.clone()],
            container_filesystems: vec![usage],
        })
    }
}
