//! Events posted to a webhook, as `EventList`s. A batch is tried again, with growing pauses, as long as trying again may help.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use super::backend::{BatchConfig, Sink};
use crate::webhook_client::{Call, WebhookClient, WebhookClients, kubeconfig};

/// A batch is sent so often.
const ATTEMPTS: u32 = 5;
/// Each pause is so much longer than the one before.
const FACTOR: f64 = 1.5;
/// One attempt may take so long.
const TIMEOUT: Duration = Duration::from_secs(30);

/// `--audit-webhook-…`
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `--audit-webhook-config-file`, in kubeconfig form.
    pub config_file: PathBuf,
    /// `--audit-webhook-initial-backoff`
    pub initial_backoff: Duration,
    /// `--audit-webhook-mode`, `--audit-webhook-batch-…`, `--audit-webhook-truncate-…`
    pub batch: BatchConfig,
}

/// See the module.
pub(super) struct WebhookSink {
    client: Arc<WebhookClient>,
    initial_backoff: Duration,
}

impl WebhookSink {
    pub(super) fn new(
        config: &Config,
        clients: &WebhookClients,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let file = kubeconfig::read(&config.config_file)?;
        Ok(Self {
            client: clients.client(&file)?,
            initial_backoff: config.initial_backoff,
        })
    }
}

#[async_trait]
impl Sink for WebhookSink {
    async fn write(&mut self, events: Vec<Bytes>) -> Result<(), String> {
        let list = event_list(&events);
        let mut pause = self.initial_backoff;
        for attempt in 1.. {
            let error = match self.client.post(list.clone(), Call::within(TIMEOUT)).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            if attempt >= ATTEMPTS || !error.is_retryable() {
                return Err(error.to_string());
            }
            tracing::debug!(%error, attempt, "an audit webhook is tried again");
            tokio::time::sleep(pause).await;
            pause = pause.mul_f64(FACTOR);
        }
        Ok(())
    }
}

/// The events as they are, within a list.
fn event_list(events: &[Bytes]) -> Bytes {
    const HEAD: &[u8] =
        b"{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"metadata\":{},\"items\":[";
    let mut list =
        Vec::with_capacity(HEAD.len() + 2 + events.iter().map(|e| e.len() + 1).sum::<usize>());
    list.extend_from_slice(HEAD);
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            list.push(b',');
        }
        list.extend_from_slice(event);
    }
    list.extend_from_slice(b"]}");
    list.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_holds_the_events_as_they_are() {
        let events = [r#"{"a":1}"#, r#"{"b":2}"#].map(Bytes::from);
        let list: serde_json::Value = serde_json::from_slice(&event_list(&events)).unwrap();
        assert_eq!(list["kind"], "EventList");
        assert_eq!(list["items"], serde_json::json!([{"a": 1}, {"b": 2}]));
    }
}
