//! The event recorder: what components tell users about objects, as core/v1 Events.
//!
//! As upstream's `EventCorrelator`: an event that repeats raises the `count` of the first one by a patch; more than
//! [`MAX_SIMILAR`] that differ in their message alone become one, marked `(combined from similar events)`; and one source may
//! write [`SPAM_BURST`] events about one object, then one in five minutes. Recording never blocks: events wait in a bounded
//! queue, and fall out when it is full.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use base::{Clock, TaskGroup};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use serde_json::json;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::{client::Client, error::ApiError, kind::Kind, params::Patch};

/// Events waiting to be written; more are dropped.
const QUEUE: usize = 1000;
/// Entries each of the correlator's tables keeps before it starts anew.
const MAX_ENTRIES: usize = 4096;
/// Differing messages of otherwise equal events in ten minutes before they are combined.
const MAX_SIMILAR: usize = 10;
const SIMILAR_WINDOW_SECONDS: i64 = 600;
/// Events of one source about one object before the limit of one in five minutes sets in.
const SPAM_BURST: f64 = 25.0;
const SPAM_PER_SECOND: f64 = 1.0 / 300.0;
const MAX_TRIES: u32 = 12;
const RETRY: Duration = Duration::from_secs(10);

/// `Normal` or `Warning`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// As it should be.
    Normal,
    /// Something went wrong.
    Warning,
}

impl EventType {
    fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Records events of one component. Cheap to clone.
#[derive(Clone)]
pub struct EventRecorder {
    queue: mpsc::Sender<Record>,
    source: EventSource,
    clock: Clock,
}

#[derive(Clone, Debug, PartialEq)]
struct Record {
    object: ObjectReference,
    source: EventSource,
    kind: EventType,
    reason: String,
    message: String,
    at: Timestamp,
}

impl EventRecorder {
    /// Events of `component` (`deployment-controller`), on `host` where that matters (kubelets). Written by a task in `tasks`.
    pub fn new(
        client: Client,
        component: &str,
        host: Option<&str>,
        clock: Clock,
        tasks: &TaskGroup,
    ) -> Self {
        let (queue, mut records) = mpsc::channel(QUEUE);
        tasks.spawn_cancellable("events", async move {
            let mut correlator = Correlator::default();
            while let Some(record) = records.recv().await {
                correlator.write(&client, record).await;
            }
        });
        let source = EventSource {
            component: Some(component.to_owned()),
            host: host.map(str::to_owned),
        };
        Self {
            queue,
            source,
            clock,
        }
    }

    /// The same queue under another component's name.
    pub fn with_component(&self, component: &str) -> Self {
        let source = EventSource {
            component: Some(component.to_owned()),
            ..self.source.clone()
        };
        Self {
            source,
            ..self.clone()
        }
    }

    /// Records an event about an object.
    pub fn event<K: Kind>(
        &self,
        object: &K,
        kind: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        self.event_ref(reference(object), kind, reason, message);
    }

    /// Records an event about whatever `object` refers to (`fieldPath` names a container).
    pub fn event_ref(
        &self,
        object: ObjectReference,
        kind: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        let record = Record {
            object,
            source: self.source.clone(),
            kind,
            reason: reason.to_owned(),
            message: message.into(),
            at: self.clock.now(),
        };
        if let Err(error) = self.queue.try_send(record) {
            debug!(%error, "event dropped");
        }
    }
}

/// A reference to an object, as events carry it.
pub fn reference<K: Kind>(object: &K) -> ObjectReference {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ObjectReference {
        api_version: Some(K::API_VERSION.to_owned()),
        kind: Some(K::KIND.to_owned()),
        namespace: some(object.namespace()),
        name: some(object.name()),
        uid: some(object.uid()),
        resource_version: some(object.resource_version()),
        field_path: None,
    }
}

/// What makes events similar: all but the message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SimilarKey {
    source: (Option<String>, Option<String>),
    object: [Option<String>; 5],
    kind: EventType,
    reason: String,
}

/// Source and object, for the spam limit.
type SpamKey = ((Option<String>, Option<String>), [Option<String>; 5]);

#[derive(Default)]
struct Correlator {
    similar: HashMap<SimilarKey, (HashSet<String>, Timestamp)>,
    written: HashMap<(SimilarKey, String), Written>,
    spam: HashMap<SpamKey, (f64, Timestamp)>,
}

#[derive(Clone)]
struct Written {
    name: String,
    count: i32,
    first: Timestamp,
}

/// What to do about a record.
#[derive(Debug, PartialEq)]
enum Decision {
    Drop,
    Create {
        message: String,
    },
    /// Raise the count of the event of this name.
    Repeat {
        name: String,
        count: i32,
        message: String,
        first: Timestamp,
    },
}

