//! The Watch service: many watches on one stream.
//!
//! One session task owns the stream's state. Each watch has a task that carries its batches into the session's bounded queue, in
//! order; so a progress notice, which the session sends when every watch has got there, cannot overtake an event.

use std::{collections::HashMap, pin::Pin, time::Duration};

use base::TaskGroup;
use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::Service;
use crate::{
    Change, Kv as _, KvError, Revision, WatchBatch, WatchRequest,
    proto::{
        etcdserverpb::{
            self as pb, WatchResponse, watch_create_request::FilterType,
            watch_request::RequestUnion, watch_server::Watch,
        },
        key_range,
        mvccpb::{Event, KeyValue, event::EventType},
    },
};

/// Responses that may wait for the client, and batches for the session.
const QUEUE: usize = 16;
/// How often watches that ask for it are told how far they are.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(600);
/// etcd answers a request for progress to no watch in particular.
const NO_WATCH: i64 = -1;

type Delivered = (i64, Result<WatchBatch, KvError>);

#[async_trait]
impl Watch for Service {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (responses, queue) = mpsc::channel(QUEUE);
        let (deliver, delivered) = mpsc::channel(QUEUE);
        let mut session = Session {
            service: self.clone(),
            responses,
            deliver,
            watches: HashMap::new(),
            next_id: 0,
            asked: None,
            tasks: TaskGroup::new(self.tasks.token()),
        };
        let requests = request.into_inner();
        self.tasks.spawn("etcd-watch-session", async move {
            let cancel = session.tasks.token().clone();
            // An error is a client that has gone.
            let _ = cancel
                .run_until_cancelled(session.run(requests, delivered))
                .await;
            session.tasks.shutdown().await;
        });
        let outgoing = futures_util::stream::unfold(queue, |mut queue| async move {
            queue.recv().await.map(|response| (Ok(response), queue))
        });
        Ok(Response::new(Box::pin(outgoing)))
    }
}

struct Session {
    service: Service,
    responses: mpsc::Sender<WatchResponse>,
    deliver: mpsc::Sender<Delivered>,
    watches: HashMap<i64, Watching>,
    next_id: i64,
    /// Progress has been asked for, and is owed when all watches are here.
    asked: Option<Revision>,
    tasks: TaskGroup,
}

struct Watching {
    reached: Revision,
    settings: pb::WatchCreateRequest,
    cancel: CancellationToken,
}

/// The client has gone.
struct Gone;

impl Session {
    async fn run(
        &mut self,
        mut requests: Streaming<pb::WatchRequest>,
        mut delivered: mpsc::Receiver<Delivered>,
    ) -> Result<(), Gone> {
        let mut tick = tokio::time::interval(PROGRESS_INTERVAL);
        tick.reset();
        loop {
            tokio::select! {
                request = requests.message() => {
                    let request = request.map_err(|_| Gone)?.ok_or(Gone)?;
                    match request.request_union {
                        Some(RequestUnion::CreateRequest(create)) => self.create(create).await?,
                        Some(RequestUnion::CancelRequest(cancel)) => {
                            self.cancel(cancel.watch_id, 0, String::new()).await?;
                        }
                        Some(RequestUnion::ProgressRequest(_)) => {
                            self.asked = Some(self.service.store.status().revision);
                            self.progress().await?;
                        }
                        None => {}
                    }
                }
                Some((id, batch)) = delivered.recv() => {
                    self.batch(id, batch).await?;
                    self.progress().await?;
                }
                _ = tick.tick() => self.notify().await?,
            }
        }
    }

