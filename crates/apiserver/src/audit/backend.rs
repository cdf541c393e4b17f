//! A backend: a bounded buffer of events, and the task that writes them, one by one or in batches.

#[cfg(test)]
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base::{
    TaskGroup,
    metrics::{Counter, Registry},
};
use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{Lost, event::Event, log::Format};

/// Whether requests wait for their events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No: events are written in batches, and lost if the buffer is full.
    Batch,
    /// Yes.
    Blocking,
    /// Yes, and a request whose first event cannot be written is refused.
    BlockingStrict,
}

/// `--audit-…-batch-throttle-qps` and `-burst`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throttle {
    /// Batches a second.
    pub qps: f64,
    /// Batches at once after a quiet time.
    pub burst: u32,
}

/// `--audit-…-truncate-…`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncate {
    /// Larger events lose their objects, and are lost if that is not enough.
    pub max_event_size: usize,
    /// A batch holds no more bytes.
    pub max_batch_size: usize,
}

/// How events get to a backend.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchConfig {
    /// `--audit-…-mode`
    pub mode: Mode,
    /// `--audit-…-batch-buffer-size`, in events.
    pub buffer_size: usize,
    /// `--audit-…-batch-max-size`, in events.
    pub max_size: usize,
    /// `--audit-…-batch-max-wait`
    pub max_wait: Duration,
    /// `--audit-…-batch-throttle-enable` and so on.
    pub throttle: Option<Throttle>,
    /// `--audit-…-truncate-enabled` and so on.
    pub truncate: Option<Truncate>,
}

/// Where events end up.
#[async_trait]
pub(super) trait Sink: Send {
    /// Writes them all, or says that it could not.
    async fn write(&mut self, events: Vec<Bytes>) -> Result<(), String>;
}

struct Item {
    event: Bytes,
    written: Option<oneshot::Sender<bool>>,
}

/// See the module.
pub(super) struct Backend {
    name: &'static str,
    mode: Mode,
    format: Format,
    truncate: Option<Truncate>,
    queue: mpsc::Sender<Item>,
    errors: Counter,
}

impl Backend {
    pub(super) fn start(
        name: &'static str,
        config: BatchConfig,
        format: Format,
        sink: Box<dyn Sink>,
        metrics: &Registry,
        tasks: &TaskGroup,
    ) -> Self {
        let errors = metrics.counter(
            "apiserver_audit_error_total",
            "Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by the error.",
            &["plugin"],
        );
        let (queue, items) = mpsc::channel(config.buffer_size.max(1));
        let backend = Self {
            name,
            mode: config.mode,
            format,
            truncate: config.truncate,
            queue,
            errors: errors.clone(),
        };
        let writer = Writer {
            name,
            config,
            items,
            pending: Vec::new(),
            sink,
            errors,
            tokens: 0.0,
            filled: Instant::now(),
        };
        let stop = tasks.token().clone();
        tasks.spawn("audit-backend", writer.run(stop));
        backend
    }

    /// Hands an event over, and waits until it is written if the mode says so.
    pub(super) async fn submit(&self, event: &Event) -> Result<(), Lost> {
        if self.mode == Mode::Batch {
            self.offer(event);
            return Ok(());
        }
        let Some(encoded) = self.encode(event) else {
            return self.lost();
        };
        let (written, outcome) = oneshot::channel();
        let item = Item {
            event: encoded,
            written: Some(written),
        };
        if self.queue.send(item).await.is_err() || !outcome.await.unwrap_or(false) {
            return self.lost();
        }
        Ok(())
    }

    /// Hands an event over if there is room.
    pub(super) fn offer(&self, event: &Event) {
        let item = self.encode(event).map(|event| Item {
            event,
            written: None,
        });
        if item.is_none_or(|item| self.queue.try_send(item).is_err()) {
            self.errors.increment(&[self.name]);
        }
    }

    fn lost(&self) -> Result<(), Lost> {
        match self.mode {
            Mode::BlockingStrict => Err(Lost),
            _ => Ok(()),
        }
    }

    fn encode(&self, event: &Event) -> Option<Bytes> {
        let encode = |event: &Event| match self.format {
            Format::Json => event.encode(),
            Format::Legacy => event.legacy().into_bytes(),
        };
        let encoded = encode(event);
        let Some(truncate) = self.truncate else {
            return Some(encoded.into());
        };
        if encoded.len() <= truncate.max_event_size {
            return Some(encoded.into());
        }
        let encoded = encode(&event.truncated());
        (encoded.len() <= truncate.max_event_size).then(|| encoded.into())
    }
}

