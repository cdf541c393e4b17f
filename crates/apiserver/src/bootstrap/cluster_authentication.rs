//! Keeps ConfigMap `kube-system/extension-apiserver-authentication`, from which aggregated servers learn whom to believe: it follows the files of authorities,
//! and is mended when somebody has damaged it. Follows upstream's cluster authentication trust controller.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base::Reloader;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Bootstrap, Config};

/// How often it is looked at when no file has changed.
const PERIOD: Duration = Duration::from_secs(60);

/// Where authorities are read from.
#[derive(Clone, Debug, Default)]
pub struct Authorities {
    /// `--client-ca-file`
    pub client_ca_file: Option<PathBuf>,
    /// `--requestheader-client-ca-file`
    pub request_header_ca_file: Option<PathBuf>,
}

/// See the module.
pub struct ClusterAuthentication {
    bootstrap: Arc<Bootstrap>,
    authorities: Authorities,
    changed: Arc<Notify>,
}

impl Authorities {
    /// Tells `changed` when one of the files does.
    pub fn watch(&self, reloader: &mut Reloader, changed: &Arc<Notify>) {
        let files = [&self.client_ca_file, &self.request_header_ca_file];
        let files: Vec<&Path> = files.into_iter().flatten().map(PathBuf::as_path).collect();
        if files.is_empty() {
            return;
        }
        let changed = Arc::clone(changed);
        reloader.watch(files, move || {
            changed.notify_one();
            Ok(())
        });
    }

    /// The settings with the authorities that the files hold now. One that cannot be read is as it was.
    fn read_into(&self, config: &Config) -> Config {
        let read = |file: &Option<PathBuf>, before: &str| {
            let read = file.as_ref().map(std::fs::read_to_string);
            read.and_then(Result::ok)
                .unwrap_or_else(|| before.to_owned())
        };
        Config {
            client_ca_pem: read(&self.client_ca_file, &config.client_ca_pem),
            request_header_ca_pem: read(
                &self.request_header_ca_file,
                &config.request_header_ca_pem,
            ),
            ..config.clone()
        }
    }
}

impl ClusterAuthentication {
    /// Writes through `bootstrap`, also whenever `changed` is told.
    pub fn new(bootstrap: Arc<Bootstrap>, authorities: Authorities, changed: Arc<Notify>) -> Self {
        Self {
            bootstrap,
            authorities,
            changed,
        }
    }

    /// Until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let keeping = async {
            let mut config = self.bootstrap.config.clone();
            loop {
                let clock = &self.bootstrap.clock;
                tokio::select! {
                    () = self.changed.notified() => {}
                    () = clock.sleep_until(clock.now() + PERIOD) => {}
                }
                config = self.authorities.read_into(&config);
                if let Err(error) = self.bootstrap.maintain_config_maps(&config).await {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, cause, "authorities are not published");
                }
            }
        };
        let _ = cancel.run_until_cancelled(keeping).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_they_are_and_a_lost_one_is_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let authorities = Authorities {
            client_ca_file: Some(path.clone()),
            request_header_ca_file: None,
        };
        let mut config = Config {
            service_ranges: Vec::new(),
            client_ca_pem: "old".to_owned(),
            request_header_ca_pem: "front".to_owned(),
            request_header: crate::authn::RequestHeaderConfig::default(),
        };
        config = authorities.read_into(&config);
        assert_eq!(config.client_ca_pem, "old");
        std::fs::write(&path, "new").unwrap();
        config = authorities.read_into(&config);
        assert_eq!(config.client_ca_pem, "new");
        assert_eq!(config.request_header_ca_pem, "front");
    }
}
