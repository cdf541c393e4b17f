//! `--encryption-provider-config-automatic-reload`: the file is looked at every minute, and taken over when it holds something else that can be used.

use std::{path::PathBuf, time::Duration};

use base::Clock;
use tokio_util::sync::CancellationToken;

use super::{EncryptedKv, EncryptionConfiguration};

/// How often the file is looked at, as upstream.
const PERIOD: Duration = Duration::from_secs(60);

/// See the module.
pub struct Reload {
    /// `--encryption-provider-config`
    pub path: PathBuf,
    /// What is reconfigured.
    pub store: EncryptedKv,
    /// The time.
    pub clock: Clock,
}

impl Reload {
    /// Runs until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let following = async {
            let mut seen = std::fs::read(&self.path).unwrap_or_default();
            loop {
                let now = self.clock.now();
                let next = now.checked_add(PERIOD).unwrap_or(now);
                self.clock.sleep_until(next).await;
                self.look(&mut seen);
            }
        };
        let _ = cancel.run_until_cancelled(following).await;
    }

    /// Takes the file over if it has changed since it was `seen`.
    fn look(&self, seen: &mut Vec<u8>) {
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) if bytes != *seen => bytes,
            Ok(_) => return,
            Err(error) => {
                let path = self.path.display();
                return tracing::warn!(%path, %error, "the encryption configuration is not read");
            }
        };
        let outcome = EncryptionConfiguration::parse(&bytes)
            .and_then(|configuration| self.store.reconfigure(&configuration));
        match outcome {
            Ok(()) => tracing::info!("the encryption configuration has been reloaded"),
            // The one that holds stays; said once for each version of the file.
            Err(error) => tracing::error!(%error, "the encryption configuration is not taken over"),
        }
        *seen = bytes;
    }
}