/// The task of a backend.
struct Writer {
    name: &'static str,
    config: BatchConfig,
    items: mpsc::Receiver<Item>,
    /// Received, and not yet a batch.
    pending: Vec<Item>,
    sink: Box<dyn Sink>,
    errors: Counter,
    /// Batches that may be written at once, when last counted.
    tokens: f64,
    filled: Instant,
}

impl Writer {
    /// Writes until stopped, and then what is left.
    async fn run(mut self, stop: tokio_util::sync::CancellationToken) {
        self.tokens = self.config.throttle.map_or(0.0, |t| f64::from(t.burst));
        while let Some(Some(batch)) = stop.run_until_cancelled(self.batch()).await {
            let _ = stop.run_until_cancelled(self.throttle()).await;
            self.write(batch).await;
        }
        self.items.close();
        while let Some(batch) = self.rest() {
            self.write(batch).await;
        }
    }

    /// The next batch: in batch mode as many as come in time, else what is there. Cancel safe: what has been received stays in `pending` until the batch
    /// is whole.
    async fn batch(&mut self) -> Option<Vec<Item>> {
        let size = self.config.max_size.max(1);
        if self.pending.is_empty() && self.items.recv_many(&mut self.pending, size).await == 0 {
            return None;
        }
        if self.config.mode == Mode::Batch {
            let deadline = Instant::now() + self.config.max_wait;
            while let Some(room) = size
                .checked_sub(self.pending.len())
                .filter(|room| *room > 0)
            {
                let more = self.items.recv_many(&mut self.pending, room);
                if !matches!(tokio::time::timeout_at(deadline, more).await, Ok(1..)) {
                    break;
                }
            }
        }
        Some(std::mem::take(&mut self.pending))
    }

    fn rest(&mut self) -> Option<Vec<Item>> {
        let mut batch = std::mem::take(&mut self.pending);
        let left = std::iter::from_fn(|| self.items.try_recv().ok());
        batch.extend(left.take(self.config.max_size.max(1)));
        (!batch.is_empty()).then_some(batch)
    }

    /// Waits for leave to write a batch.
    async fn throttle(&mut self) {
        let Some(Throttle { qps, burst }) = self.config.throttle else {
            return;
        };
        let fill = |writer: &mut Self| {
            let now = Instant::now();
            let gained = now.duration_since(writer.filled).as_secs_f64() * qps;
            writer.tokens = (writer.tokens + gained).min(f64::from(burst.max(1)));
            writer.filled = now;
        };
        fill(self);
        if self.tokens < 1.0 && qps > 0.0 {
            tokio::time::sleep(Duration::from_secs_f64((1.0 - self.tokens) / qps)).await;
            fill(self);
        }
        self.tokens -= 1.0;
    }

    async fn write(&mut self, batch: Vec<Item>) {
        let limit = self
            .config
            .truncate
            .map_or(usize::MAX, |t| t.max_batch_size);
        let mut parts: Vec<Vec<Item>> = Vec::new();
        let mut bytes = 0;
        for item in batch {
            bytes += item.event.len();
            match parts.last_mut() {
                Some(part) if bytes <= limit => part.push(item),
                _ => {
                    bytes = item.event.len();
                    parts.push(vec![item]);
                }
            }
        }
        for part in parts {
            let events = part.iter().map(|item| item.event.clone()).collect();
            let outcome = self.sink.write(events).await;
            if let Err(error) = &outcome {
                tracing::error!(
                    backend = self.name,
                    events = part.len(),
                    error,
                    "audit events are lost"
                );
                for _ in &part {
                    self.errors.increment(&[self.name]);
                }
            }
            for written in part.into_iter().filter_map(|item| item.written) {
                let _ = written.send(outcome.is_ok());
            }
        }
    }
}

/// Shared by tests: keeps what is written.
#[cfg(test)]
#[derive(Clone, Default)]
pub(super) struct MemorySink(pub(super) Arc<std::sync::Mutex<Vec<Vec<Bytes>>>>);

#[cfg(test)]
#[async_trait]
impl Sink for MemorySink {
    async fn write(&mut self, events: Vec<Bytes>) -> Result<(), String> {
        self.0.lock().expect("no test panics under it").push(events);
        Ok(())
    }
}
