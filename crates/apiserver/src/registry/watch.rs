//! Watch: a stream of events, each encoded once for all who watch.

use std::sync::Arc;

use apimachinery::{Object, decode, meta, status::Status};
use base::Clock;
use bytes::Bytes;
use etcd::Revision;
use http::{HeaderValue, Request, Response, StatusCode, header};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Call, Endpoint, Registry,
    metrics::WatchSeries,
    options::{Freshness, ListOptions},
    selection::Selection,
    table::TableOptions,
    watch_websocket::{self, Framing},
};
use crate::{
    body::{Body, BodyError},
    cacher::{CachedObject, EventType, JSON_SUFFIX, Step, Watcher, WatcherOptions},
    negotiation::{Accept, Encoding, Endpoint as Sort, Transform, in_version},
    pace::Pace,
};

/// Events that are there at the same time go out together, up to this size; then others have their turn.
const BATCH_BYTES: usize = 32 << 10;
/// Those that take a tree each.
const TREE_BATCH_BYTES: usize = 8 << 10;
/// On the bookmark behind the initial events.
pub(super) const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

impl Call<'_> {
    /// `GET …?watch=true`
    pub(super) async fn watch(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let context = self.context;
        let accept = self.accept(Sort::Watch)?;
        let mut predicate = self.predicate()?;
        let options = ListOptions::parse(&context.query, true)?;
        self.check_fields(&predicate)?;
        // `/watch/…/NAME`
        if context.info.by_watch_path && !context.info.name.is_empty() {
            let name = &context.info.name;
            if !predicate.fields.is_empty() && predicate.fields.exact("metadata.name") != Some(name)
            {
                let message = "fieldSelector metadata.name doesn't match requested name";
                return Err(Status::bad_request(message));
            }
            predicate.name.clone_from(name);
        }
        if self.endpoint.cacher.is_none() {
            let resource = self.endpoint.group_resource();
            return Err(Status::method_not_supported(&resource, "watch"));
        }
        let accept = accept.streams()?;
        let cacher = Arc::clone(self.endpoint.cacher()?);
        let mut watcher_options = self.prepare_watch(&options).await?;
        let min = self.registry.min_watch_life;
        let fraction = fraction_of(&context.audit_id);
        let life = options
            .timeout
            .unwrap_or_else(|| min + min.mul_f64(fraction));
        watcher_options.until = Some(Instant::now() + life);
        watcher_options.ends_with_server = Some(fraction);
        let mut selection = Selection::of(self.endpoint, &predicate);
        if let Some(selection) = &mut selection {
            predicate = selection.candidates();
            if let Some(after) = watcher_options.after {
                selection.note(&cacher.snapshot(), after).await?;
            }
        }
        let encoder = Encoder {
            selection: selection.map(Box::new),
            endpoint: Arc::clone(self.endpoint),
            accept,
            table: match accept.transform {
                Transform::Table => TableOptions::of(&context.query)?,
                _ => TableOptions::default(),
            },
            clock: self.registry.clock.clone(),
            first: true,
            filled: false,
            series: self.registry.metrics.watch_of(self.endpoint),
            listing: self.listing(&watcher_options),
            pace: context.pace(),
        };
        let events = match Watcher::start(cacher, predicate, watcher_options) {
            Ok(watcher) => Events::Following(Box::new(Following { watcher, encoder })),
            // Too old: the answer is a stream all the same, of one error.
            Err(status) => Events::Refused(Box::new(encoder), status),
        };
        let media_type = match accept.encoding {
            Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
            _ => "application/json",
        };
        let events = futures_util::stream::unfold(events, Events::next);
        let tasks = self.registry.plugs().stream_tasks.clone();
        if let Some(tasks) = tasks.filter(|_| httpstream::wants_websocket(&context.headers)) {
            let framing = match accept.encoding {
                Encoding::Protobuf => Framing::Counted,
                _ => Framing::Lines,
            };
            return watch_websocket::serve(context, request, &tasks, framing, events);
        }
        Response::builder()
            .status(StatusCode::OK)
            .header(header::CONTENT_TYPE, HeaderValue::from_static(media_type))
            .body(Body::stream(events))
            .map_err(Status::internal)
    }

    fn listing(&self, options: &WatcherOptions) -> Option<Listing> {
        options.initial_events_end.then(|| Listing {
            registry: Arc::clone(self.registry),
            scope: crate::metrics::scope(&self.context.info),
            start: Instant::now(),
        })
    }

    /// Where the watch begins, having waited until the cache is that fresh.
    async fn prepare_watch(&self, options: &ListOptions) -> Result<WatcherOptions, Status> {
        let version = options.resource_version.filter(|revision| revision.0 > 0);
        let initial = options.send_initial_events;
        let freshness = match (options.resource_version, initial) {
            (None, _) => Freshness::Consistent,
            (Some(Revision(0)), _) | (Some(_), None | Some(false)) => Freshness::Any,
            (Some(revision), Some(true)) => Freshness::NotOlderThan(revision),
        };
        // Where the cache cannot be waited for, the watch begins with what it has, and goes on from there.
        if self.cache_serves(freshness) {
            self.wait_for(freshness).await?;
        } else {
            self.wait_for(Freshness::Any).await?;
        }
        let after = match (initial, version) {
            (Some(true), _) | (None, None) => None,
            (_, Some(revision)) => Some(revision),
            (Some(false), None) => Some(self.endpoint.cacher()?.snapshot().revision),
        };
        Ok(WatcherOptions {
            after,
            bookmarks: options.bookmarks,
            initial_events_end: options.initial_events_end,
            ..WatcherOptions::default()
        })
    }
}

