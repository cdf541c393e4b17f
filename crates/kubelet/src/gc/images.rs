//! Image garbage collection: when the disk of images is fuller than the high threshold, images that no container uses go, the longest
//! unused first, until it is emptier than the low one.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use base::Clock;
use cri::{CriError, ImageService, RuntimeService, v1};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    config::KubeletConfig,
    events::{EventKind, PodEvents},
    node::disk,
};

/// Upstream's `ImageGCPeriod`.
const PERIOD: Duration = Duration::from_secs(300);

/// An image as the collector knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    first_seen: Timestamp,
    last_used: Timestamp,
    size: u64,
    pinned: bool,
}

/// The collector.
pub struct ImageGc {
    runtime: Arc<dyn RuntimeService>,
    images: Arc<dyn ImageService>,
    config: Arc<KubeletConfig>,
    clock: Clock,
    events: PodEvents,
    records: HashMap<String, Record>,
}

impl ImageGc {
    /// Of this runtime.
    pub fn new(
        runtime: Arc<dyn RuntimeService>,
        images: Arc<dyn ImageService>,
        config: Arc<KubeletConfig>,
        clock: Clock,
        events: PodEvents,
    ) -> Self {
        Self {
            runtime,
            images,
            config,
            clock,
            events,
            records: HashMap::new(),
        }
    }

    /// Looks every five minutes until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let work = async {
            loop {
                if let Err(error) = self.collect().await {
                    warn!(%error, "image garbage collection failed");
                }
                tokio::time::sleep(PERIOD).await;
            }
        };
        let _ = cancel.run_until_cancelled(work).await;
    }

    async fn collect(&mut self) -> Result<(), CriError> {
        self.detect().await?;
        let info = self.images.image_fs_info(v1::ImageFsInfoRequest {}).await?;
        let Some(mount) = info
            .image_filesystems
            .into_iter()
            .find_map(|fs| fs.fs_id)
            .map(|id| id.mountpoint)
        else {
            return Ok(());
        };
        let (capacity, available, ..) =
            disk(Path::new(&mount)).map_err(|error| CriError::internal(error.to_string()))?;
        if self.config.image_gc_high_threshold_percent >= 100 {
            // As upstream has it: never for the disk's sake.
            return Ok(());
        }
        let Some(to_free) = bytes_to_free(
            capacity,
            available,
            self.config.image_gc_high_threshold_percent,
            self.config.image_gc_low_threshold_percent,
        ) else {
            return Ok(());
        };
        let freed = self.free(to_free).await;
        if freed < to_free {
            let message = format!(
                "Failed to garbage collect required amount of images. Attempted to free {to_free} bytes, but only found {freed} \
                 bytes eligible to free."
            );
            self.events.node(
                &self.config.node_name,
                EventKind::Warning,
                "FreeDiskSpaceFailed",
                message,
            );
        }
        Ok(())
    }

    /// Notes what is there and what is used.
    async fn detect(&mut self) -> Result<(), CriError> {
        let now = self.clock.now();
        let images = self
            .images
            .list_images(v1::ListImagesRequest::default())
            .await?
            .images;
        let containers = self
            .runtime
            .list_containers(v1::ListContainersRequest::default())
            .await?
            .containers;
        let used: HashSet<String> = containers
            .into_iter()
            .flat_map(|c| [c.image_id, c.image_ref])
            .collect();
        let present: HashSet<_> = images.iter().map(|image| image.id.clone()).collect();
        self.records.retain(|id, _| present.contains(id));
        for image in images {
            let in_use = used.contains(&image.id)
                || image
                    .repo_digests
                    .iter()
                    .any(|digest| used.contains(digest));
            let record = self.records.entry(image.id).or_insert(Record {
                first_seen: now,
                last_used: Timestamp::UNIX_EPOCH,
                size: image.size,
                pinned: false,
            });
            record.pinned = image.pinned;
            if in_use {
                record.last_used = now;
            }
        }
        Ok(())
    }

    async fn free(&mut self, to_free: u64) -> u64 {
        let min_age =
            SignedDuration::try_from(self.config.image_minimum_gc_age).unwrap_or_default();
        let mut freed = 0;
        for (id, size) in candidates(&self.records, self.clock.now(), min_age) {
            if freed >= to_free {
                break;
            }
            let spec = v1::ImageSpec {
                image: id.clone(),
                ..Default::default()
            };
            match self
                .images
                .remove_image(v1::RemoveImageRequest { image: Some(spec) })
                .await
            {
                Ok(_) => {
                    info!(image = id, size, "removed unused image");
                    self.records.remove(&id);
                    freed += size;
                }
                Err(error) => warn!(image = id, %error, "cannot remove unused image"),
            }
        }
        freed
    }
}

/// How much is to be freed of a disk; nothing below the high threshold.
fn bytes_to_free(capacity: u64, available: u64, high: u8, low: u8) -> Option<u64> {
    let used = capacity.saturating_sub(available);
    if capacity == 0 || used * 100 / capacity < u64::from(high) {
        return None;
    }
    Some((capacity * (100 - u64::from(low)) / 100).saturating_sub(available))
}

/// Images that may go, the longest unused first: not in use now, not pinned, not younger than `min_age`.
fn candidates(
    records: &HashMap<String, Record>,
    now: Timestamp,
    min_age: SignedDuration,
) -> Vec<(String, u64)> {
    let mut list: Vec<_> = records
        .iter()
        .filter(|(_, record)| !record.pinned && record.last_used < now)
        .filter(|(_, record)| now.duration_since(record.first_seen) >= min_age)
        .collect();
    list.sort_by(|(a_id, a), (b_id, b)| {
        (a.last_used, a.first_seen, a_id).cmp(&(b.last_used, b.first_seen, b_id))
    });
    list.into_iter()
        .map(|(id, record)| (id.clone(), record.size))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds() {
        assert_eq!(bytes_to_free(1000, 200, 85, 80), None);
        assert_eq!(bytes_to_free(1000, 150, 85, 80), Some(50));
        assert_eq!(bytes_to_free(1000, 0, 85, 80), Some(200));
        assert_eq!(bytes_to_free(0, 0, 85, 80), None);
    }

    #[test]
    fn the_longest_unused_goes_first() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let record = |first, used, pinned| Record {
            first_seen: at(first),
            last_used: at(used),
            size: 1,
            pinned,
        };
        let records = HashMap::from([
            ("used".to_owned(), record(0, 1000, false)),
            ("pinned".to_owned(), record(0, 0, true)),
            ("young".to_owned(), record(950, 0, false)),
            ("old".to_owned(), record(0, 10, false)),
            ("older".to_owned(), record(0, 5, false)),
        ]);
        let ids: Vec<_> = candidates(&records, at(1000), SignedDuration::from_secs(120))
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        assert_eq!(ids, ["older", "old"]);
    }
}