    async fn create(&mut self, create: pb::WatchCreateRequest) -> Result<(), Gone> {
        let revision = self.service.store.status().revision;
        let mut id = create.watch_id;
        if id == 0 {
            while self.watches.contains_key(&self.next_id) {
                self.next_id += 1;
            }
            id = self.next_id;
            self.next_id += 1;
        } else if self.watches.contains_key(&id) {
            let reason = "etcdserver: mvcc: duplicate watch ID provided on the WatchStream";
            return self.refuse(NO_WATCH, revision, 0, reason.to_owned()).await;
        }
        let start = Some(create.start_revision)
            .filter(|start| *start > 0)
            .map(Revision);
        let request = WatchRequest {
            range: key_range(create.key.clone(), create.range_end.clone()),
            start: Some(start.unwrap_or(Revision(revision.0 + 1))),
            buffer: QUEUE,
        };
        let opened = self.service.store.watch(request).await;
        let created = WatchResponse {
            watch_id: id,
            created: true,
            ..self.response(revision)
        };
        self.send(created).await?;
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(KvError::Compacted { compacted, .. }) => {
                return self.refuse(id, revision, compacted.0, String::new()).await;
            }
            Err(error) => return self.refuse(id, revision, 0, error.to_string()).await,
        };
        let cancel = self.tasks.token().child_token();
        let (deliver, stop) = (self.deliver.clone(), cancel.clone());
        self.tasks.spawn("etcd-watch-carrier", async move {
            let carry = async {
                while let Some(batch) = stream.recv().await {
                    if deliver.send((id, batch)).await.is_err() {
                        return;
                    }
                }
            };
            let _ = stop.run_until_cancelled(carry).await;
        });
        self.watches.insert(
            id,
            Watching {
                reached: Revision(0),
                settings: create,
                cancel,
            },
        );
        Ok(())
    }

    async fn batch(&mut self, id: i64, batch: Result<WatchBatch, KvError>) -> Result<(), Gone> {
        // A batch may still come from a watch that has been cancelled.
        let Some(watching) = self.watches.get_mut(&id) else {
            return Ok(());
        };
        let batch = match batch {
            Ok(batch) => batch,
            Err(KvError::Compacted { compacted, .. }) => {
                return self.cancel(id, compacted.0, String::new()).await;
            }
            Err(error) => return self.cancel(id, 0, error.to_string()).await,
        };
        watching.reached = watching.reached.max(batch.revision);
        let settings = &watching.settings;
        let events = batch
            .changes
            .into_iter()
            .filter_map(|change| event(change, settings));
        let events: Vec<Event> = events.collect();
        if events.is_empty() {
            return Ok(());
        }
        let response = self.response(batch.revision);
        self.send(WatchResponse {
            watch_id: id,
            events,
            ..response
        })
        .await
    }

    /// Answers a request for progress as soon as every watch has got there.
    async fn progress(&mut self) -> Result<(), Gone> {
        let Some(asked) = self.asked else {
            return Ok(());
        };
        if self
            .watches
            .values()
            .any(|watching| watching.reached < asked)
        {
            return Ok(());
        }
        self.asked = None;
        self.send(WatchResponse {
            watch_id: NO_WATCH,
            ..self.response(asked)
        })
        .await
    }

    /// Tells the watches that want it how far they are.
    async fn notify(&mut self) -> Result<(), Gone> {
        let wanted = self
            .watches
            .iter()
            .filter(|(_, watching)| watching.settings.progress_notify);
        let reached: Vec<_> = wanted
            .map(|(id, watching)| (*id, watching.reached))
            .collect();
        for (watch_id, revision) in reached {
            self.send(WatchResponse {
                watch_id,
                ..self.response(revision)
            })
            .await?;
        }
        Ok(())
    }

    async fn cancel(&mut self, id: i64, compacted: i64, reason: String) -> Result<(), Gone> {
        let Some(watching) = self.watches.remove(&id) else {
            return Ok(());
        };
        watching.cancel.cancel();
        self.refuse(id, self.service.store.status().revision, compacted, reason)
            .await
    }

    async fn refuse(
        &self,
        watch_id: i64,
        revision: Revision,
        compact_revision: i64,
        cancel_reason: String,
    ) -> Result<(), Gone> {
        let canceled = true;
        let response = self.response(revision);
        self.send(WatchResponse {
            watch_id,
            canceled,
            compact_revision,
            cancel_reason,
            ..response
        })
        .await
    }

    fn response(&self, revision: Revision) -> WatchResponse {
        WatchResponse {
            header: self.service.header(revision),
            ..WatchResponse::default()
        }
    }

    async fn send(&self, response: WatchResponse) -> Result<(), Gone> {
        self.responses.send(response).await.map_err(|_| Gone)
    }
}

/// A change as the watch wants it, if it does.
fn event(change: Change, settings: &pb::WatchCreateRequest) -> Option<Event> {
    let kind = if change.new.is_some() {
        EventType::Put
    } else {
        EventType::Delete
    };
    let unwanted = match kind {
        EventType::Put => FilterType::Noput,
        EventType::Delete => FilterType::Nodelete,
    };
    if settings.filters.contains(&unwanted.into()) {
        return None;
    }
    let kv = change.new.map_or_else(
        || KeyValue {
            key: change.key,
            mod_revision: change.revision.0,
            ..KeyValue::default()
        },
        Into::into,
    );
    let prev_kv = change.old.filter(|_| settings.prev_kv).map(Into::into);
    Some(Event {
        r#type: kind.into(),
        kv: Some(kv),
        prev_kv,
    })
}