impl SimilarKey {
    fn of(record: &Record) -> Self {
        let object = &record.object;
        Self {
            source: (record.source.component.clone(), record.source.host.clone()),
            object: [
                object.kind.clone(),
                object.namespace.clone(),
                object.name.clone(),
                object.uid.clone(),
                object.field_path.clone(),
            ],
            kind: record.kind,
            reason: record.reason.clone(),
        }
    }
}

impl Correlator {
    /// Decides; remembers what it needs for the next decision but the written event, which [`Correlator::remember`] adds.
    fn decide(&mut self, record: &Record) -> (SimilarKey, Decision) {
        let key = SimilarKey::of(record);
        if self.is_spam(&key, record.at) {
            return (key, Decision::Drop);
        }
        bound(&mut self.similar);
        let (messages, last) = self
            .similar
            .entry(key.clone())
            .or_insert_with(|| (HashSet::new(), record.at));
        if record.at.as_second() - last.as_second() > SIMILAR_WINDOW_SECONDS {
            messages.clear();
        }
        *last = record.at;
        if messages.len() < MAX_SIMILAR {
            messages.insert(record.message.clone());
        }
        // The key of a combined event leaves the message out, so that all of them meet in one.
        let (part, message) = if messages.len() >= MAX_SIMILAR {
            (
                String::new(),
                format!("(combined from similar events): {}", record.message),
            )
        } else {
            (record.message.clone(), record.message.clone())
        };
        let decision = match self.written.get(&(key.clone(), part)) {
            Some(known) => Decision::Repeat {
                name: known.name.clone(),
                count: known.count + 1,
                message,
                first: known.first,
            },
            None => Decision::Create { message },
        };
        (key, decision)
    }

    fn is_spam(&mut self, key: &SimilarKey, now: Timestamp) -> bool {
        bound(&mut self.spam);
        let bucket = self
            .spam
            .entry((key.source.clone(), key.object.clone()))
            .or_insert((SPAM_BURST, now));
        let earned = now.duration_since(bucket.1).as_secs_f64().max(0.0) * SPAM_PER_SECOND;
        *bucket = ((bucket.0 + earned).min(SPAM_BURST), now);
        if bucket.0 < 1.0 {
            return true;
        }
        bucket.0 -= 1.0;
        false
    }

    fn remember(&mut self, key: SimilarKey, message: &str, written: Written) {
        bound(&mut self.written);
        let combined = message.starts_with("(combined from similar events)");
        let part = if combined {
            String::new()
        } else {
            message.to_owned()
        };
        self.written.insert((key, part), written);
    }

    async fn write(&mut self, client: &Client, record: Record) {
        let (key, decision) = self.decide(&record);
        for _ in 0..MAX_TRIES {
            let result = match &decision {
                Decision::Drop => return,
                Decision::Create { message } => {
                    create(client, &record, message, 1, record.at).await
                }
                Decision::Repeat {
                    name,
                    count,
                    message,
                    first,
                } => {
                    match repeat(client, &record, name, *count, message).await {
                        // It has expired on the server: write it anew, with what we know.
                        Err(error) if error.is_not_found() => {
                            create(client, &record, message, *count, *first).await
                        }
                        Err(error) => Err(error),
                        Ok(()) => Ok(Written {
                            name: name.clone(),
                            count: *count,
                            first: *first,
                        }),
                    }
                }
            };
            match (result, &decision) {
                (Ok(written), Decision::Create { message } | Decision::Repeat { message, .. }) => {
                    return self.remember(key, message, written);
                }
                // Nobody misses an event of what is going, or one that is there already.
                (Err(error), _)
                    if error.is_namespace_terminating() || error.is_already_exists() =>
                {
                    debug!(reason = record.reason, %error, "event refused");
                    return;
                }
                // The server does not want this one, and would not at the next try.
                (Err(ApiError::Status(status)), _)
                    if !matches!(status.code, Some(429 | 500..=599)) =>
                {
                    warn!(
                        reason = record.reason,
                        status = status.message,
                        "event refused"
                    );
                    return;
                }
                (Err(error), _) => {
                    debug!(%error, "event not written, trying again");
                    tokio::time::sleep(RETRY).await;
                }
                (Ok(_), Decision::Drop) => return,
            }
        }
        warn!(
            reason = record.reason,
            "event not written: retry limit exceeded"
        );
    }
}

/// Starts a table anew when it is full; what is lost is some correlation.
fn bound<K, V>(table: &mut HashMap<K, V>) {
    if table.len() >= MAX_ENTRIES {
        table.clear();
    }
}

