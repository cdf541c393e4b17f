//! Mirrors one resource: list, then watch, for as long as it takes.
//!
//! [`State`] is the whole decision: what to do next and from where, without network. [`Reflector`] carries it out. As client-go's:
//! the first list takes what the server's cache has (`resourceVersion=0`), a relist is at least as fresh as what was seen; a
//! watch that ends is resumed where it stood (bookmarks keep that place fresh); 410 lists anew, consistently; failures back off.

use std::{sync::Arc, time::Duration};

use tracing::{debug, warn};

use crate::{
    api::List,
    backoff::Backoff,
    error::ApiError,
    kind::Object,
    params::{ListParams, WatchParams},
    resource::{ResourceClient, decode_list},
    watch::{Decode, WatchEvent, WatchStream},
};

/// Pages of consistent lists.
const PAGE: u32 = 500;

/// The server is asked to end each watch after this long, so that watches spread over servers again.
const WATCH_SECONDS: u64 = 8 * 60;

/// Where a reflector stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It must list, at least as fresh as `resource_version`: `0` is whatever there is, empty is the newest.
    Listing {
        /// Lower bound of freshness.
        resource_version: String,
    },
    /// It has all up to here and watches, or can resume to.
    Watching {
        /// All changes up to here have been taken in.
        resource_version: String,
    },
}