/// A watch that begins with a list, timed.
struct Listing {
    registry: Arc<Registry>,
    scope: &'static str,
    start: Instant,
}

impl Listing {
    fn ended(self, endpoint: &Endpoint) {
        let metrics = &self.registry.metrics;
        metrics.watch_listed(endpoint, self.scope, self.start.elapsed());
    }
}

/// Between 0 and 1, by the letters of an id.
fn fraction_of(id: &str) -> f64 {
    let sum = id.bytes().fold(7u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    f64::from(sum) / f64::from(u32::MAX)
}

/// The stream's state: pulled by the connection, so a slow client is waited for by nobody.
enum Events {
    Following(Box<Following>),
    Refused(Box<Encoder>, Box<Status>),
    Ended,
}

impl Events {
    async fn next(self) -> Option<(Result<Bytes, BodyError>, Self)> {
        match self {
            Self::Ended => None,
            Self::Refused(encoder, status) => {
                let frame = encoder.error(&status);
                Some((frame.map_err(BodyError::from), Self::Ended))
            }
            Self::Following(mut following) => match following.next().await? {
                Ok((frame, false)) => Some((Ok(frame), Self::Following(following))),
                Ok((frame, true)) => Some((Ok(frame), Self::Ended)),
                Err(status) => Some((Err(status.into()), Self::Ended)),
            },
        }
    }
}

/// A watch that stands. It lies in one place while it lives: what waits for its next frame borrows it, and is small.
struct Following {
    watcher: Watcher,
    encoder: Encoder,
}

impl Following {
    /// The next frames, and whether they are the last; `None` at the end.
    async fn next(&mut self) -> Option<Result<(Bytes, bool), Status>> {
        if std::mem::take(&mut self.encoder.filled) {
            // There may be thousands behind them.
            self.encoder.pace.give_way().await;
        }
        loop {
            let step = self.watcher.next().await?;
            if !self.encoder.shows(&step) {
                return None;
            }
            if let Err(status) = self.encoder.prepare(&step).await {
                return Some(self.encoder.error(&status).map(|frame| (frame, true)));
            }
            if let Some(step) = self.encoder.sift(step) {
                return Some(self.encoder.batch(step, &mut self.watcher));
            }
        }
    }
}

/// Makes frames of steps, in the encoding and shape of one client.
struct Encoder {
    /// Where the cache cannot tell what is selected: seldom, so that it takes no room elsewhere.
    selection: Option<Box<Selection>>,
    endpoint: Arc<Endpoint>,
    accept: Accept,
    table: TableOptions,
    clock: Clock,
    /// Whether no table has been sent: the first one carries the columns.
    first: bool,
    /// Whether the last frames were as many as go out together.
    filled: bool,
    series: WatchSeries,
    /// Until the initial objects have been sent, where the client wants to hear of their end.
    listing: Option<Listing>,
    pace: Pace,
}

impl Encoder {
    /// Converts what takes a webhook to convert.
    async fn prepare(&self, step: &Step) -> Result<(), Status> {
        match step {
            // Boxed: else each idle watch would carry the room for a webhook's call.
            Step::Event(_, object) if self.endpoint.needs_preparation() => {
                Box::pin(self.endpoint.prepare(std::slice::from_ref(object))).await
            }
            _ => Ok(()),
        }
    }

    /// Whether there is such a thing in the shape asked for: no event is a list, and the first that would have to be one ends the watch.
    fn shows(&self, step: &Step) -> bool {
        self.accept.transform != Transform::PartialObjectMetadataList
            || matches!(step, Step::Failed(_))
    }

    /// The step as it is to this client, if it is anything to it.
    fn sift(&mut self, step: Step) -> Option<Step> {
        match &mut self.selection {
            Some(selection) => selection.sift(step),
            None => Some(step),
        }
    }

    /// The frame of a step, together with those that are ready behind it. True if it is the last.
    fn batch(&mut self, step: Step, watcher: &mut Watcher) -> Result<(Bytes, bool), Status> {
        let bytes = match self.accept.transform == Transform::None || self.is_from_stored() {
            true => BATCH_BYTES,
            false => TREE_BATCH_BYTES,
        };
        let mut batch = Vec::new();
        let mut last = false;
        let mut next = Some(step);
        while let Some(step) = next {
            last = matches!(step, Step::Failed(_));
            self.write(&step, &mut batch)?;
            let alone = self.endpoint.needs_preparation();
            self.filled = batch.len() >= bytes;
            next = if last || alone || self.filled {
                None
            } else {
                watcher.try_next()
            };
        }
        Ok((batch.into(), last))
    }

    fn write(&mut self, step: &Step, out: &mut Vec<u8>) -> Result<(), Status> {
        let frame = match step {
            Step::Event(kind, object) => {
                let before = out.len();
                self.write_event(*kind, object, out)?;
                self.series.sent(out.len() - before);
                return Ok(());
            }
            Step::Bookmark {
                revision,
                initial_events_end,
            } => self.bookmark(*revision, *initial_events_end)?,
            Step::Failed(status) => self.error(status)?,
        };
        out.extend_from_slice(&frame);
        self.series.sent(frame.len());
        if let Step::Bookmark {
            initial_events_end: true,
            ..
        } = step
            && let Some(listing) = self.listing.take()
        {
            listing.ended(&self.endpoint);
        }
        Ok(())
    }

    /// Whether rows and metadata are made of the bytes that are stored, which are what is served.
    fn is_from_stored(&self) -> bool {
        self.accept.encoding != Encoding::Protobuf
            && !self.accept.v1beta1
            && self.endpoint.is_served_as_stored()
            && !self.endpoint.needs_preparation()
    }

    /// The event in the encoding and shape asked for.
    fn write_event(
        &mut self,
        kind: EventType,
        cached: &CachedObject,
        out: &mut Vec<u8>,
    ) -> Result<(), Status> {
        let endpoint = &self.endpoint;
        let is_json = self.accept.encoding != Encoding::Protobuf;
        let from_stored = self.is_from_stored();
        match self.accept.transform {
            Transform::None if is_json => return endpoint.write_json_event(kind, cached, out),
            Transform::None => {
                out.extend_from_slice(&self.wrap_protobuf_object(kind, cached)?);
            }
            Transform::Table if from_stored => {
                let with_columns = std::mem::take(&mut self.first);
                let now = self.clock.now();
                out.extend_from_slice(kind.json_prefix().as_bytes());
                super::table::write_event(endpoint, self.table, cached, with_columns, now, out)?;
                out.extend_from_slice(JSON_SUFFIX.as_bytes());
            }
            Transform::Table => {
                let object = self.table_of(&self.endpoint.tree(cached))?;
                out.extend_from_slice(&self.wrap(kind.as_str(), object)?);
            }
            _ if from_stored => {
                out.extend_from_slice(kind.json_prefix().as_bytes());
                super::table::write_partial_object_metadata(cached, out);
                out.extend_from_slice(JSON_SUFFIX.as_bytes());
            }
            _ => {
                let object = match endpoint.needs_preparation() || endpoint.is_converted() {
                    true => endpoint.tree(cached),
                    false => cached.parse_metadata(),
                };
                let (object, _) = super::table::metadata_of(endpoint, &object);
                out.extend_from_slice(&self.wrap(kind.as_str(), object)?);
            }
        }
        Ok(())
    }

    /// An object of the kind of which nothing is known but the revision.
    fn bookmark(&mut self, revision: Revision, initial_events_end: bool) -> Result<Bytes, Status> {
        let mut object = Object::new();
        let gvk = &self.endpoint.row.gvk;
        object.insert("kind".to_owned(), gvk.kind.as_ref().into());
        object.insert(
            "apiVersion".to_owned(),
            gvk.group_version().to_string().into(),
        );
        meta::set_resource_version(&mut object, &revision.to_string());
        if initial_events_end {
            meta::set_annotation(&mut object, INITIAL_EVENTS_END, Some("true"));
        }
        if self.endpoint.custom.is_none()
            && let Some(ty) = self.endpoint.ty()
        {
            object = decode::object(&object, ty)
                .map_err(Status::internal)?
                .object;
        }
        let object = match self.accept.transform {
            Transform::None => object,
            Transform::Table => self.table_of(&object)?,
            _ => super::table::metadata_of(&self.endpoint, &object).0,
        };
        self.wrap("BOOKMARK", object)
    }

    /// The first table has the columns.
    fn table_of(&mut self, object: &Object) -> Result<Object, Status> {
        let with_columns = std::mem::take(&mut self.first);
        let now = self.clock.now();
        super::table::of_event(&self.endpoint, &self.table, object, with_columns, now)
    }

    fn error(&self, status: &Status) -> Result<Bytes, Status> {
        let object = serde_json::to_value(status).map_err(Status::internal)?;
        self.wrap("ERROR", object.as_object().cloned().unwrap_or_default())
    }

    /// A frame around an object that only this client sees.
    fn wrap(&self, kind: &str, object: Object) -> Result<Bytes, Status> {
        let object = in_version(object, self.accept);
        if self.accept.encoding == Encoding::Protobuf {
            return super::codec::protobuf_event(kind, &object);
        }
        let mut frame = Vec::with_capacity(256);
        frame.extend_from_slice(b"{\"type\":\"");
        frame.extend_from_slice(kind.as_bytes());
        frame.extend_from_slice(b"\",\"object\":");
        serde_json::to_writer(&mut frame, &Value::Object(object)).map_err(Status::internal)?;
        frame.extend_from_slice(b"}\n");
        Ok(frame.into())
    }

    fn wrap_protobuf_object(
        &self,
        kind: EventType,
        cached: &CachedObject,
    ) -> Result<Bytes, Status> {
        let object = cached.encoding(self.endpoint.tag(Encoding::Protobuf), || {
            self.endpoint.protobuf(cached)
        })?;
        Ok(super::codec::protobuf_frame(kind.as_str(), &object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `make` makes.
    fn size_made<T, Made>(_make: impl FnOnce(T) -> Made) -> usize {
        size_of::<Made>()
    }

    #[test]
    fn an_idle_watch_is_small() {
        let size = size_made(Events::next);
        assert!(size <= 512, "{size} bytes");
    }
}
