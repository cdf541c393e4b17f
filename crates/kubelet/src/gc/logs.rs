//! Log rotation: a running container's log that has grown beyond its size is renamed and the runtime opens a new one. Old ones are
//! compressed, and the oldest go.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base::Clock;
use cri::{RuntimeService, v1};
use flate2::{Compression, write::GzEncoder};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::config::KubeletConfig;

/// Upstream's `containerLogMonitorInterval`.
const PERIOD: Duration = Duration::from_secs(10);

/// Rotates the logs of all running containers.
pub struct LogRotation {
    runtime: Arc<dyn RuntimeService>,
    config: Arc<KubeletConfig>,
    clock: Clock,
}

impl LogRotation {
    /// Of this runtime.
    pub fn new(runtime: Arc<dyn RuntimeService>, config: Arc<KubeletConfig>, clock: Clock) -> Self {
        Self {
            runtime,
            config,
            clock,
        }
    }

    /// Looks every ten seconds until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let work = async {
            loop {
                tokio::time::sleep(PERIOD).await;
                if let Err(error) = self.rotate_all().await {
                    warn!(%error, "cannot rotate logs");
                }
            }
        };
        let _ = cancel.run_until_cancelled(work).await;
    }

    async fn rotate_all(&self) -> Result<(), cri::CriError> {
        let running = v1::ContainerStateValue {
            state: v1::ContainerState::ContainerRunning as i32,
        };
        let filter = v1::ContainerFilter {
            state: Some(running),
            ..Default::default()
        };
        let list = self
            .runtime
            .list_containers(v1::ListContainersRequest {
                filter: Some(filter),
            })
            .await?;
        for container in list.containers {
            let request = v1::ContainerStatusRequest {
                container_id: container.id.clone(),
                verbose: false,
            };
            let Ok(answer) = self.runtime.container_status(request).await else {
                continue;
            };
            let path = PathBuf::from(answer.status.unwrap_or_default().log_path);
            let large = fs::metadata(&path)
                .is_ok_and(|file| file.len() > self.config.container_log_max_size);
            if large && let Err(error) = self.rotate(&container.id, &path).await {
                warn!(path = %path.display(), %error, "cannot rotate the log");
            }
        }
        Ok(())
    }

    async fn rotate(&self, container_id: &str, path: &Path) -> io::Result<()> {
        let (path_of_task, max_files) = (path.to_path_buf(), self.config.container_log_max_files);
        // Compressing takes the disk's and the processor's time, not the executor's.
        tokio::task::spawn_blocking(move || tidy(&path_of_task, max_files))
            .await
            .map_err(io::Error::other)??;
        let rotated = PathBuf::from(format!(
            "{}.{}",
            path.display(),
            self.clock.now().strftime("%Y%m%d-%H%M%S")
        ));
        fs::rename(path, &rotated)?;
        let request = v1::ReopenContainerLogRequest {
            container_id: container_id.to_owned(),
        };
        if let Err(error) = self.runtime.reopen_container_log(request).await {
            // The container still writes to the renamed file; it gets its name back.
            fs::rename(&rotated, path)?;
            return Err(io::Error::other(error.to_string()));
        }
        Ok(())
    }
}

/// Compresses rotated logs and removes the oldest, so that with the live one and the one about to be rotated there are `max_files`.
fn tidy(path: &Path, max_files: u32) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    let prefix = format!("{}.", name.to_string_lossy());
    let mut rotated: Vec<String> = fs::read_dir(directory)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(&prefix))
        .collect();
    // Half-written ones of a kubelet that was killed.
    for name in rotated.extract_if(.., |name| name.ends_with(".tmp")) {
        fs::remove_file(directory.join(name))?;
    }
    rotated.sort();
    let keep = usize::try_from(max_files).unwrap_or(5).saturating_sub(2);
    let surplus = rotated.len().saturating_sub(keep);
    for name in rotated.drain(..surplus) {
        fs::remove_file(directory.join(name))?;
    }
    for name in rotated.iter().filter(|name| !name.ends_with(".gz")) {
        compress(&directory.join(name))?;
    }
    Ok(())
}

fn compress(path: &Path) -> io::Result<()> {
    let temporary = PathBuf::from(format!("{}.tmp", path.display()));
    let mut encoder = GzEncoder::new(fs::File::create(&temporary)?, Compression::default());
    io::copy(&mut fs::File::open(path)?, &mut encoder)?;
    encoder.finish()?;
    fs::rename(&temporary, format!("{}.gz", path.display()))?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_logs_are_compressed_and_the_oldest_go() {
        let directory = std::env::temp_dir().join(format!("log-rotation-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        for name in [
            "0.log",
            "0.log.20260101-000000.gz",
            "0.log.20260102-000000.gz",
            "0.log.20260103-000000",
            "0.log.20260104-000000",
            "0.log.20260105-000000.tmp",
            "1.log.20250101-000000",
        ] {
            fs::write(directory.join(name), name).unwrap();
        }
        tidy(&directory.join("0.log"), 5).unwrap();
        let mut left: Vec<_> = fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(
            left,
            [
                "0.log",
                "0.log.20260102-000000.gz",
                "0.log.20260103-000000.gz",
                "0.log.20260104-000000.gz",
                "1.log.20250101-000000"
            ]
        );
        fs::remove_dir_all(directory).unwrap();
    }
}
