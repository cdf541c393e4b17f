//! Watches on an external etcd: one gRPC stream each, opened anew after the last whole revision when it is lost.
//!
//! ```text
//! Opening ──created──► Standing ──events──► one batch for each revision
//!    ▲                    │ lost
//!    └────── back off ────┘      compacted, refused ──► Err, end
//! ```
//!
//! While the receiver has no room nothing is read from the stream, and HTTP/2's flow control holds etcd back: nothing piles up here.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::{mpsc, watch as signal};
use tonic::{Status, Streaming};

use base::TaskGroup;

use super::{
    convert,
    endpoints::{Endpoints, MAX_ANSWER},
};
use crate::{
    Change, KeyRange, KeyValue, KvError, Revision, WatchBatch, WatchStream,
    proto::{
        etcdserverpb::{
            WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
            watch_client::WatchClient, watch_request::RequestUnion,
        },
        mvccpb::{Event, event::EventType},
        range_end,
    },
};

/// etcd leaves a request for progress unanswered while it is behind: it is asked again after this.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// And never sooner than this, however often somebody wants to know.
const ASK_PACE: Duration = Duration::from_millis(10);
const BACK_OFF_FIRST: Duration = Duration::from_millis(50);
const BACK_OFF_MOST: Duration = Duration::from_secs(2);
/// The longest that opening may take at one endpoint.
const OPENING: Duration = Duration::from_secs(10);

pub(super) struct Settings {
    pub(super) endpoints: Arc<Endpoints>,
    pub(super) range: KeyRange,
    pub(super) wanted: signal::Receiver<Revision>,
    pub(super) progress_on_request: bool,
}

/// A stream on which etcd has said that the watch stands.
struct Standing {
    endpoint: usize,
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
    /// etcd's revision when it said so.
    revision: Revision,
}

/// Why a stream ended.
enum End {
    /// Nobody receives any more.
    Dropped,
    /// Try again.
    Lost,
    /// Trying again would not help.
    Refused(KvError),
}

type Receiver = mpsc::Sender<Result<WatchBatch, KvError>>;

/// Opens a watch; answers when it stands, so that whatever is written afterwards is seen.
pub(super) async fn open(
    settings: Settings,
    start: Option<Revision>,
    buffer: usize,
    tasks: &TaskGroup,
) -> Result<WatchStream, KvError> {
    let start = start.filter(|start| start.0 > 0);
    let mut left = settings.endpoints.len();
    let standing = loop {
        match settings.stand(start).await {
            Ok(standing) => break standing,
            Err(error) if !error.is_retryable() => return Err(error),
            Err(error) => {
                left -= 1;
                if left == 0 {
                    return Err(error);
                }
            }
        }
    };
    let next = start.unwrap_or(Revision(standing.revision.0 + 1));
    let (receiver, stream) = mpsc::channel(buffer.max(1));
    if start.is_none() {
        let stands = WatchBatch {
            revision: standing.revision,
            changes: Vec::new(),
        };
        receiver
            .try_send(Ok(stands))
            .expect("a new channel has room");
    }
    let mut watch = Watch {
        settings,
        next,
        receiver,
    };
    tasks.spawn_cancellable("etcd-watch", async move { watch.run(standing).await });
    Ok(stream)
}

impl Settings {
    /// Opens a stream at the current endpoint, and leaves that endpoint if it does not answer.
    async fn stand(&self, start: Option<Revision>) -> Result<Standing, KvError> {
        let (endpoint, channel) = self.endpoints.current();
        let opening = self.stand_at(endpoint, WatchClient::new(channel), start);
        let standing = match tokio::time::timeout(OPENING, opening).await {
            Ok(standing) => standing,
            Err(_) => Err(KvError::Unavailable("etcd does not answer in time".into())),
        };
        if standing.as_ref().is_err_and(KvError::is_retryable) {
            self.endpoints.leave(endpoint);
        }
        standing
    }

    async fn stand_at(
        &self,
        endpoint: usize,
        client: WatchClient<tonic::transport::Channel>,
        start: Option<Revision>,
    ) -> Result<Standing, KvError> {
        let (requests, queue) = mpsc::channel(4);
        let create = WatchCreateRequest {
            key: self.range.start.clone(),
            range_end: range_end(&self.range),
            start_revision: start.map_or(0, |start| start.0),
            progress_notify: true,
            prev_kv: true,
            fragment: true,
            ..WatchCreateRequest::default()
        };
        let create = RequestUnion::CreateRequest(create);
        requests
            .try_send(WatchRequest {
                request_union: Some(create),
            })
            .expect("a new channel has room");
        let outgoing = futures_util::stream::unfold(queue, |mut queue| async move {
            queue.recv().await.map(|request| (request, queue))
        });
        let mut client = client.max_decoding_message_size(MAX_ANSWER);
        let responses = client
            .watch(outgoing)
            .await
            .map_err(|status| convert::error(&status))?;
        let mut responses = responses.into_inner();
        let first = responses
            .message()
            .await
            .map_err(|status| convert::error(&status))?;
        let first = first.ok_or_else(|| KvError::Unavailable("the stream ended".into()))?;
        if first.canceled {
            return Err(cancelled(&first, start.unwrap_or_default()));
        }
        let revision = Revision(first.header.unwrap_or_default().revision);
        Ok(Standing {
            endpoint,
            requests,
            responses,
            revision,
        })
    }
}