async fn create(
    client: &Client,
    record: &Record,
    message: &str,
    count: i32,
    first: Timestamp,
) -> Result<Written, ApiError> {
    let namespace = record
        .object
        .namespace
        .clone()
        .unwrap_or_else(|| "default".to_owned());
    let object = record.object.name.as_deref().unwrap_or_default();
    // Upstream's names: the object's and the time in hexadecimal nanoseconds.
    let name = format!("{object}.{:x}", record.at.as_nanosecond());
    let event = Event {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: record.object.clone(),
        reason: Some(record.reason.clone()),
        message: Some(message.to_owned()),
        type_: Some(record.kind.name().to_owned()),
        source: Some(record.source.clone()),
        reporting_component: record.source.component.clone(),
        reporting_instance: Some(record.source.host.clone().unwrap_or_default()),
        first_timestamp: Some(Time(first)),
        last_timestamp: Some(Time(record.at)),
        count: Some(count),
        ..Event::default()
    };
    match client.api::<Event>(namespace.as_str()).create(&event).await {
        Ok(_) => Ok(Written { name, count, first }),
        // An earlier try got through.
        Err(error) if error.is_already_exists() => Ok(Written { name, count, first }),
        Err(error) => Err(error),
    }
}

async fn repeat(
    client: &Client,
    record: &Record,
    name: &str,
    count: i32,
    message: &str,
) -> Result<(), ApiError> {
    let namespace = record.object.namespace.as_deref().unwrap_or("default");
    let patch = Patch::Strategic(json!({
        "count": count,
        "message": message,
        "lastTimestamp": Time(record.at),
    }));
    client
        .api::<Event>(namespace)
        .patch(name, &patch)
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(object: &str, message: &str, second: i64) -> Record {
        Record {
            object: ObjectReference {
                name: Some(object.to_owned()),
                ..ObjectReference::default()
            },
            source: EventSource {
                component: Some("test".to_owned()),
                host: None,
            },
            kind: EventType::Normal,
            reason: "Tested".to_owned(),
            message: message.to_owned(),
            at: Timestamp::from_second(second).unwrap(),
        }
    }

    fn feed(correlator: &mut Correlator, record: &Record) -> Decision {
        let (key, decision) = correlator.decide(record);
        match &decision {
            Decision::Create { message } => {
                let written = Written {
                    name: format!("event-{}", record.at),
                    count: 1,
                    first: record.at,
                };
                correlator.remember(key, message, written);
            }
            Decision::Repeat {
                name,
                count,
                message,
                first,
            } => {
                let written = Written {
                    name: name.clone(),
                    count: *count,
                    first: *first,
                };
                correlator.remember(key, message, written);
            }
            Decision::Drop => {}
        }
        decision
    }

    #[test]
    fn repeats_raise_the_count() {
        let mut correlator = Correlator::default();
        assert!(matches!(
            feed(&mut correlator, &record("a", "m", 1)),
            Decision::Create { .. }
        ));
        assert!(matches!(
            feed(&mut correlator, &record("a", "m", 2)),
            Decision::Repeat { count: 2, .. }
        ));
        assert!(matches!(
            feed(&mut correlator, &record("b", "m", 2)),
            Decision::Create { .. }
        ));
        assert!(matches!(
            feed(&mut correlator, &record("a", "m", 3)),
            Decision::Repeat { count: 3, .. }
        ));
    }

    #[test]
    fn similar_messages_are_combined() {
        let mut correlator = Correlator::default();
        for i in 0..9 {
            let decision = feed(&mut correlator, &record("a", &format!("m{i}"), i));
            assert!(matches!(decision, Decision::Create { .. }));
        }
        let combined = feed(&mut correlator, &record("a", "m9", 9));
        assert_eq!(
            combined,
            Decision::Create {
                message: "(combined from similar events): m9".to_owned()
            }
        );
        let again = feed(&mut correlator, &record("a", "m10", 10));
        assert!(matches!(again, Decision::Repeat { count: 2, .. }));
    }

    #[test]
    fn spam_is_limited_by_object() {
        let mut correlator = Correlator::default();
        for _ in 0..25 {
            assert_ne!(feed(&mut correlator, &record("a", "m", 1)), Decision::Drop);
        }
        assert_eq!(feed(&mut correlator, &record("a", "m", 1)), Decision::Drop);
        assert_ne!(feed(&mut correlator, &record("b", "m", 1)), Decision::Drop);
        assert_ne!(
            feed(&mut correlator, &record("a", "m", 302)),
            Decision::Drop
        );
        assert_eq!(
            feed(&mut correlator, &record("a", "m", 303)),
            Decision::Drop
        );
    }
}