/// What happened to a reflector.
#[derive(Debug)]
pub(crate) enum Outcome<'a> {
    /// A list came in.
    Listed { resource_version: &'a str },
    /// An event (or bookmark) came in.
    Event { resource_version: &'a str },
    /// The watch ended without an error.
    Ended,
    /// Listing or watching failed.
    Failed(&'a ApiError),
}

impl State {
    pub(crate) fn start() -> Self {
        Self::Listing {
            resource_version: "0".to_owned(),
        }
    }

    /// The state after `outcome`.
    pub(crate) fn next(self, outcome: &Outcome<'_>) -> Self {
        match outcome {
            Outcome::Listed { resource_version } | Outcome::Event { resource_version } => {
                Self::Watching {
                    resource_version: (*resource_version).to_owned(),
                }
            }
            Outcome::Ended => self,
            // What we know is too old for the server (or newer than it knows): only a consistent list helps.
            Outcome::Failed(error) if error.is_expired() || is_too_large(error) => Self::Listing {
                resource_version: String::new(),
            },
            Outcome::Failed(ApiError::Decode { .. }) => match self {
                // An event that cannot be read would be sent again at a resume.
                Self::Watching { .. } => Self::Listing {
                    resource_version: String::new(),
                },
                listing @ Self::Listing { .. } => listing,
            },
            Outcome::Failed(_) => self,
        }
    }
}

/// "Too large resource version": the server has not come as far as what we saw (a restored backup, a lagging cache).
fn is_too_large(error: &ApiError) -> bool {
    let causes = error
        .status()
        .and_then(|status| status.details.as_ref()?.causes.as_ref());
    causes.is_some_and(|causes| {
        causes
            .iter()
            .any(|cause| cause.reason.as_deref() == Some("ResourceVersionTooLarge"))
    })
}

/// Takes in what a reflector sees.
pub(crate) trait Sink<T>: Send + Sync {
    /// Everything there is; whatever else was known is gone.
    fn replace(&self, items: Vec<T>);
    /// One change. Bookmarks do not come here.
    fn apply(&self, event: WatchEvent<T>);
    /// All changes up to here have been taken in.
    fn reach(&self, resource_version: &str);
}

/// One list-and-watch.
pub(crate) struct Reflector<T> {
    pub(crate) resource: ResourceClient,
    pub(crate) decode: Decode<T>,
    pub(crate) label_selector: Option<String>,
    pub(crate) field_selector: Option<String>,
}

impl<T: Object> Reflector<T> {
    /// Runs until dropped.
    pub(crate) async fn run<S: Sink<T>>(&self, sink: Arc<S>) {
        let mut state = State::start();
        let mut backoff = Backoff::reflector();
        loop {
            let failure = match state.clone() {
                State::Listing { resource_version } => match self.list(&resource_version).await {
                    Ok(list) => {
                        let version = list.metadata.resource_version.unwrap_or_default();
                        sink.replace(list.items);
                        sink.reach(&version);
                        state = state.next(&Outcome::Listed {
                            resource_version: &version,
                        });
                        None
                    }
                    Err(error) => Some(error),
                },
                State::Watching { .. } => self.watch(&mut state, &mut backoff, &*sink).await.err(),
            };
            match failure {
                None => state = state.next(&Outcome::Ended),
                Some(error) => {
                    state = state.next(&Outcome::Failed(&error));
                    let delay = self.delay(&error, &mut backoff);
                    if error.is_expired() {
                        debug!(resource = self.resource.resource, %error, "watch expired, listing anew");
                    } else {
                        warn!(resource = self.resource.resource, %error, ?delay, "reflector: failed to list or watch");
                    }
                    tokio::time::sleep(delay).await;
                }
            }
        }
    }

    fn delay(&self, error: &ApiError, backoff: &mut Backoff) -> Duration {
        // 410 is no failure of the server; only a second one in a row shows trouble.
        let delay = backoff.next_delay();
        if error.is_expired() {
            delay.min(Duration::from_secs(1))
        } else {
            delay
        }
    }

    async fn list(&self, resource_version: &str) -> Result<List<T>, ApiError> {
        let cached = !resource_version.is_empty();
        let mut params = ListParams {
            label_selector: self.label_selector.clone(),
            field_selector: self.field_selector.clone(),
            resource_version: cached.then(|| resource_version.to_owned()),
            // The server's cache answers in one piece; a consistent list goes by pages.
            limit: (!cached).then_some(PAGE),
            ..ListParams::default()
        };
        let mut all: List<T> = self.page(&params).await?;
        while let Some(token) = all
            .metadata
            .continue_
            .take()
            .filter(|token| !token.is_empty())
        {
            params.continue_token = Some(token);
            params.resource_version = None;
            let page = self.page(&params).await?;
            all.metadata.continue_ = page.metadata.continue_;
            all.items.extend(page.items);
        }
        Ok(all)
    }

    async fn page(&self, params: &ListParams) -> Result<List<T>, ApiError> {
        let body = self.resource.list(params).await?;
        self.resource
            .decode("LIST", decode_list(&body, self.decode))
    }

    async fn watch(
        &self,
        state: &mut State,
        backoff: &mut Backoff,
        sink: &impl Sink<T>,
    ) -> Result<(), ApiError> {
        let State::Watching { resource_version } = &*state else {
            return Ok(());
        };
        let params = WatchParams {
            label_selector: self.label_selector.clone(),
            field_selector: self.field_selector.clone(),
            resource_version: Some(resource_version.clone()),
            timeout_seconds: Some(WATCH_SECONDS),
            allow_bookmarks: true,
        };
        let mut stream: WatchStream<T> = self.resource.watch(&params, self.decode).await?;
        let mut events = 0_u64;
        while let Some(event) = stream.next().await {
            let event = event?;
            events += 1;
            backoff.reset();
            let resource_version = match &event {
                WatchEvent::Added(object)
                | WatchEvent::Modified(object)
                | WatchEvent::Deleted(object) => object.resource_version().to_owned(),
                WatchEvent::Bookmark { resource_version } => resource_version.clone(),
            };
            if !matches!(event, WatchEvent::Bookmark { .. }) {
                sink.apply(event);
            }
            sink.reach(&resource_version);
            *state = state.clone().next(&Outcome::Event {
                resource_version: &resource_version,
            });
        }
        if events == 0 {
            // A server that ends watches at once (it is shutting down) must not be asked in a tight loop.
            tokio::time::sleep(backoff.next_delay()).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;

    use super::*;

    fn refused(code: i32, reason: &str) -> ApiError {
        ApiError::Status(Box::new(Status {
            code: Some(code),
            reason: Some(reason.to_owned()),
            ..Status::default()
        }))
    }

    fn watching(at: &str) -> State {
        State::Watching {
            resource_version: at.to_owned(),
        }
    }

    fn listing(at: &str) -> State {
        State::Listing {
            resource_version: at.to_owned(),
        }
    }

    #[test]
    fn states() {
        let expired = refused(410, "Expired");
        let overload = refused(429, "TooManyRequests");
        let torn = ApiError::Decode {
            request: String::new(),
            source: "torn".into(),
        };
        let table = [
            (
                State::start(),
                Outcome::Listed {
                    resource_version: "5",
                },
                watching("5"),
            ),
            (
                watching("5"),
                Outcome::Event {
                    resource_version: "9",
                },
                watching("9"),
            ),
            (watching("9"), Outcome::Ended, watching("9")),
            (watching("9"), Outcome::Failed(&overload), watching("9")),
            (watching("9"), Outcome::Failed(&expired), listing("")),
            (watching("9"), Outcome::Failed(&torn), listing("")),
            (listing("0"), Outcome::Failed(&overload), listing("0")),
            (listing("0"), Outcome::Failed(&expired), listing("")),
        ];
        for (state, outcome, expected) in table {
            assert_eq!(
                state.clone().next(&outcome),
                expected,
                "{state:?} after {outcome:?}"
            );
        }
    }
}