struct Watch {
    settings: Settings,
    /// Everything before this has been delivered.
    next: Revision,
    receiver: Receiver,
}

impl Watch {
    async fn run(&mut self, first: Standing) {
        let mut standing = Some(first);
        let mut back_off = BACK_OFF_FIRST;
        loop {
            let end = match standing.take() {
                Some(standing) => {
                    let before = self.next;
                    let endpoint = standing.endpoint;
                    let end = self.deliver(standing).await;
                    if self.next > before {
                        back_off = BACK_OFF_FIRST;
                    }
                    if matches!(end, End::Lost) {
                        self.settings.endpoints.leave(endpoint);
                    }
                    end
                }
                None => match self.settings.stand(Some(self.next)).await {
                    Ok(opened) => {
                        standing = Some(opened);
                        continue;
                    }
                    Err(error) if error.is_retryable() => End::Lost,
                    Err(error) => End::Refused(error),
                },
            };
            match end {
                End::Dropped => return,
                End::Refused(error) => {
                    let _ = self.receiver.send(Err(error)).await;
                    return;
                }
                End::Lost => {
                    tokio::select! {
                        () = self.receiver.closed() => return,
                        () = tokio::time::sleep(back_off) => {}
                    }
                    back_off = (back_off * 2).min(BACK_OFF_MOST);
                }
            }
        }
    }

    async fn deliver(&mut self, mut standing: Standing) -> End {
        let mut fragments: Vec<Event> = Vec::new();
        let mut wanted = self.settings.wanted.clone();
        let mut asked = tokio::time::Instant::now();
        let mut ask_again = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
        loop {
            let behind = *wanted.borrow_and_update() >= self.next;
            let asks = self.settings.progress_on_request && behind;
            let response = tokio::select! {
                () = self.receiver.closed() => return End::Dropped,
                response = standing.responses.message() => response,
                Ok(()) = wanted.changed() => {
                    ask_again.as_mut().reset(asked + ASK_PACE);
                    continue;
                }
                () = &mut ask_again, if asks => {
                    let ask = RequestUnion::ProgressRequest(WatchProgressRequest {});
                    // Full: etcd has not read the one before.
                    let _ = standing.requests.try_send(WatchRequest { request_union: Some(ask) });
                    asked = tokio::time::Instant::now();
                    ask_again.as_mut().reset(asked + ASK_AGAIN);
                    continue;
                }
            };
            let response = match response {
                Ok(Some(response)) => response,
                Ok(None) => return End::Lost,
                Err(status) => return lost(&status),
            };
            if response.canceled {
                let error = cancelled(&response, self.next);
                return if error.is_retryable() {
                    End::Lost
                } else {
                    End::Refused(error)
                };
            }
            let progress = Revision(response.header.map_or(0, |header| header.revision));
            let is_notice = response.events.is_empty() && !response.created && !response.fragment;
            fragments.extend(response.events);
            if response.fragment {
                continue;
            }
            let sent = if is_notice && fragments.is_empty() {
                self.notice(progress).await
            } else {
                self.batches(std::mem::take(&mut fragments)).await
            };
            if sent.is_err() {
                return End::Dropped;
            }
        }
    }

    async fn notice(&mut self, revision: Revision) -> Result<(), ()> {
        // A watch from a future revision has not reached even what is before it.
        if revision < self.next {
            return Ok(());
        }
        self.next = Revision(revision.0 + 1);
        self.receiver
            .send(Ok(WatchBatch {
                revision,
                changes: Vec::new(),
            }))
            .await
            .map_err(drop)
    }

    /// Events come in order, and a response (all its fragments together) holds whole revisions.
    async fn batches(&mut self, events: Vec<Event>) -> Result<(), ()> {
        let mut changes: Vec<Change> = Vec::new();
        for event in events {
            let Some(change) = change(event).filter(|change| change.revision >= self.next) else {
                continue;
            };
            if changes
                .last()
                .is_some_and(|last| last.revision < change.revision)
            {
                self.batch(std::mem::take(&mut changes)).await?;
            }
            changes.push(change);
        }
        self.batch(changes).await
    }

    async fn batch(&mut self, changes: Vec<Change>) -> Result<(), ()> {
        let Some(revision) = changes.last().map(|change| change.revision) else {
            return Ok(());
        };
        self.next = Revision(revision.0 + 1);
        self.receiver
            .send(Ok(WatchBatch { revision, changes }))
            .await
            .map_err(drop)
    }
}

fn change(event: Event) -> Option<Change> {
    let deleted = event.r#type() == EventType::Delete;
    let kv = event.kv?;
    Some(Change {
        key: Bytes::copy_from_slice(&kv.key),
        revision: Revision(kv.mod_revision),
        new: (!deleted).then(|| KeyValue::from(kv)),
        old: event.prev_kv.map(Into::into),
    })
}

fn lost(status: &Status) -> End {
    match convert::error(status) {
        error if error.is_retryable() => End::Lost,
        error => End::Refused(error),
    }
}

/// Why etcd ended a watch.
fn cancelled(response: &WatchResponse, requested: Revision) -> KvError {
    if response.compact_revision > 0 {
        return KvError::Compacted {
            requested,
            compacted: Revision(response.compact_revision),
        };
    }
    // No leader, a member that leaves: another one may do better.
    KvError::Unavailable(format!("etcd ended the watch: {}", response.cancel_reason))
}
